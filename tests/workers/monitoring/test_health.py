"""When a process lives, and when it may be given work."""

from __future__ import annotations

import pytest

from workers.monitoring.health import Readiness, not_alive, not_ready

FINE = {"started": True, "stopping": False, "redis": "", "directory": True}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"started": False}, "starting"),
        ({"stopping": True}, "stopping"),
        ({"redis": "away"}, "away"),
        ({"directory": False}, "the directory was not read yet"),
        ({"stopping": True, "redis": "away"}, "stopping"),
        ({"redis": "away", "directory": False, "started": False}, "away"),
    ],
)
def test_a_process_is_ready_when_nothing_is_in_the_way(change, reason):
    assert not_ready(Readiness(**{**FINE, **change})) == reason


def test_a_process_is_alive_when_nothing_is_stuck():
    assert not_alive({}) == ""
    assert not_alive({"fold": 61.2, "event loop": 16.0}) == (
        "event loop has not moved for 16 s; fold has not moved for 61 s"
    )
