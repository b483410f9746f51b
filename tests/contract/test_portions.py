"""Sets of any size are walked through some members at a time."""

from __future__ import annotations

import itertools

from pipeline import keys
from pipeline.backing_off import PORTION, each_backing_off
from pipeline.portions import by_score
from pipeline.steps import MS
from tests.support.examples import AT

P = 3
NAME = keys.kept(P)


async def walked(store, after, until, count):
    return [some async for some in by_score(store.redis, NAME, after, until, count)]


async def test_a_walk_by_score_comes_by_each_member_once_also_where_many_share_a_score(store):
    members = {f"{score}-{number}": score for score, number in itertools.product((10, 20, 30), range(7))}
    await store.redis.zadd(NAME, members)
    portions = await walked(store, 10, 29, 3)
    assert [len(some) for some in portions] == [3, 3, 1]
    assert sorted(name for some in portions for name, _ in some) == sorted(f"20-{number}" for number in range(7))
    assert sum(len(some) for some in await walked(store, 0, 30, 4)) == 21
    assert await walked(store, 30, 99, 4) == []


async def test_what_leaves_during_a_walk_hides_nothing_that_has_a_later_score(store):
    await store.redis.zadd(NAME, {f"m{number:02}": number for number in range(1, 21)})
    seen = []
    async for some in by_score(store.redis, NAME, 0, 99, 4):
        seen += [name for name, _ in some]
        await store.redis.zrem(NAME, *(name for name, _ in some))
    assert seen == [f"m{number:02}" for number in range(1, 21)]


async def test_all_domains_that_back_off_are_found_however_many_there_are(store):
    now = AT // MS
    names = [f"d{number}.example" for number in range(2 * PORTION + 1)]
    pipe = store.redis.pipeline(transaction=False)
    for number, name in enumerate(names):
        pipe.zadd(keys.due(P), {name: now + 1 + number})
        pipe.hset(keys.route(P, name), mapping={"until": now + 1 + number, "m": b"x"})
    pipe.zadd(keys.due(P), {"due.example": now, "busy.example": now + 5})
    await pipe.execute()
    portions = [some async for some in each_backing_off(store.redis, P, now)]
    assert [name for some in portions for name, failed in some if failed] == names
    assert max(map(len, portions)) <= PORTION
