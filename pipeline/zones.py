"""Days and moments of a time zone: pure, but for looking up zones by name.

A day is a stretch of time, not 24 hours: it begins at the first moment at which clocks there show its date, or a later one. So a day
has 23 hours in spring and 25 in autumn; where midnight is skipped a day begins with the skip; a day that a country jumped over
(Pacific/Apia has no 2011-12-30) has no length; and the days of a stretch cover it without gap or overlap, in every zone.

What clocks show twice is the first of the two, unless the second is asked for; what they skip is the moment of the skip.
"""

from __future__ import annotations

import bisect
import datetime as dt
import os
import zoneinfo
from pathlib import Path
from typing import Final

from pipeline.faults import ConfigurationError

SECOND: Final = 1_000_000_000
DAY: Final = dt.timedelta(days=1)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LOCALTIME: Final = "/etc/localtime"
FIRST: Final = dt.date(1970, 1, 2)
LAST: Final = dt.date(2116, 1, 1)
"""Days outside of these are no days of mail, and their ns need not fit anywhere."""


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """By its IANA name. Raises ConfigurationError."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(f"{name!a} is no time zone", remedy="Write it as Europe/Berlin.") from None


def system_zone() -> dt.tzinfo:
    """That of this machine, or of TZ."""
    named = os.environ.get("TZ", "").removeprefix(":")
    try:
        if named and not named.startswith("/"):
            return zoneinfo.ZoneInfo(named)
        path = Path(named or _LOCALTIME)
        with path.open("rb") as file:
            # It is a link to `/usr/share/zoneinfo/Europe/Berlin`, or a copy of it.
            return zoneinfo.ZoneInfo.from_file(file, key=str(path.resolve()).rpartition("zoneinfo/")[2])
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return _AsTheSystemSays()


class _AsTheSystemSays(dt.tzinfo):
    """A TZ that is a rule of its own and no name, such as CET-1CEST; or a machine without any, which is UTC."""

    def utcoffset(self, shown: dt.datetime | None) -> dt.timedelta | None:
        return shown.replace(tzinfo=None).astimezone().utcoffset() if shown is not None else None

    def dst(self, shown: dt.datetime | None) -> dt.timedelta | None:
        del shown
        return None

    def tzname(self, shown: dt.datetime | None) -> str | None:
        return shown.replace(tzinfo=None).astimezone().tzname() if shown is not None else "local time"

    def fromutc(self, utc: dt.datetime) -> dt.datetime:
        shown = utc.replace(tzinfo=dt.UTC).astimezone()
        return shown.replace(tzinfo=self)

    def __str__(self) -> str:
        return "local time"


def ns(moment: dt.datetime) -> int:
    """Nanoseconds since 1970 of a moment with a zone, exact."""
    since = moment - _EPOCH
    return ((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def local(at: int, zone: dt.tzinfo) -> dt.datetime:
    """What clocks show at `at` (ns), cut to microseconds."""
    seconds, rest = divmod(at, SECOND)
    return (_EPOCH + dt.timedelta(seconds=seconds, microseconds=rest // 1000)).astimezone(zone)


def moment(shown: dt.datetime, zone: dt.tzinfo, *, last: bool = False) -> int:
    """When clocks show `shown` (without a zone), in ns. `last`: the second time, where there are two."""
    first = ns(shown.replace(tzinfo=zone, fold=0).astimezone(dt.UTC))
    second = ns(shown.replace(tzinfo=zone, fold=1).astimezone(dt.UTC))
    if first <= second:
        return second if last else first
    # Skipped: with the offset before the skip it would be after it, with the one after it before.
    low, high = second // SECOND, -(-first // SECOND)
    found = bisect.bisect_left(range(low, high), True, key=lambda at: _shown(at * SECOND, zone) >= shown)
    return (low + found) * SECOND


def _shown(at: int, zone: dt.tzinfo) -> dt.datetime:
    return local(at, zone).replace(tzinfo=None, fold=0)


def begins(day: dt.date, zone: dt.tzinfo) -> int:
    """The first moment of a day (ns)."""
    return moment(dt.datetime.combine(day, dt.time()), zone)


def day_of(at: int, zone: dt.tzinfo) -> dt.date:
    """The day that a moment is in. Where clocks went back over midnight it is not the date that they show the second time."""
    day = local(at, zone).date()
    while at < begins(day, zone):
        day -= DAY
    while at >= begins(day + DAY, zone):
        day += DAY
    return day


class Days:
    """`day_of` for many moments, most of them on the same day as the one before."""

    def __init__(self, zone: dt.tzinfo) -> None:
        self._zone = zone
        self._start = self._end = 0
        self._day = FIRST

    def of(self, at: int) -> dt.date:
        if not self._start <= at < self._end:
            self._day = day_of(at, self._zone)
            self._start, self._end = begins(self._day, self._zone), begins(self._day + DAY, self._zone)
        return self._day


def parsed(text: str, zone: dt.tzinfo) -> tuple[int, int]:
    """(its beginning, its end, both inside) in ns of a day, `2026-11-20`, or of a moment, `2026-11-20T13:00` with or without offset.

    A moment that clocks show twice begins with the first and ends with the second. Raises ValueError, also for what is out of range.
    """
    text = text.strip()
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        pass
    else:
        if not FIRST <= day <= LAST:
            raise ValueError(text)
        return begins(day, zone), begins(day + DAY, zone) - 1
    shown = dt.datetime.fromisoformat(text)
    if not FIRST <= shown.date() <= LAST:
        raise ValueError(text)
    if shown.tzinfo is not None:
        at = ns(shown)
        return at, at
    return moment(shown, zone), moment(shown, zone, last=True)
