"""What is done to each partition, when some of them are out of reach."""

from __future__ import annotations

import fakeredis
import pytest

from pipeline.faults import StoreAwayError, StoreFullError
from pipeline.store import Client, open_client
from pipeline.topology.spread import each


@pytest.fixture
def spread() -> Client:
    return open_client("redis+cluster://127.0.0.1:1")


async def do(seen: list[int], away: dict[int, Exception], partition: int) -> int:
    seen.append(partition)
    if partition in away:
        raise away[partition]
    return partition


async def test_on_a_cluster_a_partition_that_is_away_keeps_nobody_from_the_others(spread):
    seen: list[int] = []
    with pytest.raises(StoreAwayError, match="node 2"):
        await each(spread, 4, lambda one: do(seen, {2: StoreAwayError("node 2")}, one))
    assert seen == [0, 1, 2, 3]
    assert await each(spread, 4, lambda one: do([], {}, one)) == 6


async def test_other_trouble_and_that_of_one_server_is_told_at_once(spread):
    seen: list[int] = []
    with pytest.raises(StoreFullError):
        await each(spread, 4, lambda one: do(seen, {1: StoreFullError("full")}, one))
    with pytest.raises(StoreAwayError):
        await each(fakeredis.FakeAsyncRedis(), 4, lambda one: do(seen, {1: StoreAwayError("away")}, one))
    assert seen == [0, 1, 0, 1]
