"""Writes and checkpoint reach Redis together, once, and mean the same as in memory."""

from __future__ import annotations

import random

import pytest

from pipeline.ids import new_id
from pipeline.log import Damaged, Log
from projections.base import START, Portion, View, advance, position
from projections.books import Books
from projections.failures import Failures
from projections.queue import Queue
from tests.support.examples import ANNA, AT, received
from tests.support.histories import Keys, batches, folded, legal, recorded, write_log

VIEWS = [View(0, Queue(), 1), View(0, Failures(7), 1), View(0, Books(), 1)]
OWN = ("checkpoint", "keys", "meta", "damaged")


async def stored(redis, view: View) -> Keys:
    """A view as it is in Redis, and its list of keys is right."""
    found = Keys()
    names = {name.decode() for name in await redis.smembers(view.prefix + "keys")}
    real = {key.decode().removeprefix(view.prefix) for key in await redis.keys(view.prefix + "*")}
    assert names == real - {"checkpoint", "keys"}
    for name in names - set(OWN):
        kind = (await redis.type(view.prefix + name)).decode()
        if kind == "hash":
            found.hashes[name] = {
                key.decode(): value for key, value in (await redis.hgetall(view.prefix + name)).items()
            }
        elif kind == "zset":
            pairs = await redis.zrange(view.prefix + name, 0, -1, withscores=True)
            found.zsets[name] = {member.decode(): score for member, score in pairs}
        else:
            found.lists[name] = await redis.lrange(view.prefix + name, 0, -1)
    return found


@pytest.mark.parametrize("seed", range(5))
async def test_the_script_does_what_the_model_says(redis, seed):
    rng = random.Random(seed)
    events, _ = legal(rng, messages=10, steps=200)
    reached = START
    for batch in batches(events, rng.sample(range(200), 12)):
        assert await advance(redis, [Portion(VIEWS, reached, batch)]) == [True]
        reached = batch[-1].entry
    for view in VIEWS:
        assert (await stored(redis, view)).dump() == folded(view.projection, events).dump()
        assert await position(redis, view) == reached


async def test_a_batch_stored_twice_counts_once(redis):
    events, _ = legal(random.Random(1), messages=10, steps=100)
    assert await advance(redis, [Portion(VIEWS, START, events)]) == [True]
    before = [(await stored(redis, view)).dump() for view in VIEWS]
    assert await advance(redis, [Portion(VIEWS, START, events)]) == [False]
    assert [(await stored(redis, view)).dump() for view in VIEWS] == before


async def test_one_view_that_is_elsewhere_does_not_hold_up_the_others(redis):
    events = recorded([(new_id(AT, 0, 1), received(ANNA))])
    assert await advance(redis, [Portion(VIEWS[:1], START, events)]) == [True]
    assert await advance(redis, [Portion(VIEWS, START, events)]) == [False]
    assert [await position(redis, view) for view in VIEWS] == [events[-1].entry] * 3
    assert (await stored(redis, VIEWS[0])).dump() == folded(Queue(), events).dump()


async def test_portions_of_several_partitions_are_judged_each_by_itself(redis):
    portions = []
    for partition in range(3):
        events = recorded([(new_id(AT, partition, 1), received(ANNA))] * 700, partition)
        portions.append(Portion([View(partition, Queue(), 1)], "5-0" if partition == 1 else START, events))
    assert await advance(redis, portions) == [True, False, True]


async def test_many_messages_at_once_fit_through_the_script(redis):
    events = recorded([(new_id(AT, 0, number), received(ANNA, domain=f"d{number}.test")) for number in range(3000)])
    assert await advance(redis, [Portion([View(0, Queue(), 1)], START, events)]) == [True]
    assert await redis.hlen(View(0, Queue(), 1).prefix + "live") == 3000
    assert len(await redis.smembers(View(0, Queue(), 1).prefix + "keys")) == 6001


async def test_a_damaged_entry_is_kept_with_its_reason_and_blocks_nobody(redis, log: Log):
    good = recorded([(new_id(AT, 0, number), received(ANNA)) for number in range(2)])
    await write_log(redis, [good[0], Damaged(0, "", "subject", ""), good[1]])
    entries = await log.read(0, START, 10)
    assert await advance(redis, [Portion(VIEWS, START, entries)]) == [True]
    for view in VIEWS:
        assert await redis.hget(view.prefix + "meta", "damaged") == b"1"
        assert await redis.llen(view.prefix + "damaged") == 1
    assert (await stored(redis, VIEWS[0])).counts("d:example.test")["messages"] == 2


async def test_a_key_of_the_wrong_type_is_counted_and_blocks_nobody(redis):
    view = VIEWS[0]
    for key in ("since:example.test", "d:example.test"):
        await redis.set(view.prefix + key, "neither a sorted set nor a hash")
    events = recorded([(new_id(AT, 0, 1), received(ANNA))])
    assert await advance(redis, [Portion([view], START, events)]) == [True]
    assert await redis.hgetall(view.prefix + "meta") == {b"broken": b"2"}
    assert await redis.hlen(view.prefix + "live") == 1
    assert await position(redis, view) == events[-1].entry
