"""Where in the log something is spoken of: a message, an address, a client, a server, a word of a subject line.

Each term of an event (see pipeline/terms.py) is one *posting* of six octets: half of the term's number, and the entry's place within
its hour. The other half of what tells terms apart is the key: the postings of an hour are spread over 64 of them, so that whoever looks
for one term reads a 64th. Six bits and sixteen are kept of a number's 32: one posting in four million that is found so is of another
term, so whoever finds one looks at the entry. Keys of the view (`positions.py` says what an hour and a place are):

    h:<hour>:<bucket>   string   postings in the order of the log

An index rather than rows: a message of four events has some twenty terms, which are 120 octets; a copy of what they say would be a
kilobyte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, get_args

from pipeline.events import AnyEvent, Event, Recorded
from pipeline.places import place_of
from pipeline.terms import terms
from projections import positions
from projections.base import NO_ROWS, Writes

NAME: Final = "trace"
BUCKETS: Final = 64
POSTING: Final = 6
LAYOUT: Final = positions.Layout(POSTING, POSTING - positions.OCTETS)
_BUCKET_MASK: Final = BUCKETS - 1
_MARK_BITS: Final = 16
_posting: Final = struct.Struct(">HI").pack
"""(mark, place within its hour) -> POSTING octets."""


def bucket(term: int) -> int:
    return term & _BUCKET_MASK


def mark(term: int) -> bytes:
    """What a posting holds of its term."""
    return (term >> _MARK_BITS).to_bytes(2, "big")


def key(hour: int, term: int) -> str:
    return positions.key(hour, str(bucket(term)))


class Trace:
    name = NAME
    version = "1"
    rows = ""
    row_events = NO_ROWS
    hot = True
    kinds: frozenset[type[Event]] = frozenset(get_args(AnyEvent))
    """All: each event has its subject."""

    def fold(self, batch: Sequence[Recorded], rows: object = None) -> Writes:  # noqa: ARG002 - it has no rows
        found: dict[str, list[bytes]] = {}
        names: list[str] = []
        current = -1
        for recorded in batch:
            ms, number = place_of(recorded.entry)
            hour = positions.hour_of(ms)
            if hour != current:
                current, names = hour, [positions.key(hour, str(one)) for one in range(BUCKETS)]
            place = int.from_bytes(positions.packed(ms, number), "big")
            for term in terms(recorded.subject, recorded.event):
                name = names[term & _BUCKET_MASK]
                posting = _posting(term >> _MARK_BITS, place)
                if name in found:
                    found[name].append(posting)
                else:
                    found[name] = [posting]
        return [("APPEND", name, b"".join(postings)) for name, postings in found.items()]


def places(postings: bytes, hour: int, term: int) -> Iterator[tuple[int, int]]:
    """(milliseconds, number) of each posting of a term in its key of an hour, in the order of the log."""
    wanted = mark(term)
    at = postings.find(wanted)
    while at >= 0:
        if at % POSTING == 0:
            yield positions.unpacked(hour, int.from_bytes(postings[at + 2 : at + POSTING], "big"))
            at = postings.find(wanted, at + POSTING)
        else:
            at = postings.find(wanted, at + 1)


def newest_places(postings: bytes, hour: int, term: int) -> Iterator[tuple[int, int]]:
    """The same from the end: of a frequent term only as many as somebody takes are looked at."""
    wanted = mark(term)
    at = postings.rfind(wanted)
    while at >= 0:
        if at % POSTING == 0:
            yield positions.unpacked(hour, int.from_bytes(postings[at + 2 : at + POSTING], "big"))
            at = postings.rfind(wanted, 0, max(0, at - POSTING + 2))
        else:
            at = postings.rfind(wanted, 0, at + 1)


def count(postings: bytes, term: int) -> int:
    """How often a term is there, or a little more."""
    return postings.count(mark(term))
