"""Stretches of time as people name them."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import pytest

from cli.period import END, Period
from pipeline.faults import ConfigurationError

NOW = 1_795_000_000_000_000_000
DAY = 86400 * 1_000_000_000


@pytest.fixture(autouse=True)
def _berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def ns(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("period", "first", "last"),
    [
        (Period(), 0, END),
        (Period(days=2), NOW - 2 * DAY, END),
        (Period(from_="2026-11-20"), ns("2026-11-20T00:00+01:00"), END),
        (Period(to="2026-11-20"), 0, ns("2026-11-21T00:00+01:00") - 1),
        (Period(from_="2026-07-01", to="2026-07-01"), ns("2026-07-01T00:00+02:00"), ns("2026-07-02T00:00+02:00") - 1),
        (Period(from_="2026-11-20T13:00", to="2026-11-20T13:00Z"), ns("2026-11-20T13:00+01:00"), ns("2026-11-20T13:00Z")),
        (Period(days=1, to="2026-11-01T00:00Z"), ns("2026-10-31T00:00Z"), ns("2026-11-01T00:00Z")),
        # The day on which daylight saving ends has 25 hours.
        (Period(from_="2026-10-25", to="2026-10-25"), ns("2026-10-25T00:00+02:00"), ns("2026-10-26T00:00+01:00") - 1),
    ],
)  # fmt: skip
def test_a_day_is_the_machine_s_day_and_belongs_to_the_period(period: Period, first: int, last: int):
    assert period.bounds(NOW) == (first, last)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"from_": "yesterday"}, "--from: 'yesterday' is no time"),
        ({"to": "\x1b[2J"}, r"--to: '\\x1b\[2J' is no time"),
        ({"from_": "1969-12-01"}, "is no time"),
        ({"from_": "9999-12-31"}, "is no time"),
        ({"to": "0001-01-01"}, "is no time"),
        ({"days": 1, "from_": "2026-01-01"}, "two beginnings"),
        ({"days": -1}, "--days is -1"),
        ({"days": 10**9}, "--days is"),
        ({"from_": "2026-02-01", "to": "2026-01-01"}, "is later than"),
    ],
)
def test_what_is_no_period_is_refused_by_name(given: dict[str, Any], words: str):
    with pytest.raises(ConfigurationError, match=words):
        Period(**given).bounds(NOW)
