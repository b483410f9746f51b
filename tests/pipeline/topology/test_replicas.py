"""redis_replicas on a master that Sentinels watch: what counts, what does not, and what is found out about it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from pipeline.faults import StoreAwayError
from pipeline.ids import new_id
from pipeline.log import Log
from pipeline.steps import received_step
from pipeline.store import Store, dangers
from pipeline.topology.address import parse
from pipeline.topology.replicas import TooFewReplicasError, still_there
from tests.support import topologies
from tests.support.examples import AT, received
from tests.support.servers import wait_until
from tests.support.topologies import WatchedRedis

P = 0


@pytest.fixture(scope="module")
def watched() -> Iterator[WatchedRedis]:
    with topologies.started(WatchedRedis, replicas=1, sentinels=1) as redis:
        yield redis


def step():
    return received_step(new_id(AT, P), received(), b"hello")


async def test_a_step_counts_when_a_replica_has_it_and_its_fate_is_found_when_none_was_there(watched: WatchedRedis):
    store = await Store.connect(msgspec.structs.replace(parse(watched.url), replicas=1), 8)
    log = Log(store.redis)
    assert [danger for danger in await dangers(store.redis) if "failover" in danger.found] == []
    await log.commit(step())
    watched.nodes[1].kill()
    with pytest.raises(StoreAwayError, match="0 of 1 replicas"):
        await log.commit(step(), patience=0.1)
    entries = await log.read(P, "0", 10)
    assert len(entries) == 2
    with pytest.raises(TooFewReplicasError):
        await still_there(store.redis, "gp:{0}:log", entries[1].entry.encode(), 1)
    assert watched.nodes[0].command("CONFIG", "SET", "min-replicas-to-write", "1") == b"+OK\r\n"
    with pytest.raises(StoreAwayError, match="NOREPLICAS"):
        await log.commit(step(), patience=0.1)
    assert await log.read(P, "0", 10) == entries
    waiting = asyncio.create_task(log.commit(step()))
    await asyncio.to_thread(watched.nodes[1].start)
    await asyncio.wait_for(waiting, 20)
    assert len(await log.read(P, "0", 10)) == 3
    await store.close()


async def test_without_it_a_check_says_what_a_failover_may_lose(watched: WatchedRedis):
    wait_until(lambda: watched.replicas_of(watched.nodes[0]) == 1, what="the replica")
    store = await Store.connect(watched.url, 8)
    (danger,) = [danger for danger in await dangers(store.redis) if "failover" in danger.found]
    assert (danger.fatal, "redis_replicas" in danger.remedy) == (False, True)
    await store.close()


async def test_a_master_that_no_sentinel_knows_is_named(watched: WatchedRedis):
    with pytest.raises(StoreAwayError, match="knows no master called other"):
        await Store.connect(watched.url.replace("/gatepost", "/other"), 8)
