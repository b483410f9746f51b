"""The benchmark of growth: each measure has its rows, and every message of a row has arrived."""

from __future__ import annotations

import pytest

from bench import growth
from bench.growth import Row, chart
from tests.support import servers


@pytest.mark.parametrize(("measure", "rows"), [("domains", 2), ("history", growth.BLOCKS)])
def test_each_row_is_measured(measure, rows, capsys):
    servers.need("smtp-sink")
    servers.need("smtp-source")
    assert growth.main(["--measures", measure, "--messages", "40", "--domains", "10"]) == 0
    found = [line for line in capsys.readouterr().out.splitlines() if line.endswith("#")]
    assert len(found) == rows
    assert all(float(line.split("#")[0].split()[-1]) > 0 for line in found)


def test_an_unknown_measure_is_named(capsys):
    with pytest.raises(SystemExit):
        growth.main(["--measures", "size,weather"])
    assert "no measure weather" in capsys.readouterr().err


def test_a_bar_is_as_long_as_what_it_stands_for():
    lines = list(
        chart([Row("size", "1 KiB", 1000.0, 0.5), Row("size", "4 KiB", 500.0, 1.0), Row("domains", "1", 9.0, 0.1)])
    )
    assert [line.count("#") for line in lines if "#" in line] == [20, 40, 40]
