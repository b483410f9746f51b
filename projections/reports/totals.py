"""What the rows of a report add up to, in memory that does not grow with them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any, Final

from pipeline.zones import Days
from projections.reports.model import DELIVERED, STATUSES, Row
from projections.reports.sketch import ERROR, Sketch

PERCENTILES: Final = (50, 90, 95, 99)
MOST_CLASSES: Final = 1000
"""An operator's table may have classes of its own; so many are counted apart."""
OTHERS: Final = "..."


class Totals:
    """Bounded by the days of the report, the statuses and the classes."""

    def __init__(self, zone: dt.tzinfo) -> None:
        self._days = Days(zone)
        self.rows = 0
        self.statuses: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()
        self.days: dict[dt.date, Counter[str]] = {}
        """Of days that have any: by status."""
        self.recipients = 0
        """Copies delivered."""
        self.bytes = 0
        """Delivered; a message that went to several recipients at once was sent once."""
        self.duplicates = 0
        self.times = Sketch()
        """Of what was delivered: from received to delivered."""

    def add(self, row: Row) -> None:
        self.rows += 1
        self.statuses[row.status] += 1
        if row.about:
            known = row.about in self.classes or len(self.classes) < MOST_CLASSES
            self.classes[row.about if known else OTHERS] += 1
        day = self._days.of(row.at)
        counts = self.days.get(day)
        if counts is None:
            counts = self.days[day] = Counter()
        counts[row.status] += 1
        self.duplicates += row.duplicate
        if row.status == DELIVERED:
            self.recipients += len(row.recipients)
            self.bytes += row.size
            self.times.add(row.waited)

    def percentiles(self) -> list[tuple[str, int]]:
        """(`p50`, ns), ..., `max`; nothing where nothing was delivered."""
        if not self.times.count:
            return []
        found = [(f"p{percent}", self.times.percentile(percent) or 0) for percent in PERCENTILES]
        return [*found, ("max", self.times.largest)]


def totals_form(totals: Totals) -> dict[str, Any]:
    """As scripts read it: the field names are promises. Times in seconds."""
    return {
        "attempts": totals.rows,
        "by_status": {status: totals.statuses[status] for status in STATUSES if totals.statuses[status]},
        "by_class": dict(totals.classes.most_common()),
        "by_day": [
            {"day": day.isoformat(), **{status: counts[status] for status in STATUSES if counts[status]}}
            for day, counts in sorted(totals.days.items())
        ],
        "delivered": {"messages": totals.times.count, "recipients": totals.recipients, "bytes": totals.bytes},
        "possible_duplicates": totals.duplicates,
        "delivery_seconds": {name: round(value / 1e9, 6) for name, value in totals.percentiles()},
        "delivery_seconds_relative_error": ERROR,
    }
