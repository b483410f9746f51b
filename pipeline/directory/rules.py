"""What a directory may not become. Pure: judged is the whole of it as it would be, so a change of several steps counts as one."""

from __future__ import annotations

import ipaddress
import zoneinfo
from collections.abc import Collection, Mapping
from typing import Final

from pipeline.address import AddressError, parse
from pipeline.directory import options, policy, reports
from pipeline.directory.inherit import DEPTH, above, effective
from pipeline.directory.model import LANGUAGES, Domain
from pipeline.faults import ConfigurationError, RefusedError
from pipeline.units import SECOND

DAY: Final = 86400 * SECOND
LONGEST: Final = 7 * DAY
LONGEST_KEPT: Final = 365 * DAY
"""As for the setting retry_interval."""
DELIMITERS: Final = "+-_=."
MAX_RELAYS: Final = 100
PROTECTED: Final = 200
LONGEST_NAME: Final = 100
SMTPUTF8: Final = ("", "yes", "no")
ENGINES_MISSING: Final = ("", "pass", "wait", "quarantine")


def check(domains: Mapping[str, Domain], changed: Collection[str]) -> None:
    """Whether the directory may become `domains`, of which `changed` were added, changed or removed.

    Raises RefusedError for what cannot be in this directory, ConfigurationError for what can be nowhere.
    """
    for name in changed:
        domain = domains.get(name)
        if domain is None:
            _check_gone(domains, name)
        else:
            _check_values(domain)
            policy.check(domain.policy or policy.NOTHING, personal=False)
            reports.check(domain.reports)
            _check_place(domains, domain)


def _check_gone(domains: Mapping[str, Domain], name: str) -> None:
    aliases = sorted(other.name for other in domains.values() if other.alias_of == name)
    children = sorted(other.name for other in domains.values() if other.parent == name)
    if aliases:
        raise RefusedError(
            f"{name} has aliases: {_some(aliases)}", remedy=f"Remove them first: gatepost domain remove {aliases[0]}."
        )
    if children:
        raise RefusedError(
            f"{name} has children: {_some(children)}",
            remedy=f"Move them away first: gatepost domain move {children[0]} --top.",
        )


def _check_values(domain: Domain) -> None:
    if domain.timezone:
        try:
            zoneinfo.ZoneInfo(domain.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigurationError(
                f"{domain.timezone!a} is no time zone", remedy="Write it as Europe/Berlin."
            ) from None
    if domain.language and domain.language not in LANGUAGES:
        raise ConfigurationError(f"no language {domain.language!a}", remedy=f"One of {', '.join(LANGUAGES)}.")
    if domain.delimiter and (len(domain.delimiter) != 1 or domain.delimiter not in DELIMITERS):
        raise ConfigurationError(
            f"{domain.delimiter!a} cannot separate a detail from a name", remedy=f"One of {' '.join(DELIMITERS)}"
        )
    if domain.smtputf8 not in SMTPUTF8:
        raise ConfigurationError(f"smtputf8 is {domain.smtputf8!a}", remedy="Say yes, no, or nothing.")
    _check_relays(domain)
    _check_engines(domain)
    _check_options(domain)
    _check_limits(domain)
    _check_times(domain)
    _check_names(domain)
    for contact in filter(None, (domain.contact, domain.contact_outside)):
        try:
            parse(contact)
        except AddressError as error:
            raise ConfigurationError(f"contact {contact!a}: {error}") from None
    if domain.contact_outside.rpartition("@")[2].lower() == domain.name:
        raise ConfigurationError(
            f"{domain.contact_outside} is inside {domain.name}",
            remedy="The contact outside is for the day on which the domain's own mail does not work.",
        )


def _check_limits(domain: Domain) -> None:
    # Of alerts -1 means that there are none.
    if min(domain.max_message_size, domain.max_recipients, domain.alert_waiting + 1, domain.alert_oldest + 1) < 0:
        raise ConfigurationError("a limit cannot be negative")


def _check_relays(domain: Domain) -> None:
    if len(domain.trusted_relays) > MAX_RELAYS:
        raise ConfigurationError(f"{len(domain.trusted_relays)} trusted relays; there may be {MAX_RELAYS}")
    for text in domain.trusted_relays:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise ConfigurationError(
                f"trusted relay {text!a}: {error}", remedy="Write an address or a network, such as 192.0.2.0/24."
            ) from None


def _check_names(domain: Domain) -> None:
    if len(domain.protected_names) > PROTECTED:
        raise ConfigurationError(f"more than {PROTECTED} protected names")
    for name in domain.protected_names:
        if not name.isprintable() or len(name) > LONGEST_NAME:
            raise ConfigurationError("a protected name is too long, or has a character that cannot be shown")
        if len(name.split()) < 2:
            raise ConfigurationError(
                f"{name!a} is not a whole name",
                remedy="Give the first and the last name: --protect-name 'Anna Schmidt'.",
            )


def _check_engines(domain: Domain) -> None:
    if domain.engines_missing not in ENGINES_MISSING:
        raise ConfigurationError(
            f"engines_missing is {domain.engines_missing!a}", remedy="Say pass, wait, quarantine, or nothing."
        )


def _check_options(domain: Domain) -> None:
    if domain.route_options is None:
        return
    if not domain.route:
        raise ConfigurationError(
            f"{domain.name} has options for a route, and no route of its own",
            remedy="Say --route as well; a route that is taken from a parent comes with the parent's options.",
        )
    options.check(domain.route_options)


def _check_times(domain: Domain) -> None:
    if domain.retry_interval and not SECOND // 10 <= domain.retry_interval <= LONGEST:
        raise ConfigurationError("mail is tried again after 0.1 s at the earliest and 7 days at the latest")
    if domain.queue_lifetime and not SECOND <= domain.queue_lifetime <= 30 * DAY:
        raise ConfigurationError("mail is held for a second at least and 30 days at most")
    if domain.quarantine_retention and not SECOND <= domain.quarantine_retention <= LONGEST_KEPT:
        raise ConfigurationError("mail is kept in quarantine for a second at least and 365 days at most")


def _check_place(domains: Mapping[str, Domain], domain: Domain) -> None:
    if domain.alias_of and domain.reports:
        raise RefusedError(
            f"{domain.name} has reports by mail, and an alias has none of its own",
            remedy=f"Remove them first: gatepost report schedule remove {domain.name} {domain.reports[0].name}.",
        )
    if domain.alias_of:
        _check_alias(domains, domain)
    elif not effective(domains, domain).route:
        raise ConfigurationError(
            f"{domain.name} has no route", remedy="Say where its mail goes: --route HOST:PORT, or --parent DOMAIN."
        )
    if domain.parent:
        _check_parent(domains, domain)


def _check_alias(domains: Mapping[str, Domain], domain: Domain) -> None:
    target = domains.get(domain.alias_of)
    if target is None:
        raise RefusedError(f"no domain {domain.alias_of}", remedy="See `gatepost domain list`.")
    if target.alias_of or target.name == domain.name:
        raise RefusedError(
            f"{target.name} is an alias itself", remedy=f"Name the domain that has the mailboxes: {target.alias_of}."
        )
    dependent = sorted(other.name for other in domains.values() if domain.name in (other.alias_of, other.parent))
    if dependent:
        raise RefusedError(f"{domain.name} cannot become an alias: {_some(dependent)} depend on it")


def _check_parent(domains: Mapping[str, Domain], domain: Domain) -> None:
    parent = domains.get(domain.parent)
    if parent is None:
        raise RefusedError(f"no domain {domain.parent}", remedy="See `gatepost domain list`.")
    if parent.alias_of:
        raise RefusedError(f"{parent.name} is an alias and cannot be a parent")
    seen = [domain.name]
    for ancestor in above(domains, domain):
        if ancestor.name in seen:
            raise RefusedError(f"{domain.name} would be above itself: {' under '.join([*seen, ancestor.name])}")
        seen.append(ancestor.name)
    if len(seen) > DEPTH:
        raise RefusedError(f"more than {DEPTH} domains one above the other: {' under '.join(seen)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
