"""Counting: bounded whatever the labels are, and readable while it goes on."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import metrics
from pipeline.meters import MOST, OTHER, Counter, Gauge, Histogram, Pulses

ALL = (*metrics.OF_PROCESSES, *metrics.OF_STORE)


def test_a_counter_without_labels_is_there_from_the_start():
    counter = Counter("x_total", "")
    assert counter.values == {(): 0}
    counter.add()
    counter.add(by=3)
    assert counter.values == {(): 4}


def test_labels_that_are_too_many_are_counted_together():
    counter, gauge, histogram = Counter("x_total", "", "a"), Gauge("x", "", "a"), Histogram("x_seconds", "", "a")
    for number in range(MOST + 50):
        counter.add(str(number))
        gauge.set(number, str(number))
        histogram.observe(1, str(number))
    assert len(counter.values) == len(gauge.values) == len(histogram.series) == MOST + 1
    assert counter.values[(OTHER,)] == 50
    assert sum(histogram.series[(OTHER,)].counts) == 50
    counter.add("3")
    assert counter.values[("3",)] == 2


@given(st.lists(st.floats(0, 1000)))
def test_a_histogram_counts_each_value_once_at_the_first_bound_that_is_not_below_it(values):
    histogram = Histogram("x_seconds", "")
    for value in values:
        histogram.observe(value)
    series = histogram.series[()]
    assert sum(series.counts) == len(values)
    for at, bound in enumerate(histogram.bounds):
        assert sum(series.counts[: at + 1]) == sum(value <= bound for value in values)
    assert series.sum == pytest.approx(sum(values))


def test_a_watched_gauge_shows_what_is_so_now():
    gauge, things = Gauge("x", ""), []
    gauge.watch(lambda: len(things))
    things.append(1)
    assert gauge.now() == {(): 1}


def test_a_duty_is_stuck_when_a_turn_of_it_takes_too_long_and_never_while_it_rests():
    pulses = Pulses()
    pulse = pulses.of("fold", 10)
    assert pulses.stuck(1e9) == {}
    pulse.beat()
    began = pulse.since
    assert pulses.stuck(began + 9) == {}
    assert pulses.stuck(began + 11) == {"fold": pytest.approx(11)}
    pulse.rest()
    assert pulses.stuck(began + 1000) == {}
    assert pulses.of("fold", 10) is pulse


@pytest.mark.parametrize("instrument", ALL, ids=lambda one: one.name)
def test_names_follow_the_rules_of_prometheus(instrument):
    assert re.fullmatch(r"gatepost(_[a-z0-9]+)+", instrument.name)
    assert (instrument.kind == "counter") == instrument.name.endswith("_total")
    assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|kib|mib|percent|count|sum|bucket)(_|$)", instrument.name)
    assert instrument.text.endswith(".")
    assert set(instrument.labels) <= {
        "class", "domain", "duty", "engine", "kind", "outcome", "process", "python", "reply", "result", "role", "script",
        "stage", "verdict", "version", "view",
    }  # fmt: skip


def test_no_name_is_used_twice():
    assert len({instrument.name for instrument in ALL}) == len(ALL)
