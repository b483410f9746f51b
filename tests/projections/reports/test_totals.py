"""What the rows of a report add up to: percentiles, totals, bars, and when a report is due."""

from __future__ import annotations

import datetime as dt
import math
import random
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.directory.reports import ReportSchedule
from pipeline.zones import begins, ns, zone_of
from projections.reports.chart import MOST_BARS, bars
from projections.reports.due import LATE, following, newest
from projections.reports.model import DELIVERED, FAILED, NO_SERVER, STATUSES, Heading, Row
from projections.reports.plain import drawn
from projections.reports.sketch import ERROR, SMALLEST, Sketch
from projections.reports.svg import ceiling
from projections.reports.totals import MOST_CLASSES, OTHERS, Totals, totals_form

BERLIN = zone_of("Europe/Berlin")
TIMES = st.integers(0, 400 * 86400 * 10**9)


def exact(values: list[int], percent: float) -> int:
    return sorted(values)[max(1, math.ceil(percent / 100 * len(values))) - 1]


@given(st.lists(TIMES, min_size=1, max_size=300), st.sampled_from([1, 25, 50, 90, 95, 99, 100]))
def test_a_percentile_is_within_one_percent_of_the_value_of_its_rank(values: list[int], percent: float):
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    wanted, found = exact(values, percent), sketch.percentile(percent)
    assert found is not None
    if wanted < SMALLEST:
        assert 0 <= found < SMALLEST
    else:
        assert abs(found - wanted) <= wanted * ERROR + 1
    assert sketch.percentile(100) == max(values)


@given(st.lists(TIMES, max_size=50), st.lists(TIMES, max_size=50))
def test_two_sketches_add_up_to_one_of_all(some: list[int], others: list[int]):
    one, other, both = Sketch(), Sketch(), Sketch()
    for sketch, values in ((one, some), (other, others), (both, some + others)):
        for value in values:
            sketch.add(value)
    one.merge(other)
    assert [one.percentile(p) for p in (50, 99, 100)] == [both.percentile(p) for p in (50, 99, 100)]
    assert Sketch().percentile(50) is None


def test_a_million_values_need_no_more_room_than_a_thousand_steps():
    rng, sketch = random.Random(1), Sketch()
    for _ in range(200_000):
        sketch.add(int(10 ** rng.uniform(5.5, 16.5)))
    assert len(sketch._steps) < 1300


def row(at: str, status: str = DELIVERED, **more: object) -> Row:
    return Row(at=ns(dt.datetime.fromisoformat(at)), domain="example.test", status=status, **more)


def test_totals_count_by_status_class_and_day_of_the_zone():
    totals = Totals(BERLIN)
    for one in (
        row("2026-10-24T22:30Z", recipients=("a", "b"), size=10, waited=2 * 10**9),
        row("2026-10-25T22:59Z", FAILED, about="recipient"),
        row("2026-10-25T23:00Z", NO_SERVER, about="network", duplicate=True),
    ):
        totals.add(one)
    form = totals_form(totals)
    assert form["by_status"] == {"delivered": 1, "no_server": 1, "failed": 1}
    assert form["by_class"] == {"recipient": 1, "network": 1}
    assert form["by_day"] == [{"day": "2026-10-25", "delivered": 1, "failed": 1}, {"day": "2026-10-26", "no_server": 1}]
    assert form["delivered"] == {"messages": 1, "recipients": 2, "bytes": 10}
    assert (form["possible_duplicates"], form["delivery_seconds"]["p50"]) == (1, 2)


def test_a_table_with_any_number_of_classes_does_not_make_the_totals_grow():
    totals = Totals(BERLIN)
    for number in range(3 * MOST_CLASSES):
        totals.add(row("2026-10-25T12:00Z", FAILED, about=f"c{number}"))
    assert len(totals.classes) <= MOST_CLASSES + 1
    assert totals.classes[OTHERS] == 2 * MOST_CLASSES


@pytest.mark.parametrize(
    ("first", "last", "count", "label"),
    [
        ("2026-10-24", "2026-10-26", 3, "2026-10-24"),
        ("2026-01-01", "2026-03-31", 14, "2026-01-01 - 01-04"),
        ("2025-01-15", "2026-10-31", 22, "2025-01-15 - 01-31"),
        ("2000-01-01", "2026-10-31", 27, "2000"),
    ],
)
def test_a_long_time_has_a_bar_for_each_week_month_or_year(first: str, last: str, count: int, label: str):
    start, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    made = begins(end + dt.timedelta(days=1), BERLIN)
    heading = Heading(domains=("x",), start=begins(start, BERLIN), end=made, zone=BERLIN, made=made)
    totals, day, rows = Totals(BERLIN), start, 0
    while day <= end:
        totals.add(msgspec.structs.replace(row("2026-01-01T00:00Z", STATUSES[day.day % 5]), at=begins(day, BERLIN)))
        rows += 1
        day += dt.timedelta(days=3)
    found = bars(heading, totals)
    assert (len(found), found[0].label) == (count, label)
    assert len(found) <= MOST_BARS
    assert (found[0].first, found[-1].last) == (start, end)
    assert sum(bar.height for bar in found) == rows
    assert bars(heading, Totals(BERLIN)) == []


@given(st.integers(1, 10**9))
def test_an_axis_ends_at_a_number_that_reads_well_and_that_all_bars_reach(value: int):
    assert value <= ceiling(value) <= max(2, 2 * value)
    assert ceiling(value) % 2 == 0


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_what_is_not_nothing_is_never_drawn_as_nothing(height: int, top: int):
    assert bool(drawn(min(height, top), top)) == bool(min(height, top))


def schedule(every: str, at: str = "07:00", **more: object) -> ReportSchedule:
    hour, minute = map(int, at.split(":"))
    return ReportSchedule(name="x", every=every, to="boss@elsewhere.test", at=hour * 60 + minute, **more)


def day(text: str, zone=BERLIN) -> int:
    return begins(dt.date.fromisoformat(text), zone)


def moment(text: str) -> int:
    return ns(dt.datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("every", "now", "first", "last"),
    [
        ("day", "2026-11-20T08:00+01:00", "2026-11-19", "2026-11-20"),
        ("day", "2026-11-20T07:01+01:00", "2026-11-19", "2026-11-20"),
        ("day", "2026-11-20T07:00+01:00", "2026-11-18", "2026-11-19"),
        # Days of 25 and of 23 hours.
        ("day", "2026-10-26T08:00+01:00", "2026-10-25", "2026-10-26"),
        ("day", "2026-03-30T08:00+02:00", "2026-03-29", "2026-03-30"),
        # 2026-11-16 and 2026-11-23 are Mondays.
        ("week", "2026-11-22T23:00+01:00", "2026-11-09", "2026-11-16"),
        ("week", "2026-11-23T06:00+01:00", "2026-11-09", "2026-11-16"),
        ("week", "2026-11-23T08:00+01:00", "2026-11-16", "2026-11-23"),
        ("month", "2026-12-01T06:00+01:00", "2026-10-01", "2026-11-01"),
        ("month", "2026-12-31T06:00+01:00", "2026-11-01", "2026-12-01"),
    ],
)
def test_due_is_the_newest_period_whose_hour_has_come(every: str, now: str, first: str, last: str):
    found = newest(schedule(every), BERLIN, moment(now))
    assert found is not None
    assert (found.start, found.end) == (day(first), day(last))
    coming = following(schedule(every), BERLIN, moment(now))
    assert coming.start == found.end
    assert coming.at + LATE > moment(now)


def test_what_was_due_before_it_was_set_up_is_not_sent():
    now = moment("2026-11-20T08:00+01:00")
    assert newest(schedule("day", since=now), BERLIN, now) is None
    assert newest(schedule("day", since=moment("2026-11-20T06:59+01:00")), BERLIN, now) is not None


def test_an_hour_that_clocks_skip_or_show_twice_is_due_once():
    skipped = newest(schedule("day", "02:30"), BERLIN, moment("2026-03-29T12:00Z"))
    twice = newest(schedule("day", "02:30"), BERLIN, moment("2026-10-25T12:00Z"))
    assert skipped is not None
    assert twice is not None
    assert skipped.at == moment("2026-03-29T03:00+02:00")
    assert twice.at == moment("2026-10-25T02:30+02:00")


def test_a_day_that_a_country_jumped_over_has_no_report():
    apia = zone_of("Pacific/Apia")
    seen = set()
    for hour in range(24 * 6):
        found = newest(schedule("day"), apia, moment("2011-12-28T00:00Z") + hour * 3600 * 10**9)
        assert found is not None
        seen.add((found.start, found.end))
    ordered = sorted(seen)
    assert all(start < end for start, end in ordered)
    assert all(end == start for (_, end), (start, _) in pairwise(ordered))
    assert (day("2011-12-29", apia), day("2011-12-31", apia)) in seen


@given(
    st.sampled_from(["day", "week", "month"]),
    st.sampled_from(["Europe/Berlin", "Pacific/Apia", "Asia/Kathmandu", "UTC"]),
    st.integers(0, 1439),
    st.integers(moment("2011-01-01T00:00Z"), moment("2012-12-01T00:00Z")),
)
def test_what_follows_is_what_is_due_when_its_time_has_come(every: str, name: str, at: int, now: int):
    zone = zone_of(name)
    one = ReportSchedule(name="x", every=every, to="x@y.test", at=at)
    coming = following(one, zone, now)
    assert newest(one, zone, coming.at + LATE) == coming
    before = newest(one, zone, coming.at + LATE - 1)
    assert before is not None
    assert before.end <= coming.start
