"""What happens while a slot of a Cluster is moved: key by key, what is one step is done whole, or waits until the slot has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from pipeline import keys
from pipeline.faults import StoreAwayError
from pipeline.ids import new_id
from pipeline.log import Log
from pipeline.schedule import Schedule, new_token
from pipeline.settings import Settings
from pipeline.state import encode_head, evolve
from pipeline.steps import received_step
from pipeline.store import Store, open_client
from tests.support import topologies
from tests.support.examples import AT, received
from tests.support.moving import Move
from tests.support.topologies import RedisCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with topologies.started(RedisCluster) as started:
        yield started


@pytest.fixture
async def store(cluster: RedisCluster) -> AsyncIterator[Store]:
    redis = open_client(cluster.url)
    yield Store(redis, cluster.url, 8)
    await redis.aclose()


def contents(move: Move) -> dict[bytes, bytes]:
    found = {}
    for node in (move.source, move.target):
        for key in node.execute_command("CLUSTER", "GETKEYSINSLOT", move.slot, 1000):
            node.execute_command("ASKING")
            assert key not in found, "it is at both"
            found[key] = node.execute_command("DUMP", key)
    return found


@pytest.mark.parametrize(
    ("partition", "there"), [(0, ()), (1, ("log",)), (2, ("scan", "expiry")), (3, ("log", "scan", "expiry"))]
)
async def test_a_step_waits_for_its_slot_and_nothing_of_it_is_done_before(cluster, store, partition, there):
    log = Log(store.redis)
    await log.commit(received_step(new_id(AT, partition), received(), b"hello"))
    with Move(cluster, keys.log(partition)) as move:
        move.begin()
        move.carry(*(f"gp:{{{partition}}}:{name}" for name in there))
        before = contents(move)
        step = received_step(new_id(AT, partition), received(), b"hello")
        with pytest.raises(StoreAwayError, match="on its way"):
            await log.commit(step, patience=0.1)
        assert contents(move) == before
        waiting = asyncio.create_task(log.commit(step))
        await asyncio.to_thread(move.end)
        await waiting
    assert len(await log.read(partition, "0", 10)) == 2


async def test_no_message_is_claimed_whose_body_may_be_at_the_other_node(cluster, store):
    partition, domain, message = 4, "d.test", new_id(AT, 4)
    schedule, token = Schedule(store, Settings()), new_token()
    head = encode_head(evolve(None, received(), message))
    await store.redis.hset(keys.head(partition, message), mapping={"v": 1, "m": head})
    await store.redis.set(keys.body(partition, message), b"hello")
    await store.redis.zadd(keys.due(partition), {domain: 1})
    await store.redis.zadd(keys.queue(partition, domain), {message: 1})
    await store.redis.zadd(keys.slots(partition, domain), {token: AT // 1_000_000 + 60_000})
    await store.redis.hset(keys.route(partition, domain), "open", 1)
    with Move(cluster, keys.log(partition)) as move:
        move.begin()
        move.carry(*(of(partition, domain) for of in (keys.queue, keys.slots, keys.route)), keys.due(partition))

        async def claim():
            return await schedule.claim(partition, domain, token, now=AT, retry_at=AT, more=True)

        with pytest.raises(StoreAwayError, match="on its way"):
            await claim()
        await asyncio.to_thread(move.end)
        (work,) = (await claim()).work
    assert (work.id, work.hot) == (message, b"hello")


async def test_a_slot_that_is_moved_as_a_whole_holds_nobody_up(cluster, store):
    partition, log = 5, Log(store.redis)
    await log.commit(received_step(new_id(AT, partition), received(), b"hello"))
    with Move(cluster, keys.log(partition)) as move:
        await asyncio.to_thread(move.at_once)
        count = 1
        while not await asyncio.to_thread(move.arrived):
            await log.commit(received_step(new_id(AT, partition), received(), b"hello"), patience=5)
            count += 1
    await log.commit(received_step(new_id(AT, partition), received(), b"hello"), patience=5)
    assert len(await log.read(partition, "0", 10_000)) == count + 1
