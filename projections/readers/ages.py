"""How long what waits has been waiting: counted when somebody asks, out of the sorted sets of the queue's view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

MINUTE: Final = 60_000_000_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
BOUNDS: Final = (15 * MINUTE, HOUR, 4 * HOUR, DAY, 3 * DAY)
"""ns. A bucket ends before its bound, and the last has none."""
NAMES: Final = ("<15 min", "<1 h", "<4 h", "<1 day", "<3 days", "older")
MICROSECOND: Final = 1000


def ranges(now: int, oldest: float) -> list[str]:
    """What to ask ZCOUNT for: the lowest score (exclusive, in microseconds) of what has waited for less than each of the first bounds,
    as far as anything has waited for longer. `oldest`: the lowest score there is.
    """
    scores = [(now - bound) // MICROSECOND for bound in BOUNDS]
    return [f"({score}" for score in scores if score >= oldest]


def buckets(younger: Sequence[int], total: int) -> tuple[int, ...]:
    """How many are in each bucket. `younger`: how many have waited for less than each of the first bounds, for less than the others all
    have; `total`: of all.

    They were counted one after the other while mail moved on, so what does not fit is cut off at 0.
    """
    counts = (0, *younger, *[total] * (len(BOUNDS) - len(younger)), total)
    return tuple(max(0, high - low) for low, high in pairwise(counts))


def added(some: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """Those of many domains together; () when none were counted."""
    known = [ages for ages in some if ages]
    return tuple(map(sum, zip(*known, strict=True)))
