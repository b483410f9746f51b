"""The pool of connections: each is somebody's or free, whoever is cancelled and whenever."""

from __future__ import annotations

import asyncio
import random

import pytest

from pipeline.topology.quick import Pool


class Line:
    """A connection that is always there."""

    def __init__(self, **_: object) -> None:
        self.is_connected = False

    async def connect(self) -> None:
        await asyncio.sleep(0)
        self.is_connected = True

    async def disconnect(self, **_: object) -> None:
        await asyncio.sleep(0)
        self.is_connected = False

    async def can_read(self) -> bool:
        return False

    def should_reconnect(self) -> bool:
        return False

    async def re_auth(self) -> None:
        """The library asks for that of what comes back."""


@pytest.fixture
def pool():
    return Pool(connection_class=Line, max_connections=2)


async def ask(pool):
    """Somebody who waits for a connection."""
    task = asyncio.create_task(pool.get_connection())
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_no_more_than_allowed_are_given_away_and_who_waits_gets_the_next_in_turn(pool):
    one, two = await pool.get_connection(), await pool.get_connection()
    third, fourth = await ask(pool), await ask(pool)
    assert not third.done()
    assert not fourth.done()
    await pool.release(one)
    assert await third is one
    await pool.release(two)
    assert await fourth is two


async def test_who_comes_later_does_not_overtake_those_who_wait(pool):
    one, _two = await pool.get_connection(), await pool.get_connection()
    third = await ask(pool)
    pool.let_go(one)
    later = await ask(pool)
    assert await third is one
    assert not later.done()
    later.cancel()


async def test_what_is_handed_to_somebody_who_is_cancelled_goes_to_the_next(pool):
    one, _two = await pool.get_connection(), await pool.get_connection()
    third, fourth = await ask(pool), await ask(pool)
    await pool.release(one)
    third.cancel()
    assert await asyncio.wait_for(fourth, 5) is one


async def test_a_connection_comes_back_though_its_holder_is_cancelled_while_it_returns_it(pool):
    async def holding():
        connection = await pool.get_connection()
        try:
            await asyncio.sleep(60)
        finally:
            await pool.release(connection)

    holders = [asyncio.create_task(holding()) for _ in range(2)]
    waiting = await ask(pool)
    for holder in holders:
        holder.cancel()
    await asyncio.sleep(0)
    for holder in holders:
        holder.cancel()
    assert await asyncio.wait_for(waiting, 5)


async def test_whoever_is_cancelled_and_whenever_no_connection_is_lost(pool):
    chance = random.Random(1)

    async def using():
        connection = await pool.get_connection()
        try:
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        finally:
            await pool.release(connection)

    for _ in range(300):
        tasks = [asyncio.create_task(using()) for _ in range(8)]
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
            chance.choice(tasks).cancel()
        await asyncio.wait(tasks, timeout=5)
        assert all(task.done() for task in tasks)
    assert len([await asyncio.wait_for(pool.get_connection(), 5) for _ in range(2)]) == 2
