"""What waits, per domain: how much, since when, for whom, what the destination said, when it is tried next.

A recipient waits from `received`, or `released`, until delivered, failed, discarded or quarantined; a message waits while at
least one of its recipients does, since the moment the first of them began to. Keys of the view (`d` a domain):

    live       hash    message id -> Row (MessagePack) of every waiting message
    d:<d>      hash    recipients, messages, bytes: what waits now; held: messages of it that somebody holds; odd: recipients
                       named by events that cannot be
    since:<d>  zset    waiting messages by the moment since when they do, in microseconds
    retry:<d>  zset    those of them that back off by themselves (greylisting, mailbox full), by their next attempt, in microseconds
    route:<d>  hash    server: the one dialled last; down: Down (MessagePack) while no server can be used; error: LastError
                       (MessagePack), the last answer that made mail wait
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from pipeline.decide import EXPIRED, RETURNED
from pipeline.events import (
    Attempt,
    Deferred,
    Delivered,
    Discarded,
    Event,
    Failed,
    Held,
    Quarantined,
    Received,
    Recorded,
    Redirected,
    Released,
    Resumed,
    RouteDeferred,
    RouteOpened,
    Undeliverable,
)
from projections.base import ROW_EVENTS, Command, Counters, Word, Writes, bounded, bulk, row_of

NAME: Final = "queue"
LIVE: Final = "live"
FIELDS: Final = ("recipients", "messages", "bytes", "odd", "held")
RECIPIENTS, MESSAGES, BYTES, ODD, HELD = range(5)


class Row(msgspec.Struct, array_like=True):
    """A waiting message."""

    domain: str
    size: int
    since: int
    waiting: dict[str, None]
    """The recipients that wait, in the order in which they began to."""
    next_try: int = 0
    """ns; 0: whenever its domain is tried."""
    tries: int = 0
    held: dict[str, None] = {}
    """Those of the recipients that somebody holds."""


class Down(msgspec.Struct, array_like=True, frozen=True):
    """No server of the domain can be used."""

    since: int
    tries: int
    next_try: int


class LastError(msgspec.Struct, array_like=True, frozen=True):
    at: int
    attempts: tuple[Attempt, ...]
    message: str = ""
    """Id of the message that was told to wait; empty when all of the domain's were."""


decode_row: Final = msgspec.msgpack.Decoder(Row).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class Queue:
    name = NAME
    version = "3"
    hot = False
    rows = LIVE
    row_events = ROW_EVENTS

    @property
    def kinds(self) -> frozenset[type[Event]]:
        return KINDS

    def fold(self, batch: Sequence[Recorded], rows: Mapping[str, bytes]) -> Writes:
        work = _Work(rows)
        for recorded in batch:
            handle = _HANDLERS.get(type(recorded.event))
            if handle is not None:
                handle(work, recorded.subject, recorded.event)
        return work.writes()


class _Standing(NamedTuple):
    """What a row stands for in the counters and sorted sets."""

    domain: str
    recipients: int
    size: int
    since: int
    next_try: int
    held: bool


def _standing(row: Row) -> _Standing:
    return _Standing(row.domain, len(row.waiting), row.size, row.since, row.next_try, bool(row.held))


class _Work:
    """A batch under way: the rows it touches as they were and as they are, and what it learnt of routes."""

    def __init__(self, rows: Mapping[str, bytes]) -> None:
        self._stored = rows
        self._before: dict[str, _Standing] = {}
        self._routes: dict[str, dict[str, bytes | None]] = {}
        self.live: dict[str, Row | None] = {}
        self.counters = Counters(FIELDS)

    def row(self, subject: str) -> Row | None:
        try:
            return self.live[subject]
        except KeyError:
            row = self.live[subject] = row_of(decode_row, self._stored.get(subject))
            if row is not None:
                self._before[subject] = _standing(row)
            return row

    def odd(self, event: Event, recipients: int) -> None:
        self.counters.of(event.domain)[ODD] += recipients

    def learn(self, domain: str, field: str, value: bytes | None) -> None:
        fields = self._routes.get(domain)
        if fields is None:
            fields = self._routes[domain] = {}
        fields[field] = value

    def writes(self) -> Writes:
        return [*self._rows(), *self.counters.writes(), *self._learnt()]

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
            before = self._before.get(subject)
            if before is not None:
                self._count(before, -1)
                for key, _ in _scores(before):
                    leave.setdefault(key, []).append(subject)
            if row is None or encoded is None:
                gone.append(subject)
                continue
            rows += (subject, encoded)
            after = _standing(row)
            self._count(after, 1)
            for key, score in _scores(after):
                enter.setdefault(key, []).extend((score, subject))
        yield from bulk("HSET", LIVE, rows)
        yield from bulk("HDEL", LIVE, gone)
        for key, words in leave.items():
            yield from bulk("ZREM", key, words)
        for key, words in enter.items():
            yield from bulk("ZADD", key, words)

    def _count(self, row: _Standing, sign: int) -> None:
        counts = self.counters.of(row.domain)
        counts[RECIPIENTS] += sign * row.recipients
        counts[MESSAGES] += sign
        counts[BYTES] += sign * row.size
        counts[HELD] += sign * row.held

    def _learnt(self) -> Iterator[Command]:
        for domain, fields in self._routes.items():
            known: list[Word] = [word for name, value in fields.items() if value is not None for word in (name, value)]
            gone: list[Word] = [name for name, value in fields.items() if value is None]
            yield from bulk("HSET", "route:" + domain, known)
            yield from bulk("HDEL", "route:" + domain, gone)


def _scores(row: _Standing) -> Iterator[tuple[str, str]]:
    """Where a waiting message stands in the sorted sets, in microseconds: a double holds those exactly, nanoseconds not."""
    yield "since:" + row.domain, str(row.since // 1000)
    if row.next_try:
        yield "retry:" + row.domain, str(row.next_try // 1000)


def _received(work: _Work, subject: str, event: Received) -> None:
    if work.row(subject) is not None:
        work.odd(event, len(event.recipients))
    elif event.recipients:
        waiting: dict[str, None] = {spec.address: None for spec in event.recipients}
        work.live[subject] = Row(event.domain, bounded(event.size), event.at, waiting)


def _released(work: _Work, subject: str, event: Released) -> None:
    row = work.row(subject)
    if row is not None:
        row.waiting.update(dict.fromkeys(event.recipients))
    elif event.recipients:
        work.live[subject] = Row(event.domain, bounded(event.size), event.at, dict.fromkeys(event.recipients))


def _ended(work: _Work, subject: str, event: Delivered | Failed | Quarantined | Undeliverable) -> None:
    left = _leave(work, subject, event.recipients)
    if left < len(event.recipients):
        work.odd(event, len(event.recipients) - left)


def _discarded(work: _Work, subject: str, event: Discarded | Redirected) -> None:
    """Nothing odd about recipients that did not wait: they were in quarantine."""
    _leave(work, subject, event.recipients)


def _leave(work: _Work, subject: str, recipients: Sequence[str]) -> int:
    row = work.row(subject)
    if row is None:
        return 0
    left = 0
    for address in recipients:
        if address in row.waiting:
            del row.waiting[address]
            row.held.pop(address, None)
            left += 1
    if not row.waiting:
        work.live[subject] = None
    return left


def _held(work: _Work, subject: str, event: Held) -> None:
    row = work.row(subject)
    known = [address for address in event.recipients if row is not None and address in row.waiting]
    if row is not None:
        row.held.update(dict.fromkeys(known))
    if len(known) < len(event.recipients):
        work.odd(event, len(event.recipients) - len(known))


def _resumed(work: _Work, subject: str, event: Resumed) -> None:
    row = work.row(subject)
    freed = [address for address in event.recipients if row is not None and address in row.held]
    if row is not None:
        row.next_try = 0
        for address in freed:
            row.held.pop(address, None)
    if len(freed) < len(event.recipients):
        work.odd(event, len(event.recipients) - len(freed))


def _delivered(work: _Work, subject: str, event: Delivered) -> None:
    _ended(work, subject, event)
    _dialled(work, event.domain, event.attempt)


def _failed(work: _Work, subject: str, event: Failed | Undeliverable) -> None:
    _ended(work, subject, event)
    if event.reason not in (EXPIRED, RETURNED):  # those repeat an attempt of long ago
        _dialled(work, event.domain, event.attempt)


def _deferred(work: _Work, subject: str, event: Deferred) -> None:
    row = work.row(subject)
    if row is None:
        work.odd(event, len(event.recipients))
    else:
        row.next_try = event.next_try
        row.tries = event.tries
    _dialled(work, event.domain, event.attempt)
    work.learn(event.domain, "error", _encode(LastError(event.at, (event.attempt,), subject)))


def _dialled(work: _Work, domain: str, attempt: Attempt | None) -> None:
    if attempt is not None and attempt.server:
        work.learn(domain, "server", attempt.server.encode())


def _route_deferred(work: _Work, _subject: str, event: RouteDeferred) -> None:
    if event.attempts:
        _dialled(work, event.domain, event.attempts[-1])
    work.learn(event.domain, "down", _encode(Down(event.since, event.tries, event.next_try)))
    work.learn(event.domain, "error", _encode(LastError(event.at, event.attempts)))


def _route_opened(work: _Work, _subject: str, event: RouteOpened) -> None:
    work.learn(event.domain, "down", None)
    if event.server:
        work.learn(event.domain, "server", event.server.encode())


_HANDLERS: Final[Mapping[type[Event], Callable[[_Work, str, Any], None]]] = {
    Received: _received,
    Released: _released,
    Quarantined: _ended,
    Discarded: _discarded,
    Deferred: _deferred,
    Delivered: _delivered,
    Failed: _failed,
    Undeliverable: _failed,
    Held: _held,
    Resumed: _resumed,
    Redirected: _discarded,
    RouteDeferred: _route_deferred,
    RouteOpened: _route_opened,
}
"""`scanned` and `queued` move a message between two kinds of waiting, which makes no difference here."""
KINDS: Final = frozenset(_HANDLERS)
