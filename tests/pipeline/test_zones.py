"""Days and moments of time zones, across every kind of change of clocks."""

from __future__ import annotations

import datetime as dt
import time
import zoneinfo
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.faults import ConfigurationError
from pipeline.zones import DAY, FIRST, Days, begins, day_of, local, moment, ns, parsed, system_zone, zone_of

HOUR = 3600 * 1_000_000_000
ZONES = sorted(zoneinfo.available_timezones())
DAYS = st.dates(dt.date(1970, 1, 3), dt.date(2060, 1, 1))


def date(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


@pytest.mark.parametrize(
    ("zone", "day", "begin", "hours"),
    [
        ("Europe/Berlin", "2026-03-28", "2026-03-27T23:00Z", 24),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00Z", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00Z", 25),
        ("Asia/Kolkata", "2026-11-20", "2026-11-19T18:30Z", 24),
        ("Asia/Kathmandu", "2026-11-20", "2026-11-19T18:15Z", 24),
        # Half an hour of summer time.
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30Z", 23.5),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00Z", 24.5),
        # Midnight was skipped: the day begins at 01:00.
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00Z", 23),
        ("Asia/Beirut", "2021-03-28", "2021-03-27T22:00Z", 23),
        # Midnight was there twice: the day begins with the first.
        ("America/Havana", "2021-11-07", "2021-11-07T04:00Z", 25),
        # One minute after midnight clocks went back to 23:01.
        ("America/St_Johns", "2006-10-29", "2006-10-29T02:30Z", 25),
        # Half of the skip was before midnight, half behind it.
        ("Africa/Monrovia", "1972-01-07", "1972-01-07T00:44:30Z", 24 - 44.5 / 60),
        # Days that there were not.
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00Z", 24),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00Z", 0),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00Z", 24),
        ("Pacific/Kwajalein", "1993-08-21", "1993-08-21T12:00Z", 0),
        ("Pacific/Kwajalein", "1993-08-22", "1993-08-21T12:00Z", 24),
        ("Pacific/Kiritimati", "1994-12-31", "1994-12-31T10:00Z", 0),
        ("UTC", "2026-11-20", "2026-11-20T00:00Z", 24),
    ],
)
def test_a_day_begins_with_the_first_moment_at_which_clocks_show_it(zone: str, day: str, begin: str, hours: float):
    start = begins(date(day), zone_of(zone))
    assert start == ns(dt.datetime.fromisoformat(begin))
    assert begins(date(day) + DAY, zone_of(zone)) - start == hours * HOUR


def test_the_days_of_a_year_cover_it_in_every_zone_there_is():
    first, last = date("2011-01-01"), date("2012-01-01")
    for name in ZONES:
        zone = zone_of(name)
        starts = [begins(first + DAY * number, zone) for number in range((last - first).days + 1)]
        lengths = {later - start for start, later in pairwise(starts)}
        assert all(0 <= length <= 26 * HOUR for length in lengths), name
        assert sum(later - start for start, later in pairwise(starts)) == begins(last, zone) - begins(first, zone)


@given(st.sampled_from(ZONES), DAYS, st.integers(1, 40))
def test_the_days_of_a_stretch_cover_it_without_gap_or_overlap(name: str, first: dt.date, count: int):
    zone = zone_of(name)
    starts = [begins(first + DAY * number, zone) for number in range(count + 1)]
    assert starts == sorted(starts)
    for number, (start, end) in enumerate(pairwise(starts)):
        if start < end:
            assert day_of(start, zone) == day_of(end - 1, zone) == first + DAY * number
            # It begins with the first moment: just before it clocks show an earlier date.
            assert local(start, zone).date() >= first + DAY * number
            assert local(start - 1, zone).date() < first + DAY * number


@given(st.sampled_from(ZONES), st.integers(ns(dt.datetime(1971, 1, 1, tzinfo=dt.UTC)), 2**61), st.integers(0, 10**15))
def test_every_moment_is_in_exactly_one_day(name: str, at: int, later: int):
    zone = zone_of(name)
    day = day_of(at, zone)
    assert begins(day, zone) <= at < begins(day + DAY, zone)
    days = Days(zone)
    assert [days.of(at), days.of(at + later), days.of(at)] == [day, day_of(at + later, zone), day]


@given(st.sampled_from(ZONES), st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2060, 1, 1)))  # noqa: DTZ001 - what clocks show
def test_a_moment_is_when_clocks_show_it_or_skip_it(name: str, shown: dt.datetime):
    zone = zone_of(name)
    first, last = moment(shown, zone), moment(shown, zone, last=True)
    assert first <= last
    seen = local(first, zone).replace(tzinfo=None, fold=0)
    if seen == shown:
        assert local(last, zone).replace(tzinfo=None, fold=0) == shown
    else:
        assert first == last
        assert local(first - 1, zone).replace(tzinfo=None, fold=0) < shown < seen


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-10-25", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        ("2026-10-25T13:00", "2026-10-25T12:00Z", "2026-10-25T12:00Z"),
        # Twice: from the first to the second.
        ("2026-10-25T02:30", "2026-10-25T00:30Z", "2026-10-25T01:30Z"),
        # Never: the moment of the skip.
        ("2026-03-29T02:30", "2026-03-29T01:00Z", "2026-03-29T01:00Z"),
        ("2026-03-29T02:30+01:00", "2026-03-29T01:30Z", "2026-03-29T01:30Z"),
        (" 2026-03-29T02:30Z ", "2026-03-29T02:30Z", "2026-03-29T02:30Z"),
    ],
)
def test_what_people_write_is_a_day_or_a_moment(text: str, first: str, last: str):
    begin, end = parsed(text, zone_of("Europe/Berlin"))
    assert begin == ns(dt.datetime.fromisoformat(first))
    assert end in (ns(dt.datetime.fromisoformat(last)), ns(dt.datetime.fromisoformat(last)) - 1)


@pytest.mark.parametrize(
    "text", ["", "x", "2026-13-01", "0001-01-01", "9999-12-31", "9999-12-31T23:59+00:00", "1969-01-01T00:00"]
)
def test_what_is_out_of_range_is_no_time(text: str):
    with pytest.raises(ValueError, match=None):
        parsed(text, zone_of("Pacific/Kiritimati"))


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "../../etc/passwd", "/etc/localtime", "Europe", "a\0b", "x" * 10_000]
)
def test_what_is_no_zone_is_refused_by_name(name: str):
    with pytest.raises(ConfigurationError, match="is no time zone"):
        zone_of(name)


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("Asia/Kolkata", "+05:30"),
        (":Asia/Kolkata", "+05:30"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "+01:00"),
    ],
)
def test_the_zone_of_the_machine_is_that_of_tz(monkeypatch, named: str, shown: str):
    monkeypatch.setenv("TZ", named)
    time.tzset()
    try:
        zone = system_zone()
        at = ns(dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC))
        assert local(at, zone).isoformat()[-6:] == shown
        assert begins(date("2026-11-20"), zone) <= at < begins(date("2026-11-21"), zone)
        assert begins(FIRST, zone) > 0
    finally:
        monkeypatch.undo()
        time.tzset()
