"""The books of each domain, in recipients: a message to three people counts three.

    received = delivered + failed + quarantined + discarded + redirected + waiting

What came in and what ended is counted as the events say it; what waits and what lies in quarantine is counted from a row per
live message. So the two sides are kept apart, and a recipient delivered twice, or never accounted for, shows. Keys of the
view (`d` a domain):

    live    hash    message id -> Row (MessagePack) of every message with recipients that wait or lie in quarantine
    d:<d>   hash    received, delivered, failed, discarded, redirected: recipients, since the first event; waiting, quarantined: recipients
                    now; messages, bytes: received; odd: recipients named by events that cannot be
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from pipeline.events import (
    Delivered,
    Discarded,
    Event,
    Failed,
    Quarantined,
    Received,
    Recorded,
    Redirected,
    Released,
    Undeliverable,
)
from projections.base import ROW_EVENTS, Command, Counters, Word, Writes, bounded, bulk

NAME: Final = "books"
LIVE: Final = "live"
WAITING: Final = "w"
QUARANTINED: Final = "q"
FIELDS: Final = (
    "received", "delivered", "failed", "discarded", "waiting", "quarantined", "messages", "bytes", "odd",
    "redirected",
)  # fmt: skip
RECEIVED, DELIVERED, FAILED, DISCARDED, IN_QUEUE, IN_QUARANTINE, MESSAGES, BYTES, ODD, REDIRECTED = range(10)
_PLACES: Final = {WAITING: IN_QUEUE, QUARANTINED: IN_QUARANTINE}


class Row(msgspec.Struct, array_like=True):
    """Where the live recipients of a message are."""

    domain: str
    places: dict[str, str]
    """Address -> WAITING or QUARANTINED."""


decode_row: Final = msgspec.msgpack.Decoder(Row).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class Books:
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


class _Work:
    """A batch under way: the rows it touches as they were and as they are, and what it counted."""

    def __init__(self, rows: Mapping[str, bytes]) -> None:
        self._stored = rows
        self.live: dict[str, Row | None] = {}
        self.counters = Counters(FIELDS)

    def row(self, subject: str) -> Row | None:
        try:
            return self.live[subject]
        except KeyError:
            row = self.live[subject] = _decoded(self._stored.get(subject))
            return row

    def odd(self, event: Event, recipients: int) -> None:
        self.counters.of(event.domain)[ODD] += recipients

    def writes(self) -> Writes:
        return [*self._rows(), *self.counters.writes()]

    def _rows(self) -> Iterator[Command]:
        rows: list[Word] = []
        gone: list[Word] = []
        for subject, row in self.live.items():
            data = self._stored.get(subject)
            encoded = None if row is None else _encode(row)
            if encoded == data:
                continue
            before = _decoded(data)
            if before is not None:
                self._stand(before, -1)
            if row is None or encoded is None:
                gone.append(subject)
            else:
                self._stand(row, 1)
                rows += (subject, encoded)
        yield from bulk("HSET", LIVE, rows)
        yield from bulk("HDEL", LIVE, gone)

    def _stand(self, row: Row, sign: int) -> None:
        counts = self.counters.of(row.domain)
        for place in row.places.values():
            counts[_PLACES.get(place, ODD)] += sign


def _decoded(data: bytes | None) -> Row | None:
    """A row as it is stored. One that cannot be read is none: its message's next events will be odd, and counted."""
    if data is None:
        return None
    try:
        return decode_row(data)
    except msgspec.DecodeError:
        return None


def _distinct(recipients: Sequence[str]) -> int:
    """How many: a recipient named twice is one."""
    return 1 if len(recipients) == 1 else len(set(recipients))


def _received(work: _Work, subject: str, event: Received) -> None:
    places = dict.fromkeys([spec.address for spec in event.recipients], WAITING)
    counts = work.counters.of(event.domain)
    counts[RECEIVED] += len(places)
    counts[MESSAGES] += 1
    counts[BYTES] += bounded(event.size)
    if work.row(subject) is not None:
        counts[ODD] += len(places)
    elif places:
        work.live[subject] = Row(event.domain, places)


def _moved(work: _Work, subject: str, event: Quarantined | Released | Undeliverable, start: str, end: str) -> None:
    row = work.row(subject)
    places = {} if row is None else row.places
    for address in dict.fromkeys(event.recipients):
        if places.get(address) == start:
            places[address] = end
        else:
            work.odd(event, 1)


def _quarantined(work: _Work, subject: str, event: Quarantined | Undeliverable) -> None:
    """What is kept as undeliverable has not failed yet: it may be released, and is counted where it lies."""
    _moved(work, subject, event, WAITING, QUARANTINED)


def _released(work: _Work, subject: str, event: Released) -> None:
    _moved(work, subject, event, QUARANTINED, WAITING)


def _ended(work: _Work, subject: str, event: Delivered | Failed | Discarded | Redirected, field: int) -> None:
    """The outcome is a fact and counts, also when nobody knew of the recipient: then the books do not balance, and say so."""
    work.counters.of(event.domain)[field] += _distinct(event.recipients)
    row = work.row(subject)
    places = {} if row is None else row.places
    only_waiting = not isinstance(event, Discarded | Redirected)
    for address in dict.fromkeys(event.recipients):
        place = places.pop(address, None)
        if place is None or (only_waiting and place != WAITING):
            work.odd(event, 1)
    if not places:
        work.live[subject] = None


def _delivered(work: _Work, subject: str, event: Delivered) -> None:
    _ended(work, subject, event, DELIVERED)


def _failed(work: _Work, subject: str, event: Failed) -> None:
    _ended(work, subject, event, FAILED)


def _discarded(work: _Work, subject: str, event: Discarded) -> None:
    _ended(work, subject, event, DISCARDED)


def _redirected(work: _Work, subject: str, event: Redirected) -> None:
    _ended(work, subject, event, REDIRECTED)


_HANDLERS: Final[Mapping[type[Event], Callable[[_Work, str, Any], None]]] = {
    Received: _received,
    Quarantined: _quarantined,
    Undeliverable: _quarantined,
    Released: _released,
    Delivered: _delivered,
    Failed: _failed,
    Discarded: _discarded,
    Redirected: _redirected,
}
KINDS: Final = frozenset(_HANDLERS)
