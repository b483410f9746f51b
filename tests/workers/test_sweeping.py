"""What a dead process left behind goes, and looking for it disturbs nobody."""

from __future__ import annotations

import asyncio
import os
import time

from pipeline import keys
from pipeline.bodies import cold as cold_module
from tests.workers.conftest import PARTITION
from workers.sweeping import ORPHAN_AGE, Sweeper

BIG = b"x" * 300_000


async def finish(wiring, *message_ids):
    """Of these messages only the body is left."""
    await wiring.store.redis.delete(*(keys.head(PARTITION, one) for one in message_ids))
    await wiring.store.redis.zrem(keys.expiry(PARTITION), *message_ids)


def age(*paths):
    old = time.time() - ORPHAN_AGE - 60
    for path in paths:
        os.utime(path, (old, old))


async def test_files_that_no_message_speaks_of_are_swept_and_only_old_ones(parts):
    wiring = await parts()
    wiring.forward(-ORPHAN_AGE - 120)
    kept, gone, again = [await wiring.accept(BIG) for _ in range(3)]
    wiring.forward(ORPHAN_AGE + 120)
    fresh = await wiring.accept(BIG)
    await finish(wiring, gone, again, fresh)
    path = wiring.bodies.cold.path
    draft = wiring.bodies.drafts / "draft-1"
    draft.write_bytes(b"x")
    age(path(kept), path(gone), draft)
    assert await Sweeper(wiring, asyncio.Event()).sweep() == 2
    assert [path(name).exists() for name in (kept, gone, again, fresh)] == [True, False, True, True]


async def test_the_head_has_the_last_word_on_whether_a_message_lives(parts):
    wiring = await parts()
    wiring.forward(-ORPHAN_AGE - 120)
    message_id = await wiring.accept(BIG)
    age(wiring.bodies.cold.path(message_id))
    await wiring.store.redis.zrem(keys.expiry(PARTITION), message_id)
    assert await Sweeper(wiring, asyncio.Event()).sweep() == 0
    assert await wiring.bodies.get(message_id)


async def test_the_disk_is_asked_about_no_body_whose_message_lives_and_many_are_looked_at_some_at_a_time(
    parts, monkeypatch
):
    wiring = await parts()
    monkeypatch.setattr(cold_module, "PORTION", 3)
    wiring.forward(-ORPHAN_AGE - 120)
    messages = [await wiring.accept(BIG) for _ in range(8)]
    await finish(wiring, messages[-1])
    age(wiring.bodies.cold.path(messages[-1]))
    cold, listed, asked = wiring.bodies.cold, wiring.bodies.cold.listed, []
    sizes = []

    async def seen(partition, than):
        async for names in listed(partition, than):
            sizes.append(len(names))
            yield names

    async def dropped(names, than):
        asked.extend(names)
        return await type(cold).drop_older(cold, names, than)

    monkeypatch.setattr(cold, "listed", seen)
    monkeypatch.setattr(cold, "drop_older", dropped)
    assert await Sweeper(wiring, asyncio.Event()).sweep() == 1
    assert asked == [messages[-1]]
    assert (max(sizes), sum(sizes)) == (3, 8)


async def test_a_sweep_rests_for_most_of_the_time_and_leaves_off_when_its_process_ends(parts, monkeypatch):
    wiring = await parts()
    monkeypatch.setattr(cold_module, "PORTION", 1)
    wiring.forward(-ORPHAN_AGE - 120)
    messages = [await wiring.accept(BIG) for _ in range(5)]
    await finish(wiring, *messages)
    age(*map(wiring.bodies.cold.path, messages))
    stop = asyncio.Event()
    sweeper = Sweeper(wiring, stop)
    rests = []

    async def rest(seconds):
        rests.append(seconds)
        if len(rests) == 2:
            stop.set()

    monkeypatch.setattr(sweeper, "_rest", rest)
    assert await sweeper.sweep() == 2
    assert len(rests) == 2
    assert min(rests) > 0
