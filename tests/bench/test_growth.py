"""The benchmark of growth: each measure has its rows and its chart, and every message of a row has arrived."""

from __future__ import annotations

import pytest

from bench import crowd, growth
from bench.rows import Look, Row, draw, table
from tests.support import servers


@pytest.mark.parametrize(("measure", "shown"), [("domains", ["1", "10"]), ("history", ["0", "400"])])
def test_each_row_is_measured_and_drawn(measure, shown, tmp_path, monkeypatch, capsys):
    servers.need("smtp-sink")
    servers.need("smtp-source")
    words = ["--measures", measure, "--messages", "40", "--domains", "10", "--charts", str(tmp_path)]
    monkeypatch.setattr(growth, "HISTORY", (0, 400))
    assert growth.main(words) == 0
    lines = [line.split() for line in capsys.readouterr().out.partition("\n\n")[2].splitlines()[1:]]
    assert [line[0] for line in lines] == shown
    assert all(float(line[-1]) > 0 for line in lines)
    assert "CPU ms each" in (tmp_path / f"{measure}.svg").read_text()


def test_what_waits_costs_one_connection_and_one_event_in_an_interval(tmp_path, monkeypatch, capsys):
    servers.need("smtp-sink")
    servers.need("smtp-source")
    monkeypatch.setattr(crowd, "STEPS", (60,))
    monkeypatch.setattr(crowd, "SOME", 20)
    monkeypatch.setattr(crowd, "MORE", 10)
    monkeypatch.setattr(crowd, "INTERVAL", 1)
    monkeypatch.setattr(crowd, "USUAL", 0.1)
    monkeypatch.setattr(crowd, "INTERVALS", 2)
    monkeypatch.setitem(crowd.CrowdGatepost.settings, "GATEPOST_RETRY_INTERVAL", "1s")
    assert growth.main(["--measures", "waiting", "--charts", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.partition("\n\n")[2].splitlines()
    found = {line[2:44].strip(): float(line.split()[-1].replace(",", "")) for line in lines[1:]}
    assert 0 < found["an interval: connections"] <= 1.5
    assert 0 < found["an interval: events"] <= 1.5
    assert found["until it takes mail again, s"] > 0
    assert (tmp_path / "waiting.svg").exists()


def test_an_unknown_measure_is_named(capsys):
    with pytest.raises(SystemExit):
        growth.main(["--measures", "size,weather"])
    assert "no measure weather" in capsys.readouterr().err


def test_few_figures_stand_side_by_side_and_many_are_a_line_each(tmp_path):
    few = [
        Row("size", name, {"messages/s": rate, "CPU ms each": 1.0}) for name, rate in (("1 KiB", 900.0), ("1 MiB", 9.5))
    ]
    many = [Row("waiting", name, {f"figure {number}": 2.0 for number in range(5)}) for name in ("10", "100")]
    del many[0].figures["figure 4"]
    shown = [line.split() for line in table([*few, *many])]
    assert ["1", "KiB", "900", "1.00"] in shown
    assert ["figure", "3", "2.00", "2.00"] in shown
    assert ["figure", "4", "-", "2.00"] in shown
    looks = {"size": Look("By size"), "waiting": Look("What waits", ("figure 1", "figure 2"))}
    drawn = draw([*few, *many], looks, tmp_path / "charts")
    assert [path.name for path in drawn] == ["size.svg", "waiting.svg"]
    assert "figure 2" in drawn[1].read_text()
    assert "figure 3" not in drawn[1].read_text()
