"""DMARC Policy Records (RFC 9989 4.7, 4.8): which TXT record is one, and what it asks for.

Reading is tolerant where the RFC says so: unknown tags, those of former times (pct, ri, rf) and what is not understood count
as not written. It is not for the version, and a policy that is not understood is never taken for another one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

Policy = Literal["none", "quarantine", "reject"]

MAX_RECORD: Final = 4096
"""Octets. Those in use have up to 1,000, nearly all of it addresses for reports; what is longer is taken for no record."""
CACHED: Final = 1024
"""Records kept, read: at most 5 MiB."""

# The version is compared to the letter, the tag's name is not (RFC 9989 4.8).
_VERSION: Final = re.compile(rb"[Vv][ \t]*+=[ \t]*+DMARC1[ \t]*+(?:;|\Z)")
_URI: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*+:[!-~]++")
_POLICIES: Final[Mapping[bytes, Policy]] = {b"none": "none", b"quarantine": "quarantine", b"reject": "reject"}
_BOUNDARIES: Final[Mapping[bytes, Literal["y", "n"]]] = {b"y": "y", b"n": "n"}


class Record(msgspec.Struct, frozen=True, gc=False):
    """`policy` is for the domain itself, `subdomains` for those below that exist, `absent` for those that do not."""

    policy: Policy | Literal[""] = "none"
    """Empty, and so are the others: to be applied to nothing (RFC 9989 4.10.1)."""
    subdomains: Policy | Literal[""] = "none"
    absent: Policy | Literal[""] = "none"
    psd: Literal["y", "n", "u"] = "u"
    strict_dkim: bool = False
    strict_spf: bool = False
    testing: bool = False
    problem: str = ""
    """What is wrong with its policy, in words that quote nothing."""


def records(texts: Iterable[bytes]) -> list[bytes]:
    """Those of some TXT records that are DMARC Policy Records."""
    return [text for text in texts if len(text) <= MAX_RECORD and _VERSION.match(text) is not None]


@functools.lru_cache(CACHED)
def read(text: bytes) -> Record:
    """One of `records`. Never raises."""
    tags: dict[bytes, bytes] = {}
    for part in text.split(b";")[1:]:
        name, equals, value = part.partition(b"=")
        if equals:
            # A tag that comes again is the error, and it is ignored.
            tags.setdefault(name.strip(b" \t").lower(), value.strip(b" \t"))
    flags = {name: value.lower() for name, value in tags.items()}
    policies, problem = _policies(flags, reports=_URI.search(tags.get(b"rua", b"")) is not None)
    return Record(
        *policies,
        psd=_BOUNDARIES.get(flags.get(b"psd", b""), "u"),
        strict_dkim=flags.get(b"adkim") == b"s",
        strict_spf=flags.get(b"aspf") == b"s",
        testing=flags.get(b"t") == b"y",
        problem=problem,
    )


_Policies = tuple[Policy | Literal[""], Policy | Literal[""], Policy | Literal[""]]


def _policies(tags: Mapping[bytes, bytes], *, reports: bool) -> tuple[_Policies, str]:
    """(p, sp and np, what is wrong with them).

    A wrong one spoils all three. If the domain asks for reports it gets p=none for it, else nothing (RFC 9989 4.10.1). For a
    missing p the RFC says two things: "as if p=none" (4.7), and what it says of a wrong one (4.10.1). Both come to no policy;
    it is p=none here, so that a message can pass.
    """
    wrong = [name.decode() for name in (b"p", b"sp", b"np") if name in tags and tags[name] not in _POLICIES]
    if wrong and not reports:
        return ("", "", ""), f"its {wrong[0]}= is not a policy"
    if wrong:
        return ("none", "none", "none"), f"its {wrong[0]}= is not a policy, so all of it counts as none"
    if b"p" not in tags:
        return ("none", "none", "none"), "it has no p=, so all of it counts as none"
    policy = _POLICIES[tags[b"p"]]
    subdomains = _POLICIES[tags[b"sp"]] if b"sp" in tags else policy
    return (policy, subdomains, _POLICIES[tags[b"np"]] if b"np" in tags else subdomains), ""
