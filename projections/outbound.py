"""Where in the log each domain's delivery attempts are, and how they ended.

The attempts themselves, with the servers' words, stay in the log: a report fetches those that it is about. Keys of the view
(`positions.py` says what an hour and a place are; `d` a domain):

    h:<hour>:<d>   string   seven octets for each attempt, in the order of the log: its place (4), how it ended (1), how many
                            recipients it was for (2; 65,535 or more are 65,535)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from pipeline.events import Deferred, Delivered, Event, Failed, Recorded, RouteDeferred, Undeliverable
from pipeline.places import place_of
from projections import positions
from projections.base import NO_ROWS, Writes

NAME: Final = "outbound"
OCTETS: Final = 7
LAYOUT: Final = positions.Layout(OCTETS, 0)
MAX_RECIPIENTS: Final = 0xFFFF
_tail: Final = struct.Struct(">BH").pack
_each: Final = struct.Struct(">IBH").iter_unpack


class Ended(IntEnum):
    """How an attempt ended. Kept as numbers: one is never used again for something else."""

    DELIVERED = 1
    DEFERRED = 2
    FAILED = 3
    UNDELIVERABLE = 4
    ROUTE_DEFERRED = 5


ENDS: Final[Mapping[type[Event], Ended]] = {
    Delivered: Ended.DELIVERED,
    Deferred: Ended.DEFERRED,
    Failed: Ended.FAILED,
    Undeliverable: Ended.UNDELIVERABLE,
    RouteDeferred: Ended.ROUTE_DEFERRED,
}


class Tried(NamedTuple):
    """An attempt as the view knows it."""

    ms: int
    number: int
    ended: int
    """See `Ended`."""
    recipients: int
    """0 for a whole route."""


class Outbound:
    name = NAME
    version = "1"
    rows = ""
    row_events = NO_ROWS
    hot = True
    kinds: frozenset[type[Event]] = frozenset(ENDS)

    def fold(self, batch: Sequence[Recorded], rows: object = None) -> Writes:  # noqa: ARG002 - it has no rows
        found: dict[str, list[bytes]] = {}
        for recorded in batch:
            event = recorded.event
            ended = ENDS.get(type(event))
            if ended is None:
                continue
            ms, number = place_of(recorded.entry)
            recipients = min(len(getattr(event, "recipients", ())), MAX_RECIPIENTS)
            name = positions.key(positions.hour_of(ms), event.domain)
            found.setdefault(name, []).append(positions.packed(ms, number) + _tail(ended, recipients))
        return [("APPEND", name, b"".join(attempts)) for name, attempts in found.items()]


def key(hour: int, domain: str) -> str:
    return positions.key(hour, domain)


def attempts(stored: bytes, hour: int) -> Iterator[Tried]:
    """What a key of the view holds, in the order of the log."""
    whole = len(stored) - len(stored) % OCTETS
    for place, ended, recipients in _each(stored[:whole]):
        yield Tried(*positions.unpacked(hour, place), ended, recipients)
