"""What is kept in quarantine, so that a million messages can be listed and searched: a row per message, and one index of exact values.

A message is kept while at least one of its copies is, since the moment the first of them came. Its row is there from its arrival,
because what it says is known before anybody knows that it will be kept, until none of its copies is kept or still to be judged: mail that
only passes comes and goes within a batch and is never written, and mail that waits takes no memory here. What could not be delivered
comes back as its event describes it. Only kept messages are in the index.

The index holds *entries* of 22 octets: which value (4), since when in seconds (4), which message (14), so the entries of one value
sort by time. Values are spread over many small sorted sets, which Redis keeps as flat lists of some 26 octets an entry; only the
values that very many messages share, such as a class, make a set large. A value is known by 46 bits of its hash: who reads checks the
row, and so another value of the same hash does no harm. Keys of the view (`d` a domain, `n` a number in hexadecimal):

    live    hash    message id -> Row (MessagePack) of every message that is kept, or not judged yet
    x<n>    zset    entries (see `entry`), all with score 0
    d:<d>   hash    messages, bytes: kept now; class:<class>, country:<country>: messages of each; odd: recipients named by events
                    that cannot be
    p:<d>   list    Report (MessagePack): the newest of what people reported, as many as are kept
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from pipeline.events import (
    Discarded,
    Event,
    Quarantined,
    Queued,
    Received,
    Recorded,
    Redirected,
    Released,
    Reported,
    Scanned,
    Undeliverable,
)
from pipeline.ids import PACKED, is_id, packed
from pipeline.terms import addresses, folded, words
from projections.base import Command, Word, Writes, bounded, bulk, row_of

NAME: Final = "quarantine"
LIVE: Final = "live"
UNDELIVERABLE: Final = "undeliverable"
SECOND: Final = 1_000_000_000

BUCKETS: Final = 1 << 14
"""Sorted sets of the index: a partition of 125,000 kept messages has some 70 entries of rare values in each, below the 128 from
which Redis needs four times the memory.
"""
PREFIX: Final = 4
PLACE: Final = 4 + PACKED
"""Octets of an entry that say when and which; they are also what a cursor is made of."""
MAX_TEXT: Final = 200
"""Characters kept of a subject and of a From field."""
MAX_ADDRESS: Final = 320
MAX_TESTS: Final = 40


class Row(msgspec.Struct, array_like=True):
    """A message that is kept, or not judged yet."""

    domain: str
    sender: str
    size: int
    received: int
    open: dict[str, None]
    """The recipients of whom it was not decided yet what happens to their copy."""
    client: str = ""
    verdict: str = ""
    score: float = 0.0
    subject: str = ""
    header_from: str = ""
    country: str = ""
    tests: tuple[str, ...] = ()
    own: dict[str, str] = {}
    """Recipients whose own settings see it differently -> their verdict."""
    kept: dict[str, str] = {}
    """The recipients whose copy is kept -> its class, or undeliverable."""
    since: int = 0
    expires: int = 0
    reason: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody said that a message was judged wrongly."""

    id: str
    event: Reported


REPORTS_KEPT: Final = 100

decode_report: Final = msgspec.msgpack.Decoder(Report).decode
decode_row: Final = msgspec.msgpack.Decoder(Row).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def senders(row: Row) -> list[str]:
    """The addresses that a message says it is from: of the envelope, and those in its From field."""
    found = [folded(row.sender) or "<>", *addresses(row.header_from)]
    return list(dict.fromkeys(found))


def values(row: Row) -> Iterator[tuple[str, str]]:
    """(kind, value) of all that a kept message can be found by exactly."""
    yield "a", ""
    yield "d", row.domain
    for address in row.kept:
        yield "r", folded(address)
    for address in senders(row):
        yield "s", address
    for name in dict.fromkeys(address.rpartition("@")[2] for address in senders(row) if "@" in address):
        yield "h", name
    for name in dict.fromkeys(row.kept.values()):
        yield "c", name
    if row.country:
        yield "n", folded(row.country)
    for name in row.tests:
        yield "t", folded(name)
    for word in words(row.subject):
        yield "w", word


def located(kind: str, value: str) -> tuple[str, bytes]:
    """Where the entries of a value are: the sorted set, and what they begin with."""
    digest = hashlib.blake2b(f"{kind}{value}".encode("utf-8", "replace"), digest_size=2 + PREFIX).digest()
    return f"x{int.from_bytes(digest[:2], 'big') % BUCKETS:x}", digest[2:]


def place(since: int, message_id: str) -> bytes:
    """When and which, as the end of an entry."""
    return min(max(since // SECOND, 0), (1 << 32) - 1).to_bytes(4, "big") + packed(message_id)


class Quarantine:
    name = NAME
    version = "3"
    hot = False
    rows = LIVE
    row_events: frozenset[type[Event]] = frozenset({
        Received, Scanned, Quarantined, Queued, Undeliverable, Released, Discarded, Redirected,
    })  # fmt: skip

    @property
    def kinds(self) -> frozenset[type[Event]]:
        return KINDS

    def fold(self, batch: Sequence[Recorded], rows: Mapping[str, bytes]) -> Writes:
        work = _Work(rows)
        passed = _passed(batch, rows)
        for recorded in batch:
            handle = _HANDLERS.get(type(recorded.event))
            if handle is not None and recorded.subject not in passed:
                handle(work, recorded.subject, recorded.event)
        return work.writes()


def _passed(batch: Sequence[Recorded], rows: Mapping[str, bytes]) -> set[str]:
    """The messages that come in a batch and are queued for all their recipients, which is most mail: they leave nothing here, and so
    cost next to nothing.
    """
    came: dict[str, list[str]] = {}
    passed: set[str] = set()
    others: set[str] = set()
    for recorded in batch:
        subject, event = recorded.subject, recorded.event
        if isinstance(event, Received):
            if subject in came or subject in rows or not is_id(subject):
                others.add(subject)
            came[subject] = [spec.address for spec in event.recipients]
        elif isinstance(event, Queued):
            if came.get(subject) == list(event.recipients):
                passed.add(subject)
        elif type(event) in _MOVING:
            others.add(subject)
    return passed - others


class _Standing(NamedTuple):
    """What a row stands for in the index and the counters; nothing while it is not kept."""

    entries: frozenset[tuple[str, bytes]]
    domain: str = ""
    counts: tuple[tuple[str, int], ...] = ()


_NOTHING: Final = _Standing(frozenset())


def _standing(subject: str, row: Row | None) -> _Standing:
    if row is None or not row.kept:
        return _NOTHING
    end = place(row.since, subject)
    entries = frozenset([(key, prefix + end) for key, prefix in (located(kind, value) for kind, value in values(row))])
    counts = {"messages": 1, "bytes": row.size}
    counts |= {f"class:{name}": 1 for name in row.kept.values()}
    if row.country:
        counts[f"country:{row.country}"] = 1
    return _Standing(entries, row.domain, tuple(counts.items()))


class _Work:
    """A batch under way: the rows it touches as they were and as they are."""

    def __init__(self, rows: Mapping[str, bytes]) -> None:
        self._stored = rows
        self._counts: dict[str, dict[str, int]] = {}
        self.live: dict[str, Row | None] = {}
        self.reports: dict[str, list[Report]] = {}

    def row(self, subject: str) -> Row | None:
        try:
            return self.live[subject]
        except KeyError:
            row = self.live[subject] = row_of(decode_row, self._stored.get(subject))
            return row

    def odd(self, event: Event, recipients: int) -> None:
        self._count(event.domain, "odd", recipients)

    def _count(self, domain: str, field: str, amount: int) -> None:
        counts = self._counts.setdefault(domain, {})
        counts[field] = counts.get(field, 0) + amount

    def writes(self) -> Writes:
        return [*self._rows(), *self._counters(), *self._reported()]

    def _reported(self) -> Iterator[Command]:
        for domain, reports in self.reports.items():
            yield from bulk("LPUSH", "p:" + domain, [_encode(report) for report in reports[-REPORTS_KEPT:]])
            yield ("LTRIM", "p:" + domain, "0", str(REPORTS_KEPT - 1))

    def _rows(self) -> Iterator[Command]:
        """The difference between each row before and after the batch."""
        rows: list[Word] = []
        gone: list[Word] = []
        enter: dict[str, list[Word]] = {}
        leave: dict[str, list[Word]] = {}
        for subject, row in self.live.items():
            data = self._stored.get(subject)
            encoded = None if row is None else _encode(row)
            if encoded == data:
                continue
            if encoded is None:
                gone.append(subject)
            else:
                rows += (subject, encoded)
            self._stand(_standing(subject, row_of(decode_row, data)), _standing(subject, row), enter, leave)
        yield from bulk("HSET", LIVE, rows)
        yield from bulk("HDEL", LIVE, gone)
        for key, members in leave.items():
            yield from bulk("ZREM", key, members)
        for key, members in enter.items():
            yield from bulk("ZADD", key, members)

    def _stand(
        self, before: _Standing, after: _Standing, enter: dict[str, list[Word]], leave: dict[str, list[Word]]
    ) -> None:
        for key, member in before.entries - after.entries:
            leave.setdefault(key, []).append(member)
        for key, member in after.entries - before.entries:
            enter.setdefault(key, []).extend(("0", member))
        for standing, sign in ((before, -1), (after, 1)):
            for field, amount in standing.counts:
                self._count(standing.domain, field, sign * amount)

    def _counters(self) -> Iterator[Command]:
        for domain, counts in self._counts.items():
            changed = [word for field, amount in counts.items() if amount for word in (field, str(amount))]
            yield from bulk("ADD", "d:" + domain, changed)


def _received(work: _Work, subject: str, event: Received) -> None:
    recipients: dict[str, None] = dict.fromkeys([spec.address for spec in event.recipients])
    if work.row(subject) is not None or not is_id(subject):
        work.odd(event, len(recipients))
    elif recipients:
        work.live[subject] = Row(
            domain=event.domain,
            sender=event.sender[:MAX_ADDRESS],
            size=bounded(event.size),
            received=event.at,
            open=recipients,
            client=event.client.address if event.client is not None else "",
        )


def _scanned(work: _Work, subject: str, event: Scanned) -> None:
    row = work.row(subject)
    if row is None:
        return
    row.verdict = event.verdict
    row.score = event.score
    row.subject = event.subject[:MAX_TEXT]
    row.header_from = event.header_from[:MAX_TEXT]
    row.country = event.country[:2]
    row.tests = tuple(dict.fromkeys([finding.name for finding in event.findings]))[:MAX_TESTS]
    row.own = {
        address: decision.verdict
        for decision in event.decisions
        if decision.verdict not in ("", event.verdict)
        for address in decision.recipients
    }


def _kept(work: _Work, subject: str, event: Quarantined) -> None:
    row = work.row(subject)
    known = [address for address in dict.fromkeys(event.recipients) if row is not None and address in row.open]
    if len(known) < len(event.recipients):
        work.odd(event, len(event.recipients) - len(known))
    if row is None or not known:
        return
    row.reason = event.reason[:MAX_TEXT]
    _keep(row, event, {address: row.own.get(address, row.verdict) for address in known})


def _undeliverable(work: _Work, subject: str, event: Undeliverable) -> None:
    row = work.row(subject)
    new = [address for address in dict.fromkeys(event.recipients) if row is None or address not in row.kept]
    if len(new) < len(event.recipients) or not is_id(subject):
        work.odd(event, len(event.recipients) - len(new) if is_id(subject) else len(event.recipients))
    if not new or not is_id(subject):
        return
    if row is None:
        row = work.live[subject] = Row(
            domain=event.domain,
            sender=event.sender[:MAX_ADDRESS],
            size=bounded(event.size),
            received=event.received,
            open={},
            client=event.client,
            score=event.score,
            subject=event.subject[:MAX_TEXT],
        )
    _keep(row, event, dict.fromkeys(new, UNDELIVERABLE))


def _keep(row: Row, event: Quarantined | Undeliverable, classes: Mapping[str, str]) -> None:
    if not row.kept:
        row.since = event.at
    row.expires = event.expires
    for address, name in classes.items():
        row.open.pop(address, None)
        row.kept[address] = name


def _released(work: _Work, subject: str, event: Released) -> None:
    row = work.row(subject)
    known = [address for address in dict.fromkeys(event.recipients) if row is not None and address in row.kept]
    if len(known) < len(event.recipients):
        work.odd(event, len(event.recipients) - len(known))
    _gone(work, subject, event)


def _gone(work: _Work, subject: str, event: Queued | Released | Discarded | Redirected) -> None:
    """These copies are not here, or not any more."""
    row = work.row(subject)
    if row is None:
        return
    for address in event.recipients:
        row.open.pop(address, None)
        row.kept.pop(address, None)
    if not (row.open or row.kept):
        work.live[subject] = None


def _reported(work: _Work, subject: str, event: Reported) -> None:
    work.reports.setdefault(event.domain, []).append(Report(id=subject, event=event))


_MOVING: Final = frozenset({Quarantined, Undeliverable, Released, Discarded, Redirected})
_HANDLERS: Final[Mapping[type[Event], Callable[[_Work, str, Any], None]]] = {
    Received: _received,
    Scanned: _scanned,
    Quarantined: _kept,
    Queued: _gone,
    Undeliverable: _undeliverable,
    Released: _released,
    Discarded: _gone,
    Redirected: _gone,
    Reported: _reported,
}
KINDS: Final = frozenset(_HANDLERS)
