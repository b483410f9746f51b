from __future__ import annotations

import asyncio

from pipeline import pause
from pipeline.pause import end


async def test_a_task_that_loses_its_first_cancellation_is_ended_all_the_same(monkeypatch):
    monkeypatch.setattr(pause, "AGAIN", 0.01)
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost += 1

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await end([task])
    assert task.cancelled()
    assert lost == 1


async def test_whatever_a_task_ends_with_is_no_concern_of_who_ended_it():
    async def broken() -> None:
        raise ValueError

    async def done() -> int:
        return 1

    tasks = [asyncio.create_task(broken()), asyncio.create_task(done())]
    await asyncio.sleep(0)
    await end(tasks)
    assert all(task.done() for task in tasks)
