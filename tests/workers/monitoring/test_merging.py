"""Several processes' numbers as one page."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from pipeline.meters import Counter, Gauge, Histogram
from workers.monitoring.exposition import of, wants_openmetrics, written
from workers.monitoring.merging import merged

BOTH = pytest.mark.parametrize("as_openmetrics", [False, True])


def parsed(text, *, as_openmetrics):
    """(sample, labels) -> value; each family must stand once, as the parsers insist for OpenMetrics only."""
    families = list((parse_openmetrics if as_openmetrics else parse_plain)(text))
    assert len({family.name for family in families}) == len(families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def page(number, *, as_openmetrics):
    counter, gauge = Counter("gatepost_mails_total", "Mails."), Gauge("gatepost_open", "Open.", "kind")
    times = Histogram("gatepost_x_seconds", "Times.", bounds=(0.5, 1.0))
    counter.add(by=number)
    gauge.set(number, 'a{b} "c" \\ d, e=f\n')
    times.observe(0.7)
    times.observe(7)
    return written(of([counter, gauge, times]), as_openmetrics=as_openmetrics)


@BOTH
def test_each_sample_says_of_which_process_it_is(as_openmetrics):
    text = merged(
        [({"process": f"p-{n}", "role": "p"}, page(n, as_openmetrics=as_openmetrics)) for n in (1, 2)],
        as_openmetrics=as_openmetrics,
    )
    found = parsed(text, as_openmetrics=as_openmetrics)
    for number in (1, 2):
        of_it = {("process", f"p-{number}"), ("role", "p")}
        assert found["gatepost_mails_total", frozenset(of_it)] == number
        assert found["gatepost_open", frozenset({*of_it, ("kind", 'a{b} "c" \\ d, e=f\n')})] == number
        assert found["gatepost_x_seconds_bucket", frozenset({*of_it, ("le", "0.5")})] == 0
        assert found["gatepost_x_seconds_bucket", frozenset({*of_it, ("le", "1.0")})] == 1
        assert found["gatepost_x_seconds_bucket", frozenset({*of_it, ("le", "+Inf")})] == 2
        assert found["gatepost_x_seconds_sum", frozenset(of_it)] == pytest.approx(7.7)
        assert found["gatepost_x_seconds_count", frozenset(of_it)] == 2


@BOTH
def test_a_family_has_its_help_and_type_once_and_all_its_samples_behind_them(as_openmetrics):
    text = merged(
        [({"p": str(n)}, page(n, as_openmetrics=as_openmetrics)) for n in range(3)], as_openmetrics=as_openmetrics
    )
    lines = text.splitlines()
    assert sum(line.startswith("# TYPE") for line in lines) == sum(line.startswith("# HELP") for line in lines) == 3
    assert lines.count("# EOF") == as_openmetrics
    assert as_openmetrics == (lines[-1] == "# EOF")
    names = [line.split("{")[0] for line in lines if line.startswith("gatepost_mails")]
    assert len(names) == 3
    at = [number for number, line in enumerate(lines) if line.startswith("gatepost_mails")]
    assert at == list(range(at[0], at[0] + 3))


def test_what_has_no_labels_to_add_stays_as_it_is():
    text = page(1, as_openmetrics=False)
    assert parsed(merged([({}, text)], as_openmetrics=False), as_openmetrics=False) == parsed(
        text, as_openmetrics=False
    )


def test_nothing_merged_is_an_empty_page():
    assert merged([], as_openmetrics=False) == ""
    assert merged([], as_openmetrics=True) == "# EOF\n"


@given(st.text(), st.text(), st.floats(allow_nan=False))
def test_any_value_of_a_label_comes_through(kind, process, value):
    gauge = Gauge("gatepost_open", "Open.", "kind")
    gauge.set(value, kind)
    text = merged([({"process": process}, written(of([gauge]), as_openmetrics=False))], as_openmetrics=False)
    ((_, labels),) = found = parsed(text, as_openmetrics=False)
    assert dict(labels) == {"process": process, "kind": kind}
    assert math.isclose(next(iter(found.values())), value)


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text; version=1.0.0", True),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", True),
        ("text/plain, Application/OpenMetrics-Text", True),
        ("application/openmetrics-textual", False),
        (";;;,,,=", False),
    ],
)
def test_who_asks_for_openmetrics_gets_it(accept, openmetrics):
    assert wants_openmetrics(accept) is openmetrics
