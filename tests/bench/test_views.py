"""The benchmark of the views measures what it says."""

from __future__ import annotations

import asyncio

from bench.quarantine import server
from bench.views import lag, look


def test_lag_is_measured_while_a_projector_folds(tmp_path):
    with server(tmp_path) as url:
        found = asyncio.run(lag(url, 5, 50, 2.0))
    assert found.messages == 100
    assert 0 <= found.median <= found.p99 <= found.most


def test_the_queue_is_looked_at_with_all_that_waits(tmp_path):
    with server(tmp_path) as url:
        median, used = asyncio.run(look(url, 7, 300, 3))
    assert median > 0
    assert used > 0
