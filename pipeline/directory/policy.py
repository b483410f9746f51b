"""What happens to mail of each class, and from which score on: what a domain and a person may say of it, and what then holds. Pure.

Everything is optional. What a person does not say, the domain says; what it does not say either, the nearest parent that does; then
the settings, then the defaults below. `resolve` is that rule, and keeps for each value who said it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from pipeline.faults import ConfigurationError


class Act(enum.StrEnum):
    """What happens to a copy; the order is that of strictness."""

    DELIVER = "deliver"
    TAG = "tag"
    """Delivered, with a header field that says what it is, and a prefix in its subject where one is set."""
    QUARANTINE = "quarantine"
    DISCARD = "discard"


STRICTNESS: Final = {act.value: rank for rank, act in enumerate(Act)}
CLEAN: Final = "clean"
CLASSES: Final = ("bulk", "spam", "phishing", "spoof", "content", "virus")
"""What a message may be besides clean; clean mail is delivered, whatever anybody says."""
SAID: Final = {
    CLEAN: "clean",
    "bulk": "bulk mail",
    "spam": "spam",
    "phishing": "phishing",
    "spoof": "forged sender",
    "content": "blocked content",
    "virus": "virus",
}
DEFAULTS: Final[Mapping[str, str]] = {
    "bulk": Act.DELIVER, "spam": Act.QUARANTINE, "phishing": Act.QUARANTINE, "spoof": Act.QUARANTINE,
    "content": Act.QUARANTINE, "virus": Act.QUARANTINE,
}  # fmt: skip
NEVER_OUT: Final = (Act.QUARANTINE, Act.DISCARD)
"""What may happen to a virus."""
THRESHOLDS: Final = ("spam_threshold", "phishing_threshold")
PERSONAL: Final = ("spam_threshold", "phishing_threshold", "bulk", "spam")
"""What a person may say of their own mail."""
BOUNDS: Final = (0.5, 1000.0)
PERSONAL_BOUNDS: Final = {"spam_threshold": (2.0, 15.0), "phishing_threshold": (2.0, 8.0)}
MAX_PREFIX: Final = 40
NONE: Final = "none"
"""A prefix that is none, where a parent has one."""


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As it is stored with a domain or an address. Additive only. What is 0 or empty is not said."""

    spam_threshold: float = 0.0
    phishing_threshold: float = 0.0
    """Of what phishing and forged-sender tests find, taken by themselves."""
    bulk: str = ""
    """What happens to this class: an `Act`. So for the others."""
    spam: str = ""
    phishing: str = ""
    spoof: str = ""
    content: str = ""
    virus: str = ""
    prefix: str = ""
    """Put before the subject of mail that is tagged; `none`: nothing is, whatever a parent says."""


FIELDS: Final = Policy.__struct_fields__
NOTHING: Final = Policy()


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a domain or a person. `origins`: who said it, by field, in words."""

    spam_threshold: float
    phishing_threshold: float
    acts: Mapping[str, str]
    prefix: str
    origins: Mapping[str, str]


def over(policies: Sequence[Policy | None]) -> Policy | None:
    """Each field as the first of `policies` says it that says it at all."""
    said = [policy for policy in policies if policy is not None]
    if len(said) <= 1:
        return said[0] if said else None
    fields: dict[str, Any] = {
        field: value for field in FIELDS if (value := next((v for p in said if (v := getattr(p, field))), None))
    }
    return Policy(**fields)


def resolve(
    layers: Sequence[tuple[str, Policy]], *, spam_threshold: float, phishing_threshold: float, personal: str = ""
) -> Resolved:
    """`layers`: who says what, the nearest first. The thresholds are those of the settings.

    `personal`: the layer that is a person's, of which only what a person may say counts, within its bounds.
    """
    values: dict[str, Any] = {
        "spam_threshold": spam_threshold, "phishing_threshold": phishing_threshold, **DEFAULTS, "prefix": "",
    }  # fmt: skip
    origins = {field: f"the setting {field}" if field in THRESHOLDS else "the default" for field in values}
    for origin, policy in reversed(layers):
        for field in PERSONAL if origin == personal else FIELDS:
            value = getattr(policy, field)
            if (
                not value
                or (field == "virus" and value not in NEVER_OUT)
                or (field in CLASSES and value not in STRICTNESS)
            ):
                continue
            if origin == personal and field in PERSONAL_BOUNDS:
                low, high = PERSONAL_BOUNDS[field]
                value = min(max(value, low), high)
            values[field] = value
            origins[field] = origin
    prefix = values["prefix"]
    return Resolved(
        spam_threshold=values["spam_threshold"],
        phishing_threshold=values["phishing_threshold"],
        acts={name: str(values[name]) for name in CLASSES},
        prefix="" if prefix == NONE else prefix,
        origins=origins,
    )


def check(policy: Policy, *, personal: bool) -> None:
    """Whether a domain, or a person, may say this. Raises ConfigurationError."""
    for field in FIELDS:
        value = getattr(policy, field)
        if not value:
            continue
        if personal and field not in PERSONAL:
            raise ConfigurationError(
                f"what happens to {SAID.get(field, field)} is not a person's to say",
                remedy="Set it for the domain; a person may set thresholds, and what happens to bulk mail and spam.",
            )
        if field in THRESHOLDS:
            low, high = PERSONAL_BOUNDS[field] if personal else BOUNDS
            if not low <= value <= high:
                raise ConfigurationError(
                    f"{field} is {value:g}; expected {low:g} to {high:g}" + (" for a person" if personal else "")
                )
        elif field == "prefix":
            _check_prefix(value)
        else:
            check_act(field, value)


def check_act(name: str, act: str) -> None:
    """Whether this may happen to mail of a class. Raises ConfigurationError."""
    if name not in CLASSES:
        raise ConfigurationError(f"there is no class {name!a}", remedy=f"One of {', '.join(CLASSES)}.")
    if act not in list(Act):
        raise ConfigurationError(f"there is no action {act!a}", remedy=f"One of {', '.join(Act)}.")
    if name == "virus" and act not in NEVER_OUT:
        raise ConfigurationError("a virus is never delivered", remedy="Say virus=quarantine or virus=discard.")


def _check_prefix(prefix: str) -> None:
    if len(prefix) > MAX_PREFIX or not prefix.isascii() or not prefix.isprintable() or "=?" in prefix:
        raise ConfigurationError(
            f"a prefix of the subject has at most {MAX_PREFIX} characters, all of them printable ASCII",
            remedy="Write it as '[SPAM]', or none.",
        )
