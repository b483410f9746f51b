"""Lists of bad and of good senders that are asked over the DNS (RFC 5782): about the client's address, and about domains.

All questions about a message go out at once. What is not answered in time is said and counts nothing; a list that is silent for
several messages is not asked for a while. An answer counts as the settings say (see pipeline/dnslist.py), one for each list. Never
a listing:

- answers in 127.255.255.0/24: the list tells us that it does not serve us (too many questions, a public resolver),
- answers outside 127.0.0.0/8: somebody else has the name now,
- any answer of a list that also lists what no list may (RFC 5782 5): it has been given up and says yes to everything. That is
  asked once in an hour.

A domain on a list of good senders counts only where SPF or DKIM proves that the message is from there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import structlog

from pipeline.dnslist import DnsList, Rule, worth
from pipeline.events import Finding
from pipeline.mime import plain
from pipeline.resolver import LookupFailed
from pipeline.scanning.domains import domains, proved
from pipeline.scanning.engine import LARGE, Mail
from pipeline.scanning.organisation import is_private, registrable
from pipeline.settings import Settings
from pipeline.text import printable
from pipeline.units import Duration

MAX_QUESTIONS: Final = 20
"""About the domains of one message, over all lists."""
MAX_TEXT: Final = 120
TEXT_TIME: Final = 0.3
"""Seconds that a list's own words are waited for."""
CHECKED: Final = 3600.0
"""Seconds for which a list is known to be alive or dead."""
PATIENCE: Final = 5
"""Messages in a row for which a list did not answer, after which it is not asked for a while."""
PAUSE: Final = 60.0

_REFUSED: Final = int(ipaddress.IPv4Address("127.255.255.0")) >> 8

_log = structlog.get_logger(__name__)


class Lookups(Protocol):
    async def a(self, name: str) -> tuple[str, ...]: ...
    async def txt(self, name: str) -> tuple[bytes, ...]: ...


class _Zone:
    """One list, and what this process knows of its health."""

    def __init__(self, written: DnsList, test: str) -> None:
        self.name = written.zone
        self.rules = written.rules
        self.test = test
        """What it must not list."""
        self.alive: bool | None = None
        """None: that was never found out."""
        self.checked = float("-inf")
        self.silent = 0
        self.paused = float("-inf")
        self.said = float("-inf")

    def told(self, now: float, event: str, **more: object) -> None:
        """A line in the log, at most one in an hour."""
        if now - self.said >= CHECKED:
            self.said = now
            _log.warning(event, zone=self.name, **more)


class _Question:
    """`about` is asked of `zone`; the answer is kept here as it comes, so that one which came in time counts."""

    def __init__(self, zone: _Zone, about: str, shown: str, *, proved: bool = True) -> None:
        self.zone = zone
        self.name = f"{about}.{zone.name}"
        self.shown = shown
        self.proved = proved
        """A rule that speaks for the message may count."""
        self.answered = False
        self.answers: tuple[int, ...] = ()
        self.rule: Rule | None = None
        self.text = ""

    async def ask(self, names: Lookups) -> None:
        try:
            found = await names.a(self.name)
        except LookupFailed as failed:
            self.answered = failed.permanent
            return
        self.answered = True
        self.answers = tuple([int(ipaddress.IPv4Address(address)) for address in found])
        self.rule = worth(
            self.zone.rules, tuple([one for one in self.answers if one >> 24 == 127 and one >> 8 != _REFUSED])
        )
        if self.rule is not None and self.rule.score < 0 and not self.proved:
            self.rule = None
        if self.rule is not None:
            await self._explain(names)

    async def _explain(self, names: Lookups) -> None:
        limit = asyncio.timeout(TEXT_TIME)
        try:
            async with limit:
                texts = await names.txt(self.name)
        except (LookupFailed, TimeoutError):
            return
        self.text = plain(printable(b" ".join(texts[:1])[: 4 * MAX_TEXT].decode("utf-8", "replace")), MAX_TEXT)

    @property
    def refused(self) -> bool:
        return any(answer >> 8 == _REFUSED for answer in self.answers)

    @property
    def said(self) -> str:
        return ", ".join(str(ipaddress.IPv4Address(answer)) for answer in self.answers[:5])


class DnsLists:
    """An Engine. `clock` gives seconds that only go forward."""

    name: Final = "dnslists"
    version: Final = "1"

    def __init__(self, settings: Settings, names: Lookups, clock: Callable[[], float] = time.monotonic) -> None:
        self.deadline: Duration = settings.scan_budget
        # A little earlier than the others lose patience, so that what was answered is not lost with what was not.
        self._limit = settings.scan_budget.seconds * 0.8
        self._names = names
        self._clock = clock
        self._for_addresses = tuple([_Zone(one, "1.0.0.127") for one in settings.address_lists])
        self._for_domains = tuple([_Zone(one, "invalid") for one in settings.domain_lists])
        registrable("example.com")  # the table takes 0.1 s to load, which no message has

    async def scan(self, mail: Mail) -> Sequence[Finding]:
        now = self._clock()
        questions = [*self._about_client(mail), *await self._about_domains(mail)]
        zones = list({id(question.zone): question.zone for question in questions}.values())
        asking = [
            question for question in questions if question.zone.paused <= now and question.zone.alive is not False
        ]
        due = [zone for zone in zones if now - zone.checked >= CHECKED and zone.paused <= now]
        # One that was dead an hour ago is asked again as soon as it is known to live.
        tests = [_Question(zone, zone.test, "") for zone in due]
        await self._ask([*asking, *tests])
        for test in tests:
            _judge(test, now)
        return [finding for zone in zones for finding in _found(zone, [one for one in asking if one.zone is zone], now)]

    async def _ask(self, questions: Sequence[_Question]) -> None:
        if not questions:
            return
        tasks = [asyncio.ensure_future(question.ask(self._names)) for question in questions]
        try:
            await asyncio.wait(tasks, timeout=self._limit)
        finally:
            for task in tasks:
                task.cancel()
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()

    def _about_client(self, mail: Mail) -> Iterator[_Question]:
        client = mail.message.client
        if client is None or not self._for_addresses or is_private(client.address):
            return
        address = ipaddress.ip_address(client.address)
        address = getattr(address, "ipv4_mapped", None) or address
        about = address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
        for zone in self._for_addresses:
            yield _Question(zone, about, f"the client's address {address}")

    async def _about_domains(self, mail: Mail) -> Sequence[_Question]:
        if not self._for_domains or mail.message.client is None:
            return ()
        if len(mail.content) > LARGE:
            await asyncio.to_thread(lambda: mail.reading)
        known = proved(mail)
        names = list(domains(mail))[: max(1, MAX_QUESTIONS // len(self._for_domains))]
        return [
            _Question(zone, name, f"{where} {name}", proved=name in known)
            for zone in self._for_domains
            for name, where in names
        ][:MAX_QUESTIONS]


def _judge(test: _Question, now: float) -> None:
    """What the answer about what no list may list says of the list."""
    zone = test.zone
    if not test.answered:
        return
    zone.checked = now
    zone.alive = not test.answers or test.refused
    if not zone.alive:
        zone.told(
            now,
            "a DNS list says yes to everything and is not asked",
            answers=test.said,
            remedy="take it out of the settings",
        )


def _found(zone: _Zone, asked: Sequence[_Question], now: float) -> Iterator[Finding]:
    if zone.alive is False:
        return
    if zone.paused > now:
        yield _finding("DNS_LIST_SILENT", f"{zone.name} was not asked, because it does not answer")
        return
    if any(not question.answered for question in asked) or zone.alive is None:
        zone.silent += 1
        if zone.silent >= PATIENCE:
            zone.silent = 0
            zone.paused = now + PAUSE
            zone.told(
                now, "a DNS list does not answer", remedy="look whether it still exists, and what `resolver` says of it"
            )
        yield _finding("DNS_LIST_SILENT", f"{zone.name} did not answer")
    else:
        zone.silent = 0
    if zone.alive is None:
        return  # it may be one of those that list everything
    refused = next((question for question in asked if question.refused), None)
    if refused is not None:
        zone.told(
            now, "a DNS list refuses our questions", answers=refused.said, remedy="see its terms, and docs/lists.md"
        )
        yield _finding("DNS_LIST_REFUSED", f"{zone.name} refuses our questions ({refused.said})")
    yield from _listings(zone, asked)


def _listings(zone: _Zone, asked: Sequence[_Question]) -> Iterator[Finding]:
    """The one that weighs most counts, and names the others."""
    listed = sorted(
        [(question.rule, question) for question in asked if question.rule is not None],
        key=lambda pair: -abs(pair[0].score),
    )
    if not listed:
        return
    rule, first = listed[0]
    what = "CLIENT" if zone.test != "invalid" else "DOMAIN"
    more = f", and {len(listed) - 1} more" if len(listed) > 1 else ""
    text = f": {first.text}" if first.text else ""
    yield _finding(
        f"{what}_{'LISTED' if rule.score >= 0 else 'ALLOWED'}",
        f"{zone.name} lists {first.shown} ({first.said}){more}{text}",
        score=rule.score,
        kind=rule.kind,
    )


def _finding(name: str, text: str, *, score: float = 0.0, kind: str = "spam") -> Finding:
    return Finding(name=name, text=text, score=score, kind=kind, engine=DnsLists.name)
