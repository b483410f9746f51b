"""DMARC (RFC 9989): does a domain for which the message was authenticated stand behind the author's, and if none does, what
does the author's domain want done?

Where an organization begins is found in the DNS itself, by a walk up the tree; there is no list of public suffixes. A walk has
8 questions at most, and a message 1 + MAX_WALKS walks. Time is the caller's: any await may be cancelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from pipeline.address import MAX_DOMAIN
from pipeline.authentication.dmarc_record import Policy, Record, read, records
from pipeline.authentication.names import DOTS, a_labels
from pipeline.resolver import LookupFailed

Outcome = Literal["pass", "fail", "none", "temperror", "permerror"]
Method = Literal["dkim", "spf"]

MAX_LABELS: Final = 7
"""Of the names that are asked about after the first: 8 questions (RFC 9989 4.10)."""
MAX_WALKS: Final = 10
"""Identifiers whose organization is looked up. One that is the author's own, or not below its organization, takes no walk."""
STAND_IN: Final = "xn--invalid"
"""For a label that can be in no name: whoever writes one in From is still below the domains that follow it."""

_LABEL: Final = r"[a-z0-9_-]{1,63}"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")


class Lookups(Protocol):
    """Questions to the DNS as pipeline.resolver asks them."""

    async def txt(self, name: str) -> tuple[bytes, ...]: ...
    async def cname(self, name: str) -> tuple[str, ...]: ...


class Result(msgspec.Struct, frozen=True):
    """What DMARC says. Domains are in lower case and A-labels."""

    result: Outcome
    domain: str = ""
    """Where the record was found."""
    organizational: str = ""
    """The author domain's Organizational Domain; empty when it could not be found out."""
    policy: Policy | Literal[""] = ""
    """What is asked for mail of this author domain that fails, as published; empty when nothing is or that is not known."""
    testing: bool = False
    """t=y: one level less than `policy` is asked for (RFC 9989 4.7)."""
    aligned: Method | Literal[""] = ""
    """What made it pass."""
    problem: str = ""
    """Why it is temperror or permerror; otherwise what is wrong with the domain's records. Printable ASCII."""


class _Walk(NamedTuple):
    """A walk up the tree from `start`."""

    start: str
    found: tuple[tuple[str, Record], ...] = ()
    """The longest name first."""
    several: str = ""
    """A name that has more than one record, which counts as none."""
    trouble: str = ""
    """Why it ended before its time."""


async def evaluate(
    author_domain: str, *, spf: tuple[str, str] | None, dkim: Sequence[tuple[str, str]], names: Lookups
) -> Result:
    """RFC 9989 5.3 for a message with one author domain, the domain of From.

    `spf` is (result, domain) of the MAIL FROM identity, `dkim` (result, d=) of each signature. "pass" authenticates the
    domain, "temperror" leaves it open, anything else does not. Raises nothing.
    """
    author = _author(author_domain)
    if not author:
        return Result("none", problem="the author domain is not a domain name")
    walk = await _walk(author, names)
    if walk.trouble and (not walk.found or walk.found[0][0] != author):
        return Result("temperror", problem=walk.trouble)
    organizational = "" if walk.trouble else _organizational(walk)
    problem = f"_dmarc.{walk.several} has more than one DMARC record" if walk.several else ""
    applying = _applying(walk, organizational)
    if applying is None:
        return Result("none", organizational=organizational, problem=problem)
    domain, record = applying
    if record.problem:
        problem = f"the DMARC record of {domain}: {record.problem}"
    result = Result("permerror", domain, organizational, record.policy, record.testing, problem=problem)
    if not record.policy:
        return result
    doubt = ""
    if domain != author:
        policy, doubt = await _inherited(record, author, names)
        result = msgspec.structs.replace(result, policy=policy)
    alignment = _Alignment(walk, organizational, record, names)
    aligned = await alignment.first(_identifiers("pass", spf, dkim))
    if aligned:
        return msgspec.structs.replace(result, result="pass", aligned=aligned)
    if not doubt and await alignment.first(_identifiers("temperror", spf, dkim)):
        doubt = "a signature or an SPF record that would count could not be checked for now"
    if doubt := doubt or alignment.trouble:
        return msgspec.structs.replace(result, result="temperror", problem=doubt)
    return msgspec.structs.replace(result, result="fail")


async def _walk(start: str, names: Lookups) -> _Walk:
    """RFC 9989 4.10."""
    found: list[tuple[str, Record]] = []
    several = ""
    for name in _steps(start):
        try:
            texts = records(await names.txt(f"_dmarc.{name}"))
        except LookupFailed as failed:
            if failed.permanent:
                continue
            return _Walk(start, tuple(found), several, f"the DNS did not answer about _dmarc.{name}")
        if len(texts) > 1:
            several = several or name
        elif texts:
            record = read(texts[0])
            found.append((name, record))
            if record.psd != "u":
                break
    return _Walk(start, tuple(found), several)


def _steps(start: str) -> Iterator[str]:
    yield start
    labels = start.split(".")
    for count in range(min(len(labels) - 1, MAX_LABELS), 0, -1):
        yield ".".join(labels[-count:])


def _organizational(walk: _Walk) -> str:
    """RFC 9989 4.10.2, for a walk that came to its end."""
    for name, record in walk.found:
        if record.psd == "n":
            return name
        if record.psd == "y" and name != walk.start:
            return ".".join(walk.start.split(".")[-name.count(".") - 2 :])
    return walk.found[-1][0] if walk.found else walk.start


def _applying(walk: _Walk, organizational: str) -> tuple[str, Record] | None:
    """The record of the author domain, of its Organizational Domain, of its Public Suffix Domain (RFC 9989 4.10.1).

    What is found between them applies to nothing here.
    """
    found = dict(walk.found)
    suffix = walk.found[-1][0] if walk.found and walk.found[-1][1].psd == "y" else ""
    for name in (walk.start, organizational, suffix):
        if name in found:
            return name, found[name]
    return None


async def _inherited(record: Record, author: str, names: Lookups) -> tuple[Policy | Literal[""], str]:
    """(the policy for a domain below the record's, why that is not known).

    A name exists when it has any record at all, an alias that leads nowhere included (RFC 9989 A.4): hence the question for
    its CNAME, which is the one that speaks of the name itself.
    """
    if record.absent == record.subdomains:
        return record.subdomains, ""
    try:
        await names.cname(author)
    except LookupFailed as failed:
        return (record.absent, "") if failed.permanent else ("", f"the DNS did not answer whether {author} exists")
    return record.subdomains, ""


class _Alignment:
    """Which identifiers align with the author domain (RFC 9989 4.10.2)."""

    def __init__(self, walk: _Walk, organizational: str, record: Record, names: Lookups) -> None:
        self._author = walk.start
        self._organizational = organizational
        self._record = record
        self._names = names
        self._why = walk.trouble
        self._walks = 0
        self.trouble = ""
        """Why it is not known of one that is not said to align."""

    async def first(self, identifiers: Iterable[tuple[Method, str]]) -> Method | Literal[""]:
        """How one that aligns was authenticated. Those that need no question come first."""
        known = (self._author, self._organizational)
        for method, domain in sorted(identifiers, key=lambda identifier: identifier[1] not in known):
            strict = self._record.strict_dkim if method == "dkim" else self._record.strict_spf
            if domain == self._author or (not strict and await self._related(domain)):
                return method
        return ""

    async def _related(self, domain: str) -> bool:
        if not self._organizational:
            if domain.rpartition(".")[2] == self._author.rpartition(".")[2]:
                self.trouble = self._why
            return False
        # It is the end of the author's walk, and so of its own. Any other must be below it to have the same one.
        if domain == self._organizational:
            return True
        if not domain.endswith("." + self._organizational) or self._walks == MAX_WALKS:
            return False
        self._walks += 1
        walk = await _walk(domain, self._names)
        if walk.trouble:
            self.trouble = walk.trouble
            return False
        return _organizational(walk) == self._organizational


def _identifiers(
    result: str, spf: tuple[str, str] | None, dkim: Sequence[tuple[str, str]]
) -> dict[tuple[Method, str], None]:
    """Those with this result, each once and in order."""
    results: list[tuple[Method, tuple[str, str]]] = [("dkim", each) for each in dkim]
    if spf is not None:
        results.append(("spf", spf))
    return dict.fromkeys(
        (method, name) for method, (got, domain) in results if got == result and (name := _name(domain))
    )


def _name(text: str) -> str:
    """A name that can be in the DNS; "" for any other text."""
    name = a_labels(text.removesuffix(".")).lower()
    return name if len(name) <= MAX_DOMAIN and _NAME.fullmatch(name) is not None else ""


def _author(text: str) -> str:
    """The author domain; "" when it is none, as an address literal is not.

    A label that can be in no name must not be a way around the policy of the domain that it pretends to be below.
    """
    name = _name(text)
    if name or text.startswith("["):
        return name
    labels = [_name(label) or _stand_in(label) for label in DOTS.split(text[-MAX_DOMAIN:]) if label]
    return ".".join(labels) if labels and _name(labels[-1]) and labels[-1] != STAND_IN else ""


def _stand_in(label: str) -> str:
    return label if label.isascii() and label.isdigit() else STAND_IN
