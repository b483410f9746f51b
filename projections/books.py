"""The books of each domain, in recipients: a message to three people counts three.

    received = delivered + failed + quarantined + discarded + redirected + waiting

What came in and what ended is counted as the events say it; what waits and what lies in quarantine is counted from a row per
live message. So the two sides are kept apart, and a recipient delivered twice, or never accounted for, shows. Keys of the
view (`d` a domain):

    live    hash    message id -> Row (MessagePack) of every message with recipients that wait or lie in quarantine;
                    @<d> -> 1 for each domain that is ours
    d:<d>   hash    received, delivered, failed, discarded, redirected: recipients, since the first event; waiting, quarantined: recipients
                    now; messages, bytes: received; deliveries: messages handed over, once per server that took them; odd: recipients named by
                    events that cannot be
    d:*     hash    the same of our own mail to domains that are not ours (see base.OWN)
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
from projections.base import OWN, ROW_EVENTS, YES, Command, Counters, Word, Writes, bounded, bulk, ours, row_of

NAME: Final = "books"
LIVE: Final = "live"
WAITING: Final = "w"
QUARANTINED: Final = "q"
FIELDS: Final = (
    "received", "delivered", "failed", "discarded", "waiting", "quarantined", "messages", "bytes", "odd",
    "redirected", "deliveries",
)  # fmt: skip
RECEIVED, DELIVERED, FAILED, DISCARDED, IN_QUEUE, IN_QUARANTINE, MESSAGES, BYTES, ODD, REDIRECTED, DELIVERIES = range(
    11
)
SMTP: Final = "smtp"
_PLACES: Final = {WAITING: IN_QUEUE, QUARANTINED: IN_QUARANTINE}


class Row(msgspec.Struct, array_like=True):
    """Where the live recipients of a message are."""

    domain: str
    """Whose books it is in."""
    places: dict[str, str]
    """Address -> WAITING or QUARANTINED."""


decode_row: Final = msgspec.msgpack.Decoder(Row).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class Books:
    name = NAME
    version = "4"
    hot = False
    rows = LIVE
    row_events = ROW_EVENTS

    @property
    def kinds(self) -> frozenset[type[Event]]:
        return KINDS

    def asks(self, batch: Sequence[Recorded]) -> list[str]:
        """Which domains are ours."""
        return [ours(domain) for domain in {one.event.domain: None for one in batch if type(one.event) is Received}]

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
        self._new: dict[str, None] = {}
        self.live: dict[str, Row | None] = {}
        self.counters = Counters(FIELDS)

    def row(self, subject: str) -> Row | None:
        try:
            return self.live[subject]
        except KeyError:
            row = self.live[subject] = row_of(decode_row, self._stored.get(subject))
            return row

    def account(self, event: Received) -> str:
        """Whose books a new message is in."""
        name = ours(event.domain)
        if name in self._stored or name in self._new:
            return event.domain
        if event.origin != SMTP:
            return OWN
        self._new[name] = None
        return event.domain

    def counts(self, subject: str, event: Event) -> list[int]:
        """Of the books that a message is in; of the domain's own when nobody knows the message."""
        row = self.row(subject)
        return self.counters.of(event.domain if row is None else row.domain)

    def writes(self) -> Writes:
        known: list[Word] = [word for name in self._new for word in (name, YES)]
        return [*self._rows(), *bulk("HSET", LIVE, known), *self.counters.writes()]

    def _rows(self) -> Iterator[Command]:
        rows: list[Word] = []
        gone: list[Word] = []
        for subject, row in self.live.items():
            data = self._stored.get(subject)
            encoded = None if row is None else _encode(row)
            if encoded == data:
                continue
            before = row_of(decode_row, data)
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


def _distinct(recipients: Sequence[str]) -> int:
    """How many: a recipient named twice is one."""
    return 1 if len(recipients) == 1 else len(set(recipients))


def _received(work: _Work, subject: str, event: Received) -> None:
    places = dict.fromkeys([spec.address for spec in event.recipients], WAITING)
    account = work.account(event)
    counts = work.counters.of(account)
    counts[RECEIVED] += len(places)
    counts[MESSAGES] += 1
    counts[BYTES] += bounded(event.size)
    if work.row(subject) is not None:
        counts[ODD] += len(places)
    elif places:
        work.live[subject] = Row(account, places)


def _moved(work: _Work, subject: str, event: Quarantined | Released | Undeliverable, start: str, end: str) -> None:
    row = work.row(subject)
    places = {} if row is None else row.places
    for address in dict.fromkeys(event.recipients):
        if places.get(address) == start:
            places[address] = end
        else:
            work.counts(subject, event)[ODD] += 1


def _quarantined(work: _Work, subject: str, event: Quarantined | Undeliverable) -> None:
    """What is kept as undeliverable has not failed yet: it may be released, and is counted where it lies."""
    _moved(work, subject, event, WAITING, QUARANTINED)


def _released(work: _Work, subject: str, event: Released) -> None:
    _moved(work, subject, event, QUARANTINED, WAITING)


def _ended(work: _Work, subject: str, event: Delivered | Failed | Discarded | Redirected, field: int) -> None:
    """The outcome is a fact and counts, also when nobody knew of the recipient: then the books do not balance, and say so."""
    counts = work.counts(subject, event)
    counts[field] += _distinct(event.recipients)
    if field == DELIVERED:
        counts[DELIVERIES] += 1
    row = work.row(subject)
    places = {} if row is None else row.places
    only_waiting = not isinstance(event, Discarded | Redirected)
    for address in dict.fromkeys(event.recipients):
        place = places.pop(address, None)
        if place is None or (only_waiting and place != WAITING):
            counts[ODD] += 1
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
