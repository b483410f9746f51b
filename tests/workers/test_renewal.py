"""A process that is larger than it has to be ends, and is started anew without a word of complaint."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.archive.duck import Duck
from workers.duties import every
from workers.renewal import outgrown


@pytest.fixture
def duck():
    made = Duck()
    yield made
    made.close()


async def test_a_process_that_never_used_duckdb_stays_until_it_is_told_to_stop(duck):
    stop = asyncio.Event()
    waiting = asyncio.create_task(outgrown(duck, stop, look=0.001, unused=0.0))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    stop.set()
    assert await waiting is False


async def test_one_that_used_it_stops_when_it_was_not_used_for_a_while_and_no_duty_is_being_done(duck):
    duck.cursor().close()
    stop, going_on, begun = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def duty() -> int:
        begun.set()
        await going_on.wait()
        return 0

    doing = asyncio.create_task(every(60, duty, stop, name="long"))
    await begun.wait()
    waiting = asyncio.create_task(outgrown(duck, stop, look=0.001, unused=0.0))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    going_on.set()
    assert await asyncio.wait_for(waiting, 10) is True
    assert stop.is_set()
    await doing
