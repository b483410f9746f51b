"""The table of where the time goes says whose each process is, and medians."""

from __future__ import annotations

import pytest

from bench.stages import Spent, commands_table, medians, processes_table, role_of


@pytest.mark.parametrize(
    ("arguments", "name", "role"),
    [
        (["python", "-P", "-m", "cli.main", "worker", "scanner", "--metrics", "unix:x"], "python", "scanner"),
        (["python", "gatepost", "up"], "gatepost", "supervisor"),
        (["python", "gatepost", "up"], "deliverer", "deliverer"),
        (["valkey-server", "*:0"], "valkey-server", "embedded Redis"),
        ([], "", "supervisor"),
    ],
)
def test_each_process_belongs_to_its_role(arguments, name, role):
    assert role_of(arguments, name) == role


def test_a_process_that_was_not_there_in_one_run_took_nothing_of_it():
    assert medians([{"a": 1.0, "b": 2.0}, {"a": 3.0}, {"a": 2.0}]) == {"a": 2.0, "b": 0.0}


def test_the_tables_show_a_column_for_each_load():
    runs = [
        Spent({"scanner": value, "deliverer": 0.1}, {"get": (2.0, value), "set": (0.5, 1.0)}) for value in (9, 700, 80)
    ]
    shown = [line.split() for line in processes_table(["4 KiB", "100 KiB"], [runs, runs]).splitlines()]
    assert ["scanner", "80", "80"] in shown
    assert ["in", "all", "80", "80"] in shown
    assert "deliverer" not in str(shown)
    assert ["get", "2.00,", "80.0", "2.00,", "80.0"] in [
        line.split() for line in commands_table(["4 KiB", "100 KiB"], [runs, runs]).splitlines()
    ]
