"""Rights that one process has at a time."""

from __future__ import annotations

from pipeline import lease
from pipeline.store import Store

KEY = "gp:{test}:lease"


async def test_one_has_it_until_it_gives_it_back(store: Store):
    redis = store.redis
    assert await lease.hold(redis, KEY, "one", 60)
    assert not await lease.hold(redis, KEY, "two", 60)
    await lease.release(redis, KEY, "two")
    assert await lease.hold(redis, KEY, "one", 60)
    await lease.release(redis, KEY, "one")
    assert await lease.hold(redis, KEY, "two", 60)


async def test_it_ends_by_itself_and_each_holding_of_it_is_as_long_as_the_last_asks(store: Store):
    assert await lease.hold(store.redis, KEY, "one", 60)
    assert await lease.hold(store.redis, KEY, "one", 5)
    assert 0 < await store.redis.pttl(KEY) <= 5000
