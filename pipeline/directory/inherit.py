"""What holds for a domain that is an alias or a child of another. Pure: everything is looked up in a mapping of all domains.

The rules keep chains short (see rules.py): an alias names a domain that is none, and parents go up without a circle. A directory
that breaks them, out of an old or damaged store, is bounded by DEPTH.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from pipeline.directory.model import Domain
from pipeline.directory.policy import over

DEPTH: Final = 8
"""Parents above a domain that are looked at."""
INHERITED: Final = (
    "engines_missing",
    "route", "max_message_size", "max_recipients", "timezone", "language", "contact", "contact_outside", "smtputf8",
    "retry_interval", "queue_lifetime", "quarantine_retention", "trusted_relays", "protected_names",
    "alert_waiting", "alert_oldest",
)  # fmt: skip
"""What a child without its own takes from the nearest parent that has it. Who is accepted is never inherited."""


def home(domains: Mapping[str, Domain], name: str) -> Domain | None:
    """The domain whose mailboxes mail for `name` is for: itself, or the one that it is an alias of. None: not ours."""
    domain = domains.get(name)
    if domain is not None and domain.alias_of:
        target = domains.get(domain.alias_of)
        return target if target is not None and not target.alias_of else None
    return domain


def above(domains: Mapping[str, Domain], domain: Domain) -> Iterator[Domain]:
    """The parents of a domain, the nearest first."""
    for _ in range(DEPTH):
        parent = domains.get(domain.parent) if domain.parent else None
        if parent is None:
            return
        yield parent
        domain = parent


def effective(domains: Mapping[str, Domain], domain: Domain) -> Domain:
    """`domain` with what it takes from its parents."""
    if not domain.parent:
        return domain
    changes: dict[str, Any] = {}
    for field in INHERITED:
        if not getattr(domain, field):
            value = next((value for parent in above(domains, domain) if (value := getattr(parent, field))), None)
            if value:
                changes[field] = value
    if "route" in changes:
        # Options go with their route: see options.py.
        changes["route_options"] = next(parent.route_options for parent in above(domains, domain) if parent.route)
    policy = over([domain.policy, *(parent.policy for parent in above(domains, domain))])
    if policy != domain.policy:
        changes["policy"] = policy
    return msgspec.structs.replace(domain, **changes) if changes else domain
