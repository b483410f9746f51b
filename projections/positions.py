"""Places in a partition's log, packed: what the index views hold.

An entry's id is Redis's clock in milliseconds and a number within that millisecond. The views that hold such places keep them in a key
per hour of that clock, so a place is the millisecond within the hour (22 bits) and the number (10 bits): four octets that sort as the
entries do. A number of 1,023 stands for itself and all above it, which there are only where that clock was set back: whoever looks
there reads on to the end of the millisecond.

Keys of an hour begin with `h:<hour>:`, the hour counted since 1970. When the log is trimmed, which happens at whole hours, the keys of
the hours before go with it, so these views (`hot`) are always what a fold of the log that is in Redis gives.
"""

from __future__ import annotations

from typing import Final

from pipeline.places import HOUR_MS

NUMBER_BITS: Final = 10
LAST: Final = (1 << NUMBER_BITS) - 1
"""The number that stands for all from it on."""
OCTETS: Final = 4


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
