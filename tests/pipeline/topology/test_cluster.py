"""The client of a Cluster, on a real one: what moves, what is asked of several nodes at once, and what may not be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from pipeline.store import Client, Script, dangers, open_client
from pipeline.topology.cluster import Cluster
from pipeline.topology.routing import SLOTS, slot_of
from pipeline.topology.spread import masters, memory
from tests.support import topologies
from tests.support.servers import free_port
from tests.support.topologies import RedisCluster


@pytest.fixture(scope="module")
def redis_cluster() -> Iterator[RedisCluster]:
    with topologies.started(RedisCluster) as cluster:
        yield cluster


@pytest.fixture
async def client(redis_cluster: RedisCluster) -> AsyncIterator[Client]:
    redis_cluster.flush()
    opened = open_client(redis_cluster.url)
    yield opened
    await opened.aclose()


def confused(client: Client) -> None:
    """Make it believe that each slot is at another node."""
    places = list(dict.fromkeys(client._slots))
    client._slots = [places[(places.index(place) + 1) % len(places)] for place in client._slots]


async def test_a_slot_that_is_elsewhere_is_followed(client):
    await client.set("gp:{0}:x", "1")
    confused(client)
    assert await client.get("gp:{0}:x") == b"1"
    assert await client.get("gp:{0}:x") == b"1"


async def test_a_pipeline_over_several_nodes_answers_in_order_also_when_slots_have_moved(client):
    names = [f"gp:{{{partition}}}:x" for partition in range(32)]
    for _ in range(2):
        pipe = client.pipeline(transaction=False)
        for number, name in enumerate(names):
            pipe.set(name, number)
            pipe.get(name)
        assert (await pipe.execute())[1::2] == [str(number).encode() for number in range(32)]
        confused(client)


async def test_an_error_in_a_pipeline_is_raised_or_given_as_is_asked(client):
    await client.set("gp:{0}:x", "word")
    pipe = client.pipeline(transaction=False)
    pipe.get("gp:{3}:x")
    pipe.incr("gp:{0}:x")
    with pytest.raises(ResponseError):
        await pipe.execute()
    pipe.get("gp:{3}:x")
    pipe.incr("gp:{0}:x")
    answers = await pipe.execute(raise_on_error=False)
    assert (answers[0], type(answers[1])) == (None, ResponseError)


async def test_a_transaction_is_of_one_slot_and_follows_it(client):
    await client.get("gp:{0}:x")
    confused(client)
    pipe = client.pipeline(transaction=True)
    pipe.set("gp:{0}:x", "1")
    pipe.get("gp:{0}:x")
    assert await pipe.execute() == [True, b"1"]
    pipe.set("gp:{0}:x", "1")
    pipe.set("gp:{1}:x", "1")
    with pytest.raises(ResponseError, match="CROSSSLOT"):
        await pipe.execute()


async def test_a_script_cannot_reach_into_another_slot_even_on_the_same_node(client):
    slot = slot_of("gp:{0}:x")
    other = next(
        name for name in (f"gp:{{{number}}}:y" for number in range(1000)) if 0 < abs(slot_of(name) - slot) < SLOTS // 10
    )
    script = Script("return redis.call('SET', ARGV[1], 'x')")
    assert await script(client, ["gp:{0}:x"], ["gp:{0}:y"]) == b"OK"
    with pytest.raises(ResponseError):
        await script(client, ["gp:{0}:x"], [other])


async def test_a_seed_that_is_away_is_passed_over(redis_cluster):
    seeds = [("127.0.0.1", free_port()), ("127.0.0.1", redis_cluster.nodes[2].port)]
    url = f"redis+cluster://{','.join(f'{host}:{port}' for host, port in seeds)}"
    client = open_client(url)
    assert await client.set("gp:{0}:x", "1")
    assert len(await masters(client)) == len(await memory(client)) == 3
    await client.aclose()
    nowhere = open_client(f"redis+cluster://127.0.0.1:{free_port()}")
    with pytest.raises(RedisConnectionError):
        await nowhere.get("x")
    await nowhere.aclose()
    assert isinstance(client, Cluster)


async def test_a_node_that_is_no_master_any_more_keeps_no_connection(client):
    node = await client.node_of("gp:{0}:list")
    waiting = asyncio.create_task(node.blpop(["gp:{0}:list"], timeout=5))
    while not node.connection_pool._in_use_connections:
        await asyncio.sleep(0)
    (connection,) = node.connection_pool._in_use_connections
    slots = client._slots
    client._slots = [None if place == slots[slot_of("gp:{0}:list")] else place for place in slots]
    await client._drop_others()
    client._slots = slots
    await client.rpush("gp:{0}:list", "x")
    assert await waiting == (b"gp:{0}:list", b"x")
    assert not connection.is_connected


async def test_every_master_is_looked_at_for_what_would_lose_mail(client):
    assert not [danger for danger in await dangers(client) if danger.fatal]
