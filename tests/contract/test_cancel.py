"""A task that is told to stop while it talks to Redis stops: a worker that waits for one that does not would never end."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.store import open_client

ROUNDS = 24
"""Rounds of the event loop that connecting and one command take, and some more."""


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("rounds", range(ROUNDS))
async def test_a_cancellation_is_not_lost_wherever_in_a_command_it_comes(redis_server, rounds, connected):
    redis = open_client(redis_server.url)

    async def ask_for_ever() -> None:
        while True:
            await redis.get("nothing")

    if connected:
        await redis.ping()
    task = asyncio.create_task(ask_for_ever())
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    _, pending = await asyncio.wait([task], timeout=2)
    task.cancel()
    await asyncio.wait([task], timeout=2)
    await redis.aclose()
    assert not pending
