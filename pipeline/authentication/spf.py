"""SPF (RFC 7208): may this client send in the name of that domain?

The work is bounded whatever the records say: 10 terms that ask the DNS, 10 hosts for each, 2 of those terms without any
answer, 253 octets to a name, 4 KiB to a record. Time is the caller's: asyncio.timeout around it, any await may be cancelled.
Nothing that a stranger wrote makes it raise, and nothing of it comes out but as printable ASCII.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from pipeline.address import NULL_SENDER
from pipeline.authentication import macros
from pipeline.authentication.macros import Target, UnusableError
from pipeline.authentication.names import a_labels
from pipeline.authentication.spf_record import MAX_LOOKUPS, Record, Term, Verdict, read, records
from pipeline.outcome import CUT, neutralise
from pipeline.resolver import LookupFailed

Outcome = Verdict | Literal["none", "temperror", "permerror"]
Scope = Literal["mailfrom", "helo"]
_T = TypeVar("_T")

MAX_VOID: Final = 2
"""Terms that ask the DNS and get no answer (RFC 7208 4.6.4)."""
MAX_HOSTS: Final = 10
"""Hosts of an MX and names of an address whose addresses are asked for (RFC 7208 4.6.4)."""
MAX_EXPLANATION: Final = 500
"""Characters of an explanation: a line of a reply has 512 (RFC 5321 4.5.3.1.5)."""
MAX_TEMPLATE: Final = 2048
"""Octets of an explanation before its macros are expanded."""
EXPLAINING: Final = 2.0
"""Seconds for an explanation: a result must not be lost because its reason is slow to come."""
MAX_SHOWN: Final = 300
"""Characters of a directive or a name in a result."""

# RFC 7208 4.3: more than one label, and no address. Any visible character but those that make another thing of the text.
_LABEL: Final = r"[^\x00-\x20.\[\\\]\x7f-\U0010ffff]{1,63}"
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}")

_client: Final = functools.lru_cache(1024)(ipaddress.ip_address)
"""Most clients send more than one message."""


class Lookups(Protocol):
    """Questions to the DNS as pipeline.resolver asks them.

    Empty is "no such records"; LookupFailed is "no such name" when it is permanent, and trouble otherwise.
    """

    async def a(self, name: str) -> tuple[str, ...]: ...
    async def aaaa(self, name: str) -> tuple[str, ...]: ...
    async def mx(self, name: str) -> tuple[tuple[int, str], ...]: ...
    async def txt(self, name: str) -> tuple[bytes, ...]: ...
    async def ptr(self, address: str) -> tuple[str, ...]: ...


class Result(msgspec.Struct, frozen=True):
    """What SPF says. Each text is printable ASCII and bounded."""

    result: Outcome
    domain: str = ""
    """What was checked, in lower case and A-labels; empty when it is no domain. A pass authenticates this name."""
    mechanism: str = ""
    """The directive that decided, as it is written, or "default" when none matched. Empty without a decision."""
    explanation: str = ""
    """What the domain says to a client that fails. It is a stranger's text, and to be marked as such where it is shown."""
    problem: str = ""
    """Why it is permerror or temperror."""


class _Stop(Exception):
    """The evaluation ends here, however deep in includes it is."""

    def __init__(self, result: Literal["temperror", "permerror"], problem: str) -> None:
        super().__init__(problem)
        self.result = result


class _Found(NamedTuple):
    verdict: Verdict
    mechanism: str
    explanation: Target | None
    domain: str
    """Whose record decided: %{d} of the explanation."""


async def spf(
    address: str, helo: str, sender: str, names: Lookups, *, receiver: str = "", now: int = 0
) -> tuple[Result, Scope]:
    """What a receiver wants: the MAIL FROM identity of `sender`, for the null sender `postmaster@helo` (RFC 7208 2.4).

    The scope says where the domain comes from, and is the property in Authentication-Results (RFC 8601 2.7.2):
    `smtp.mailfrom` with the sender for "mailfrom", `smtp.helo` with the name in HELO for "helo". For DMARC either is the
    SPF domain (RFC 9989 3.2).
    """
    if sender == NULL_SENDER:
        return await check_host(address, helo, "", helo=helo, names=names, receiver=receiver, now=now), "helo"
    domain = sender.rpartition("@")[2]
    return await check_host(address, domain, sender, helo=helo, names=names, receiver=receiver, now=now), "mailfrom"


async def check_host(
    address: str, domain: str, sender: str, *, helo: str, names: Lookups, receiver: str = "", now: int = 0
) -> Result:
    """RFC 7208 4.1. `address` is the client's, `receiver` our name and `now` the time in seconds, for explanations."""
    name = a_labels(domain).lower()
    if len(name) > macros.MAX_NAME or _DOMAIN.fullmatch(name) is None:
        return Result("none")
    try:
        client = _client(address)
    except ValueError:
        return Result("none", name)
    check = _Check(client, sender, name, helo, names, receiver, now)
    try:
        found = await check.evaluate(name)
    except _Stop as stop:
        return Result(stop.result, name, problem=str(stop))
    if found is None:
        return Result("none", name)
    explanation = ""
    if found.verdict == "fail" and found.explanation is not None:
        explanation = await check.explain(found.explanation, found.domain)
    return Result(found.verdict, name, _shown(found.mechanism), explanation)


class _Check:
    """One evaluation: who sends, and how much was asked already."""

    __slots__ = (
        "_client", "_confirmed", "_empty", "_lookups", "_names", "_number", "_values", "_version", "_void", "_who"
    )  # fmt: skip

    def __init__(
        self,
        client: ipaddress.IPv4Address | ipaddress.IPv6Address,
        sender: str,
        domain: str,
        helo: str,
        names: Lookups,
        receiver: str,
        now: int,
    ) -> None:
        if isinstance(client, ipaddress.IPv6Address):
            client = client.ipv4_mapped or client  # RFC 7208 5
        self._client = client
        self._version, self._number = client.version, int(client)
        self._names = names
        self._who = sender, domain, helo, receiver, now
        self._values: dict[str, str] = {}
        self._confirmed: tuple[str, ...] | None = None
        self._lookups = 0
        self._void = 0
        self._empty = False
        """Whether a question of the term at hand had no answer."""

    async def evaluate(self, domain: str) -> _Found | None:
        """What the record of `domain` says; None when there is none. Raises _Stop."""
        record = await self._record(domain)
        while record is not None:
            for term in record.terms:
                if term.version:
                    matches = term.version == self._version and self._number >> term.shift == term.network
                else:
                    matches = term.kind == "all" or await self._matches(term, domain)
                if matches:
                    return _Found(term.verdict, term.text, record.explanation, domain)
            target = await self._target(record.redirect, domain) if record.redirect is not None else ""
            if not target:
                return _Found("neutral", "default", None, domain)
            # A record that is missing there is an error and not "none" (RFC 7208 6.1); its exp= counts then, not ours.
            self._count()
            record, domain = _existing(await self._record(target), target), target
        return None

    async def explain(self, target: Target, domain: str) -> str:
        """The explanation of a fail; "" when there is anything wrong with it (RFC 7208 6.2)."""
        try:
            async with asyncio.timeout(EXPLAINING):
                name = await self._target(target, domain)
                texts = await self._names.txt(name) if name else ()
                if len(texts) != 1 or len(texts[0]) > MAX_TEMPLATE or not texts[0].isascii():
                    return ""
                text = macros.parse(texts[0].decode("ascii"))
                return neutralise(macros.expand(text, await self._values_for(text, domain)).encode())[:MAX_EXPLANATION]
        except (LookupFailed, TimeoutError, _Stop, macros.MacroError, UnusableError):
            return ""

    async def _record(self, domain: str) -> Record | None:
        if len(domain) > macros.MAX_NAME or _DOMAIN.fullmatch(domain) is None:
            return None
        try:
            found = records(await self._names.txt(domain))
        except LookupFailed as failed:
            if failed.permanent:
                return None
            raise _Stop("temperror", _shown(str(failed))) from None
        if not found:
            return None
        if len(found) > 1:
            raise _Stop("permerror", f"{_shown(domain)} has more than one SPF record")
        record = read(found[0])
        if record.problem:
            raise _Stop("permerror", f"the SPF record of {_shown(domain)} is wrong: {record.problem}")
        return record

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS:
            raise _Stop("permerror", f"more than {MAX_LOOKUPS} terms that ask the DNS")

    async def _matches(self, term: Term, domain: str) -> bool:
        self._count()
        target = domain if term.target is None else await self._target(term.target, domain)
        if not target:
            return False
        if term.kind == "include":
            return _existing(await self.evaluate(target), target).verdict == "pass"
        self._empty = False
        if term.kind == "a":
            matches = await self._has(target, term)
        elif term.kind == "mx":
            matches = await self._exchanges(target, term)
        elif term.kind == "exists":
            matches = bool(await self._ask(self._names.a, target))
        else:
            matches = any(_within(name, target) for name in await self._claimed())
        if self._empty and not matches:
            self._void += 1
            if self._void > MAX_VOID:
                raise _Stop("permerror", f"more than {MAX_VOID} terms for which the DNS has no answer")
        return matches

    async def _ask(self, question: Callable[[str], Awaitable[tuple[_T, ...]]], name: str) -> tuple[_T, ...]:
        try:
            answer = await question(name)
        except LookupFailed as failed:
            if not failed.permanent:
                raise _Stop("temperror", _shown(str(failed))) from None
            answer = ()
        if not answer:
            self._empty = True
        return answer

    async def _addresses(self, name: str) -> list[int]:
        """Of the client's kind, and only those (RFC 7208 5)."""
        if self._version == 4:
            return [_number(socket.AF_INET, address) for address in await self._ask(self._names.a, name)]
        return [_number(socket.AF_INET6, address) for address in await self._ask(self._names.aaaa, name)]

    async def _has(self, name: str, term: Term) -> bool:
        shift = term.shift if self._version == 4 else term.shift6
        return self._number >> shift in {address >> shift for address in await self._addresses(name)}

    async def _exchanges(self, name: str, term: Term) -> bool:
        hosts = await self._ask(self._names.mx, name)
        if len(hosts) > MAX_HOSTS:
            raise _Stop("permerror", f"{_shown(name)} has more than {MAX_HOSTS} MX records")
        for _, host in sorted(hosts):
            if host and await self._has(host, term):
                return True
        return False

    async def _claimed(self) -> tuple[str, ...]:
        """The names that the client's address has and that have the client's address (RFC 7208 5.5).

        Trouble with one of these questions is as good as no answer: a client can break its own reverse zone at will.
        """
        if self._confirmed is None:
            confirmed: list[str] = []
            try:
                names = await self._ask(self._names.ptr, str(self._client))
            except _Stop:
                names = ()
            for name in names[:MAX_HOSTS]:
                try:
                    if name and self._number in await self._addresses(name):
                        confirmed.append(name.lower())
                except _Stop:
                    continue
            self._confirmed = tuple(confirmed)
        return self._confirmed

    async def _target(self, target: Target, domain: str) -> str:
        """The name that is meant, as the DNS writes it; "" when there is none, and then nothing matches (RFC 8616 4)."""
        if isinstance(target, str):
            return target.replace("\\", "\\\\")
        try:
            return macros.name(target, await self._values_for(target, domain)).replace("\\", "\\\\")
        except UnusableError:
            return ""

    async def _values_for(self, string: Target, domain: str) -> dict[str, str]:
        if not self._values:
            self._values = self._known()
        self._values["d"] = domain
        if macros.needs(string, "p"):
            if self._confirmed is None:
                self._count()
            names = await self._claimed()
            best = [name for name in names if name == domain] or [name for name in names if _within(name, domain)]
            self._values["p"] = next(iter(best or names), "unknown")
        return self._values

    def _known(self) -> dict[str, str]:
        sender, domain, helo, receiver, now = self._who
        local, _, host = sender.rpartition("@")
        local, host = local or "postmaster", a_labels(host) or domain
        client = str(self._client)
        return {
            "s": f"{local}@{host}",
            "l": local,
            "o": host,
            "i": client if self._version == 4 else ".".join(f"{self._number:032X}"),
            "v": "in-addr" if self._version == 4 else "ip6",
            "h": a_labels(helo) or helo,
            "c": client,
            "r": receiver or "unknown",
            "t": str(now),
        }


def _existing(found: _T | None, domain: str) -> _T:
    if found is None:
        raise _Stop("permerror", f"{_shown(domain)} is referred to and has no SPF record")
    return found


def _within(name: str, domain: str) -> bool:
    domain = domain.lower()
    return name == domain or name.endswith("." + domain)


def _number(family: int, address: str) -> int:
    return int.from_bytes(socket.inet_pton(family, address))


def _shown(text: str) -> str:
    text = neutralise(text[: MAX_SHOWN + 1].encode("utf-8", "backslashreplace"))
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - len(CUT)] + CUT
