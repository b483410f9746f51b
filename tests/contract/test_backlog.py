"""What could move on now, counted in the store."""

from __future__ import annotations

import pytest

from pipeline import keys
from pipeline.backlog import Backlog
from pipeline.settings import Settings
from pipeline.steps import MS
from workers.pressure import Pressure

NOW = 1_800_000_000_000
LATER = NOW + 10_000


async def queue(store, domain: str, times, *, due: int = NOW, opened: bool = True) -> None:
    await store.redis.zadd(keys.queue(1, domain), {f"m{number}": at for number, at in enumerate(times)})
    await store.redis.zadd(keys.due(1), {domain: due})
    if opened:
        await store.redis.hset(keys.route(1, domain), "open", 1)


async def test_a_backlog_is_what_is_to_be_scanned_and_what_could_leave_through_an_open_route(store):
    for partition in (0, 3, 3):
        await store.redis.xadd(keys.scan(partition), {"id": "x"})
    await queue(store, "open.test", [NOW - 5, NOW, LATER])
    await queue(store, "full.test", [NOW - 5], due=NOW + 50_000)  # all its slots are in use
    await queue(store, "away.test", [NOW - 5] * 2, due=NOW + 900_000)
    await queue(store, "new.test", [NOW - 5], opened=False)
    assert await Backlog(store, Settings()).look(NOW * MS) == (3, 3)


async def test_what_is_done_is_no_backlog(store):
    await store.redis.xgroup_create(keys.scan(0), keys.SCANNERS, id="0", mkstream=True)
    entry = await store.redis.xadd(keys.scan(0), {"id": "x"})
    await store.redis.xreadgroup(keys.SCANNERS, "me", {keys.scan(0): ">"})
    backlog = Backlog(store, Settings())
    assert await backlog.look(NOW * MS) == (1, 0)
    await store.redis.xack(keys.scan(0), keys.SCANNERS, entry)
    await store.redis.xdel(keys.scan(0), entry)
    assert await backlog.look(NOW * MS) == (0, 0)


@pytest.mark.parametrize("store", ["real"], indirect=True)
async def test_a_receiver_brakes_with_what_waits_and_lets_go_with_it(store, tmp_path):
    settings = Settings(data=tmp_path, brake_scanning=4, brake_sending=2, min_free_disk=0)
    pressure = Pressure(store, settings, lambda: NOW * MS, busy=lambda: 2.0)
    seen = []
    for count in (0, 6, 16):
        for _ in range(count):
            await store.redis.xadd(keys.scan(0), {"id": "x"})
        await pressure.look()
        seen.append((pressure.brake.delay > 0, pressure.brake.closed))
    await store.redis.delete(keys.scan(0))
    await queue(store, "open.test", [NOW] * 1)
    await pressure.look()
    seen.append((pressure.brake.delay > 0, pressure.brake.closed))
    await queue(store, "open.test", [NOW] * 9)
    await pressure.look()
    seen.append((pressure.brake.delay > 0, pressure.brake.closed))
    assert seen == [(False, False), (True, False), (True, True), (False, False), (True, False)]
    assert pressure.reason is None


@pytest.mark.parametrize("store", ["real"], indirect=True)
async def test_a_receiver_knows_whose_mail_has_to_wait_as_an_attempt_failed(store, tmp_path):
    settings = Settings(data=tmp_path, min_free_disk=0)
    pressure = Pressure(store, settings, lambda: NOW * MS, busy=lambda: 0.0)
    await queue(store, "away.test", [NOW], due=LATER)
    await store.redis.hset(keys.route(1, "away.test"), mapping={"until": LATER, "m": b"failed"})
    await queue(store, "first.test", [NOW], due=LATER)
    await store.redis.hset(keys.route(1, "first.test"), "until", LATER)  # the first attempt is under way
    await queue(store, "full.test", [NOW], due=LATER)  # all its slots are in use
    await pressure.look()
    assert pressure.waiting == {"away.test"}
    await store.redis.zadd(keys.due(1), {"away.test": NOW})
    await pressure.look()
    assert pressure.waiting == frozenset()
