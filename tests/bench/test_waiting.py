"""The benchmark of a server that is away: it counts what waits, what leaves, and what trying costs."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import waiting
from bench.report import Figures
from bench.systems import LOAD_DOMAIN, free_port
from tests.support import servers


@pytest.fixture
def directory() -> Iterator[Path]:
    servers.need("smtp-source"), servers.need("smtp-sink")
    with tempfile.TemporaryDirectory(prefix="gpb-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def values(figures: Figures) -> dict[str, float]:
    return {figure.name.strip(): next(iter(figure.runs.values()))[0] for figure in figures.all()}


def test_what_waits_is_counted_and_its_memory_is_shared_out_to_the_roles(directory):
    figures = Figures()
    waiting.measure_memory(directory, 200, figures)
    found = values(figures)
    assert {"Redis", "supervisor", "receiver", "scanner", "deliverer", "background"} <= set(found)
    assert 500 < found["Redis, for each"] < 50_000
    assert found["all processes, now"] > 50


@pytest.mark.parametrize("name", waiting.KINDS)
def test_what_comes_for_a_server_that_is_away_is_counted_and_leaves_once(directory, name):
    if name == "postfix":
        servers.need("postfix")
        if os.geteuid() != 0:
            servers.missing("root, which Postfix's master runs as,")
    figures = Figures()
    waiting.measure_drain(directory, [name], 60, 2, figures)
    found = values(figures)
    assert found["messages that arrived twice"] == 0
    assert found["drained, in all"] > 0
    assert found["accepted"] > 0
    assert found["memory, when all of them wait"] > 0


def test_a_first_message_is_timed_from_its_cause(directory):
    with waiting.WaitingGatepost(directory / "first", {LOAD_DOMAIN: free_port()}) as system:
        for way in ("retry", "route", "retry"):
            seconds = asyncio.run(waiting.first_after(system, way))
            assert seconds is not None
            assert 0 < seconds < waiting.PATIENCE


def test_attempts_are_counted(directory, monkeypatch):
    monkeypatch.setattr(waiting, "INTERVALS", 2)
    monkeypatch.setattr(waiting, "INTERVAL", 1)
    monkeypatch.setitem(waiting.QuickGatepost.settings, "GATEPOST_RETRY_INTERVAL", "1s")
    figures = Figures()
    waiting.measure_trying(directory, 20, figures)
    found = values(figures)
    assert 0 < found["connections in an interval"] <= 3
    assert 0 < found["events in an interval"] <= 3
