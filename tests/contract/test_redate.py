"""What a clock that was ahead has scheduled is brought back once it is put back."""

from __future__ import annotations

import pytest

from pipeline import keys
from pipeline.clock import Clock
from pipeline.redate import Redate, latest
from pipeline.retry import RetryPolicy, next_try
from pipeline.schedule import Schedule
from pipeline.settings import Settings
from pipeline.steps import MS
from pipeline.units import Duration

NOW = 1_800_000_000_000
HOUR = 3_600_000
LEASE, INTERVAL = 60_000, 900_000


async def redate(store) -> int:
    settings = Settings(lease=Duration(LEASE * MS))
    return await Redate(store, settings, clock=Clock(lambda: NOW * MS)).partition(1, INTERVAL * MS)


async def test_mail_that_waits_for_a_time_that_nothing_is_scheduled_for_waits_for_one_lease(store):
    await store.redis.zadd(keys.due(1), {"a.test": NOW + 2 * HOUR, "b.test": NOW + INTERVAL, "c.test": NOW - 5})
    await store.redis.hset(keys.route(1, "a.test"), "until", NOW + 2 * HOUR)
    await store.redis.zadd(keys.queue(1, "a.test"), {"m1": NOW + 2 * HOUR, "m2": NOW + 5})
    await store.redis.zadd(keys.slots(1, "a.test"), {"token": NOW + 2 * HOUR})
    await store.redis.zadd(keys.queue(1, "b.test"), {"m3": NOW + INTERVAL})
    await store.redis.zadd(keys.queue(1, "c.test"), {"m4": NOW - 5, "m5": NOW + 2 * HOUR})
    assert await redate(store) == 5
    assert await redate(store) == 0
    due = dict(await store.redis.zrange(keys.due(1), 0, -1, withscores=True))
    assert due == {b"a.test": NOW + LEASE, b"b.test": NOW + INTERVAL, b"c.test": NOW - 5}
    assert await store.redis.hget(keys.route(1, "a.test"), "until") == b"%d" % (NOW + LEASE)
    found = [
        await store.redis.zscore(keys.queue(1, domain), name)
        for domain, name in (("a.test", "m1"), ("a.test", "m2"), ("b.test", "m3"), ("c.test", "m4"), ("c.test", "m5"))
    ]
    assert found == [NOW + LEASE, NOW + 5, NOW + INTERVAL, NOW - 5, NOW + LEASE]
    # Who holds the slot and lives renews it, and its message with it: nobody else gets that.
    assert await store.redis.zscore(keys.slots(1, "a.test"), "token") == NOW + LEASE


async def test_many_domains_are_looked_at(store):
    await store.redis.zadd(keys.due(1), {f"d{number}.test": NOW + 5 * HOUR for number in range(450)})
    assert await redate(store) == 450
    assert await store.redis.zcount(keys.due(1), NOW + LEASE, NOW + LEASE) == 450


@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_every_time_that_may_be_is_before_the_latest(jitter):
    policy = RetryPolicy(INTERVAL * MS, 10**18)
    assert next_try(NOW * MS, policy, jitter) // MS < latest(NOW * MS, INTERVAL * MS, LEASE * MS)


async def test_a_connection_of_the_dead_counts_no_longer_than_a_lease_after_the_clock_was_put_back(store):
    schedule = Schedule(store, Settings(lease=Duration(LEASE * MS)))
    ahead = (NOW + HOUR) * MS
    assert (await schedule.take_server("s:25", "dead", ahead, 1)).word == "taken"
    assert (await schedule.take_server("s:25", "next", NOW * MS, 1)).word == "full"
    assert (await schedule.take_server("s:25", "next", (NOW + LEASE + 1) * MS, 1)).word == "taken"


async def test_a_pace_that_was_kept_by_a_clock_ahead_keeps_nobody_waiting(store):
    schedule = Schedule(store, Settings())
    assert await schedule.server_admit("s:25", (NOW + HOUR) * MS, 1) == 0
    assert await schedule.server_admit("s:25", NOW * MS, 1) == 0
    assert await schedule.server_admit("s:25", NOW * MS, 1) < 0
