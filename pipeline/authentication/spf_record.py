"""SPF records (RFC 7208 3 to 6): which TXT record is one, and what it says.

A record is read as a whole before anything of it is evaluated: a syntax error anywhere spoils it (RFC 7208 4.6). Records
that were read are kept by their text, because the same few hundred belong to most of the mail.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from pipeline.authentication.macros import DOMAIN_LETTERS, MacroError, Target, domain_spec, parse

Kind = Literal["all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"]
Verdict = Literal["pass", "fail", "softfail", "neutral"]

MAX_LOOKUPS: Final = 10
"""Terms of an evaluation that ask the DNS: include, a, mx, ptr, exists, redirect, and %{p} (RFC 7208 4.6.4)."""
MAX_RECORD: Final = 4096
"""Octets. RFC 7208 3.4 asks for 450, the longest in use have some 2,000; what is longer is an error."""
CACHED: Final = 512
"""Records kept, read. A common one takes 1 KiB then, and the worst that fits MAX_RECORD, 500 networks, 50 KiB."""

_VERSION: Final = b"v=spf1"
_QUALIFIERS: Final[dict[str, Verdict]] = {"": "pass", "+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_MODIFIER: Final = re.compile(r"([A-Za-z][A-Za-z0-9._-]*+)=(.*)", re.ASCII)
_DIRECTIVE: Final = re.compile(r"([+?~-]?)([A-Za-z0-9]++)(.*)", re.ASCII)
_FOUR: Final = r"(?:/(0|[1-9][0-9]?))"
_SIX: Final = r"(0|[1-9][0-9]{0,2})"
_DUAL: Final = re.compile(rf"(?::(.*?))?{_FOUR}?(?://{_SIX})?", re.ASCII)
_IP4: Final = re.compile(rf":([0-9.]++){_FOUR}?", re.ASCII)
_IP6: Final = re.compile(rf":([0-9A-Fa-f:.]++)(?:/{_SIX})?", re.ASCII)


class Term(msgspec.Struct, frozen=True, gc=False):
    """One directive."""

    kind: Kind
    verdict: Verdict
    text: str
    """As it is written: printable ASCII, because nothing else is a directive."""
    target: Target | None = None
    """None: the domain that is being checked."""
    version: int = 0
    """Of ip4 and ip6: 4 and 6."""
    network: int = 0
    """The address without the bits that do not count."""
    shift: int = 0
    """How many bits do not count. Of a and mx: for IPv4 addresses."""
    shift6: int = 0


class Record(msgspec.Struct, frozen=True, gc=False):
    terms: tuple[Term, ...] = ()
    """Those that an evaluation can come to."""
    redirect: Target | None = None
    explanation: Target | None = None
    problem: str = ""
    """What is wrong with it; nothing else is said of such a record."""


class _SyntaxError(ValueError):
    """What is wrong, in words that quote nothing."""


def records(texts: Iterable[bytes]) -> list[bytes]:
    """Those of some TXT records that are SPF records (RFC 7208 4.5)."""
    return [text for text in texts if text[:6].lower() == _VERSION and text[6:7] in (b"", b" ")]


@functools.lru_cache(CACHED)
def read(text: bytes) -> Record:
    """One of `records`. Never raises."""
    if len(text) > MAX_RECORD:
        return Record(problem=f"it is longer than {MAX_RECORD} octets")
    if not text.isascii():
        return Record(problem="it holds an octet that is not ASCII")
    terms: list[Term] = []
    asking = 0
    modifiers: dict[str, Target] = {}
    try:
        for written in text[len(_VERSION) :].decode("ascii").split(" "):
            modifier = _MODIFIER.fullmatch(written)
            if modifier is not None:
                _modify(modifiers, modifier[1].lower(), modifier[2])
            elif written:
                term = _directive(written)
                # Past these no evaluation comes; what stands there must only be right.
                if asking <= MAX_LOOKUPS and not (terms and terms[-1].kind == "all"):
                    terms.append(term)
                    asking += not term.version
    except (_SyntaxError, MacroError) as error:
        return Record(problem=str(error))
    return Record(tuple(terms), modifiers.get("redirect"), modifiers.get("exp"))


def _modify(modifiers: dict[str, Target], name: str, value: str) -> None:
    if name not in {"redirect", "exp"}:
        parse(value, DOMAIN_LETTERS)  # it is ignored, but a macro-string it must be (RFC 7208 6, 12)
        return
    if name in modifiers:
        raise _SyntaxError(f"more than one {name}=")
    modifiers[name] = domain_spec(value)


def _directive(text: str) -> Term:
    match = _DIRECTIVE.fullmatch(text)
    if match is None:
        raise _SyntaxError("a term that is neither a mechanism nor a modifier")
    verdict, kind, rest = _QUALIFIERS[match[1]], match[2].lower(), match[3]
    if kind == "all" and not rest:
        return Term("all", verdict, text)
    if kind in {"include", "exists"} and rest[:1] == ":":
        return Term("include" if kind == "include" else "exists", verdict, text, domain_spec(rest[1:]))
    if kind == "ptr" and rest[:1] in {"", ":"}:
        return Term("ptr", verdict, text, domain_spec(rest[1:]) if rest else None)
    if kind in {"a", "mx"}:
        return _dual(Term("a" if kind == "a" else "mx", verdict, text), rest)
    if kind in {"ip4", "ip6"}:
        return _network(Term("ip4" if kind == "ip4" else "ip6", verdict, text), rest)
    raise _SyntaxError("a mechanism that does not exist, or not in this form")


def _dual(term: Term, rest: str) -> Term:
    match = _DUAL.fullmatch(rest)
    if match is None:
        raise _SyntaxError(f"the argument of {term.kind} is wrong")
    return msgspec.structs.replace(
        term,
        target=None if match[1] is None else domain_spec(match[1]),
        shift=_shift(match[2], 32),
        shift6=_shift(match[3], 128),
    )


def _network(term: Term, rest: str) -> Term:
    four = term.kind == "ip4"
    match = (_IP4 if four else _IP6).fullmatch(rest)
    try:
        if match is None:
            raise _SyntaxError(f"the argument of {term.kind} is wrong")
        address = ipaddress.IPv4Address(match[1]) if four else ipaddress.IPv6Address(match[1])
    except ipaddress.AddressValueError:
        raise _SyntaxError(f"the argument of {term.kind} is not an address") from None
    shift = _shift(match[2], address.max_prefixlen)
    return msgspec.structs.replace(term, version=address.version, network=int(address) >> shift, shift=shift)


def _shift(prefix: str | None, length: int) -> int:
    bits = length if prefix is None else int(prefix)
    if bits > length:
        raise _SyntaxError(f"a prefix of {bits} bits of {length}")
    return length - bits
