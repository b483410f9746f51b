"""Attempts over time as bars: which stretch each bar is of, and how high it is. How it is drawn: `svg.py`, `letter.py`, the terminal's own."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Final

import msgspec

from pipeline.zones import DAY, day_of
from projections.reports.model import DEFERRED, DELIVERED, FAILED, NO_SERVER, UNDELIVERABLE, Heading
from projections.reports.totals import Totals

MOST_BARS: Final = 62
PARTS: Final = (DELIVERED, DEFERRED, FAILED)
"""Of a bar. What waits for a server is deferred, what is kept for the postmaster has failed."""
_PART: Final = {NO_SERVER: DEFERRED, UNDELIVERABLE: FAILED}


class Bar(msgspec.Struct, frozen=True):
    first: dt.date
    last: dt.date
    counts: tuple[int, ...]
    """Parallel to PARTS."""

    @property
    def height(self) -> int:
        return sum(self.counts)

    @property
    def label(self) -> str:
        """`2026-11-20`, `2026-11-16 - 11-22`, `2026-11`, `2026`."""
        if self.first == self.last:
            return self.first.isoformat()
        behind = self.last + DAY
        if self.first == self.last.replace(day=1) and behind.day == 1:
            return self.first.isoformat()[:7]
        if self.first == self.last.replace(month=1, day=1) and behind.month == behind.day == 1:
            return self.first.isoformat()[:4]
        return f"{self.first.isoformat()} - {self.last.isoformat()[5:]}"


def bars(heading: Heading, totals: Totals) -> list[Bar]:
    """A bar for each day of the report; for each week (from Monday), month or year where there are too many; empty ones too.

    Without a beginning that anybody said, from the first day that has rows.
    """
    if not totals.days:
        return []
    first = min(totals.days)
    if heading.start:
        first = min(first, day_of(heading.start, heading.zone))
    ends = day_of(min(heading.end - 1, heading.made), heading.zone)
    last = max(ends, *totals.days)
    days = (last - first).days + 1
    begins = next(group for most, group in _GROUPS if days <= most * MOST_BARS)
    found: dict[dt.date, Counter[str]] = {}
    day = first
    while day <= last:
        counts = found.setdefault(begins(day), Counter())
        for status, count in totals.days.get(day, Counter()).items():
            counts[_PART.get(status, status)] += count
        day += DAY
    starts = list(found)
    lasts = [*(start - DAY for start in starts[1:]), last]
    return [
        Bar(max(start, first), end, tuple(found[start][part] for part in PARTS))
        for start, end in zip(starts, lasts, strict=True)
    ]


def _same(day: dt.date) -> dt.date:
    return day


def _week(day: dt.date) -> dt.date:
    return day - dt.timedelta(days=day.weekday())


def _month(day: dt.date) -> dt.date:
    return day.replace(day=1)


def _year(day: dt.date) -> dt.date:
    return day.replace(month=1, day=1)


_GROUPS: Final = ((1, _same), (7, _week), (30, _month), (1 << 20, _year))
"""(Days in a bar, about; the first day of the bar that a day is in)."""
