"""Places in a partition's log, packed: what the index views hold.

An entry's id is Redis's clock in milliseconds and a number within that millisecond. The views that hold such places keep them in a key
per hour of that clock, so a place is the millisecond within the hour (22 bits) and the number (10 bits): four octets that sort as the
entries do. A number of 1,023 stands for itself and all above it, which there are only where that clock was set back: whoever looks
there reads on to the end of the millisecond.

Keys of an hour begin with `h:<hour>:`, the hour counted since 1970. When the log is trimmed the keys of the hours before go with it. It is
trimmed at whole hours, and within one where Redis is short of room: then the keys of that hour may hold places before the beginning of the
log, until these are cut off (`cutting.py`). Whoever reads them passes over those. So these views (`hot`) are, from the beginning of the
log on, always what a fold of the log that is in Redis gives.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, NamedTuple

from pipeline.places import HOUR_MS

NUMBER_BITS: Final = 10
LAST: Final = (1 << NUMBER_BITS) - 1
"""The number that stands for all from it on."""
OCTETS: Final = 4


class Layout(NamedTuple):
    """Of a key's value: postings of so many octets each, and where in each of them its place stands."""

    octets: int
    place: int


def hour_of(ms: int) -> int:
    return ms // HOUR_MS


def key(hour: int, rest: str) -> str:
    return f"h:{hour}:{rest}"


def hour_of_key(name: str) -> int | None:
    """The hour that a key of an index view is about; None for another key, such as its checkpoint."""
    head, _, rest = name.partition(":")
    hour, colon, _ = rest.partition(":")
    return int(hour) if head == "h" and colon and hour.isdecimal() else None


def packed(ms: int, number: int) -> bytes:
    return (ms % HOUR_MS << NUMBER_BITS | min(number, LAST)).to_bytes(OCTETS, "big")


def unpacked(hour: int, place: int) -> tuple[int, int]:
    """(milliseconds, number) of a place, as an integer, within an hour."""
    return hour * HOUR_MS + (place >> NUMBER_BITS), place & LAST


def since(stored: bytes, layout: Layout, ms: int) -> bytes:
    """What a key of an hour holds from a millisecond of that hour on."""
    first = int.from_bytes(packed(ms, 0), "big")

    def place(posting: int) -> int:
        at = posting * layout.octets + layout.place
        return int.from_bytes(stored[at : at + OCTETS], "big")

    return stored[bisect_left(range(len(stored) // layout.octets), first, key=place) * layout.octets :]
