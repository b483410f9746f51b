"""Our quicker way to speak to Redis says and raises what the library's does, whatever becomes of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import NoScriptError, ResponseError

from pipeline.store import Client, open_client
from pipeline.topology.connections import CONNECTIONS


@pytest.fixture
async def redis(redis_server) -> AsyncIterator[Client]:
    client = open_client(redis_server.url)
    yield client
    await client.aclose()


async def test_more_tasks_than_connections_each_get_their_own_answer(redis):
    async def one(number: int) -> None:
        assert await redis.execute_command("ECHO", str(number)) == str(number).encode()
        pipe = redis.pipeline(transaction=number % 2 == 0)
        for word in range(3):
            pipe.echo(f"{number} {word}")
        assert await pipe.execute() == [f"{number} {word}".encode() for word in range(3)]

    await asyncio.gather(*(one(number) for number in range(5 * CONNECTIONS)))
    assert len(redis.connection_pool._available_connections) <= CONNECTIONS
    assert not redis.connection_pool._in_use_connections


async def test_an_error_is_raised_and_the_connection_goes_on(redis):
    with pytest.raises(NoScriptError):
        await redis.execute_command("EVALSHA", "0" * 40, 0)
    await redis.set("text", "x")
    pipe = redis.pipeline(transaction=False)
    pipe.get("text")
    pipe.lpush("text", "y")
    pipe.get("text")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await pipe.execute()
    assert await redis.get("text") == b"x"
    assert len(redis.connection_pool._available_connections) == 1


async def test_a_connection_that_the_server_closed_is_opened_anew(redis, redis_server):
    await redis.ping()
    other = open_client(redis_server.url)
    await other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await other.aclose()
    assert await redis.ping()
    assert not redis.connection_pool._in_use_connections


async def test_a_cancelled_command_leaves_no_answer_for_the_next_one(redis):
    await redis.ping()
    for rounds in range(6):
        task = asyncio.create_task(redis.execute_command("ECHO", "old"))
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert await redis.execute_command("ECHO", "new") == b"new"
    assert not redis.connection_pool._in_use_connections


async def test_a_command_of_megabytes_is_sent_whole(redis):
    large = bytes(range(256)) * (16 << 10)
    await redis.set("large", large)
    assert await redis.get("large") == large
    pipe = redis.pipeline(transaction=False)
    for _ in range(3):
        pipe.get("large")
    assert await pipe.execute() == [large] * 3
