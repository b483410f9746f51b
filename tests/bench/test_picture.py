"""A chart is a picture that says what was measured: well-formed, each value written beside its place, none outside."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bench.picture import HEIGHT, Chart, Panel, Scale, ceiling, number, svg

SIZES = Chart("By size", ("1 KiB", "4 KiB & more"), (Panel("messages/s", (1437.2, 5.3)), Panel("CPU ms", (1.08, 1.5))))


def texts(drawn: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]


def test_every_value_row_and_panel_is_written():
    assert {"1,437", "5.30", "1.08", "1.50", "1 KiB", "4 KiB & more", "messages/s (logarithmic)", "CPU ms"} <= set(
        texts(svg(SIZES))
    )


@pytest.mark.parametrize(("joined", "shape"), [(True, "circle"), (False, "rect")])
def test_steps_of_one_quantity_are_joined_and_other_rows_are_bars(joined, shape):
    drawn = ET.fromstring(svg(Chart("By processes", ("1", "2", "4"), (Panel("CPU ms", (1.0, 2.0, 0.0)),), joined)))
    shapes = [one for one in drawn.iter(f"{{http://www.w3.org/2000/svg}}{shape}") if "class" in one.attrib]
    assert len(shapes) == 3
    assert all(0 <= float(one.get("cy", one.get("y", "-1"))) <= HEIGHT for one in shapes)


def test_what_was_not_measured_has_no_place_on_the_line():
    drawn = ET.fromstring(svg(Chart("By what waits", ("0", "10", "20"), (Panel("octets", (None, 5.0, 6.0)),))))
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}circle"))) == 2
    assert svg(Chart("Nothing", ("0",), (Panel("octets", (None,)),)))


@pytest.mark.parametrize("values", [(0.0, 0.0), (0.0, 3.0), (5.0, 5.0), (0.001, 1000.0), (20.0, 100.0)])
def test_no_value_is_outside_of_its_axis(values):
    scale = Scale(values)
    assert all(0 <= scale.part(value) <= 1 for value in (*values, *scale.marks))


def test_an_axis_ends_at_a_number_that_reads_well():
    assert [ceiling(value) for value in (0, 0.3, 1, 1.08, 87.5, 1437, 10_000)] == pytest.approx(
        [1, 0.4, 1, 2, 100, 2000, 10_000]
    )
    assert [number(value) for value in (0.034, 45.04, 1437.2)] == ["0.03", "45.0", "1,437"]
