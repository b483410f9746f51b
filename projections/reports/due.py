"""When a report that goes out by mail is due, and what it is of: pure.

A report of a day is due on the next day at its hour, one of a week on Monday, one of a month on the first. What was missed is not made
up for: after a time in which nobody looked only the newest is due. A day that a country jumped over has no report.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Final

import msgspec

from pipeline.directory.reports import ReportSchedule
from pipeline.zones import DAY, begins, day_of, moment

LATE: Final = 60 * 1_000_000_000
"""ns after the hour: what happened in the last second has been written down by then, whichever machine's clock it had."""


class Due(msgspec.Struct, frozen=True):
    start: int
    end: int
    """The first ns behind it."""
    at: int
    """Since when it is due."""


def newest(schedule: ReportSchedule, zone: dt.tzinfo, now: int) -> Due | None:
    """What is due now, or was last; None where nothing is since it was set up."""
    for first, last in _periods(schedule.every, day_of(now, zone)):
        found = _due(schedule, zone, first, last)
        if found.start < found.end and found.at + LATE <= now:
            return found if found.at >= schedule.since else None
    return None


def following(schedule: ReportSchedule, zone: dt.tzinfo, now: int) -> Due:
    """What is due next."""
    today = day_of(now, zone)
    found = [
        _due(schedule, zone, first, last) for first, last in _periods(schedule.every, today + dt.timedelta(days=32))
    ]
    return min(
        (one for one in found if one.start < one.end and one.at + LATE > now and one.at >= schedule.since),
        key=lambda one: one.at,
    )


def _due(schedule: ReportSchedule, zone: dt.tzinfo, first: dt.date, last: dt.date) -> Due:
    """Of the days from `first` to before `last`."""
    hour = dt.time(*divmod(schedule.at, 60))
    return Due(begins(first, zone), begins(last, zone), moment(dt.datetime.combine(last, hour), zone))


def _periods(every: str, today: dt.date) -> Iterator[tuple[dt.date, dt.date]]:
    """(the first day, the first behind the last) of those that are over, the newest first; as many as fill five weeks, or two months."""
    if every == "day":
        for back in range(40):
            yield today - DAY * (back + 1), today - DAY * back
    elif every == "week":
        monday = today - DAY * today.weekday()
        for back in range(6):
            yield monday - DAY * 7 * (back + 1), monday - DAY * 7 * back
    else:
        last = today.replace(day=1)
        for _ in range(4):
            first = (last - DAY).replace(day=1)
            yield first, last
            last = first
