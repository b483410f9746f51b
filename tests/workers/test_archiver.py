"""The archiver: what leaves Redis and when, and that nobody misses it there."""

from __future__ import annotations

import random
import time

import pytest

from pipeline import keys
from pipeline.archive.trimming import Space, space, wanted
from pipeline.archive.writing import due
from pipeline.events import Recorded, encode
from pipeline.places import DAY_MS, HOUR_MS
from projections.books import Books
from projections.queue import Queue
from projections.readers import read_books
from projections.replay import replay
from tests.support.archives import DAY
from tests.support.histories import legal
from workers.archiver import Archiver
from workers.projector import Projector

HOT = 3 * DAY_MS


@pytest.mark.parametrize(
    ("first", "unsealed", "now", "urgent", "end"),
    [
        (DAY + 5, 1, DAY + DAY_MS - 1, 0, 0),
        (DAY + 5, 1, DAY + DAY_MS, 0, DAY + DAY_MS),
        (DAY + 5, 100, DAY + 6, 0, DAY + DAY_MS),
        (DAY + 5, 99, DAY + 6, 0, 0),
        (DAY + 5, 1, DAY + HOUR_MS, DAY + HOUR_MS, DAY + HOUR_MS),
        (DAY + 5, 1, DAY + HOUR_MS, DAY + 5, 0),
        (DAY + 5, 1, DAY + 9 * DAY_MS, DAY + 3 * DAY_MS, DAY + DAY_MS),
    ],
)
def test_a_segment_is_due_when_its_day_is_over_when_it_is_full_and_when_memory_is_short(
    first, unsealed, now, urgent, end
):
    assert due(first, unsealed, now, size=100, urgent=urgent) == end


def test_the_log_begins_where_the_hot_period_does_unless_it_uses_too_much():
    now = DAY + 10 * DAY_MS + 5 * HOUR_MS + 17
    assert wanted(now, HOT, DAY, Space(5, 0)) == DAY + 7 * DAY_MS + 5 * HOUR_MS
    assert wanted(now, HOT, DAY, Space(100, 100)) == DAY + 7 * DAY_MS + 5 * HOUR_MS
    first = now - HOT
    assert wanted(now, HOT, first, Space(100, 100)) == now - HOT - 17
    # Twice what it may: of 72 hours, 40 go, as if all were alike.
    assert wanted(now, HOT, first, Space(200, 100)) == now - 17 - 32 * HOUR_MS
    assert wanted(now, HOT, first, Space(10**12, 1)) == now - 17
    assert wanted(HOUR_MS, HOT, 0, Space(0, 0)) == 0


async def test_nothing_is_missed_when_views_are_made_anew_from_what_has_left_redis(parts, redis_server):
    made = await parts(hot_period="1h")
    start = int(time.time() * 1000) - 10 * DAY_MS
    events = []
    for number, one in enumerate(legal(random.Random(3), 300, 6000, 2)[0]):
        fields = {"s": one.subject, "v": one.version, "e": encode(one.event)}
        entry = await made.store.redis.xadd(keys.log(2), fields, id=f"{start + number * 60_000}-0")
        events.append(Recorded(2, entry.decode(), one.subject, one.version, one.event))

    async def fold() -> None:
        blocking = made.store.blocking()
        await Projector(made.store.redis, blocking, made.history, range(8), (Queue(), Books())).catch_up()
        await blocking.aclose()

    await fold()
    before = await read_books(made.store.redis, 8)
    assert before.domains
    done = await Archiver(made, made.archive).round()
    assert (done.trimmed, done.faults) == (len(events), [])
    assert done.sealed >= 2
    assert await made.store.redis.xlen(keys.log(2)) == 0
    for view in (Queue(), Books()):
        report = await replay(made.store.redis, made.history, range(8), view, now=made.clock())
        assert report.equal
    for key in await made.store.redis.keys("gp:{*}:view:*"):
        await made.store.redis.delete(key)
    await fold()
    assert await read_books(made.store.redis, 8) == before
    found = []
    while entries := await made.history.read(2, found[-1].entry if found else "0", 999):
        found += entries
    assert found == events


async def test_memory_that_is_short_makes_room_before_the_hot_period_is_over(parts):
    made = await parts(log_memory="1MiB", archive_segment=1000)
    start = int(time.time() * 1000) - 20 * HOUR_MS
    for number, one in enumerate(legal(random.Random(3), 2000, 12_000, 2)[0]):
        fields = {"s": one.subject, "v": one.version, "e": encode(one.event)}
        await made.store.redis.xadd(keys.log(2), fields, id=f"{start + number * 6000}-0")
    blocking = made.store.blocking()
    await Projector(made.store.redis, blocking, made.history, range(8), (Books(),)).catch_up()
    await blocking.aclose()
    archiver = Archiver(made, made.archive)
    await archiver.round()
    await archiver.round()
    assert 0 < await made.store.redis.memory_usage(keys.log(2), samples=50) <= 1 << 20
    assert await made.store.redis.xlen(keys.log(2)) > 2000, "no more than needed"
    assert (await made.archive.chain.head(2)).floor % HOUR_MS == 0


async def test_retention_drops_by_itself(parts):
    made = await parts(archive_retention="4d", hot_period="1h")
    start = (int(time.time() * 1000) // DAY_MS - 9) * DAY_MS
    for day in range(10):
        await made.store.redis.xadd(keys.log(2), {"s": "x", "v": 1, "e": "?"}, id=f"{start + day * DAY_MS}-0")
    blocking = made.store.blocking()
    await Projector(made.store.redis, blocking, made.history, range(8), (Books(),)).catch_up()
    await blocking.aclose()
    done = await Archiver(made, made.archive).round()
    assert (done.sealed, done.dropped, done.faults) == (10, 5, [])
    assert await made.archive.first(2) == f"{start + 5 * DAY_MS}-0"
    assert (await Archiver(made, made.archive).round()).dropped == 0


async def test_one_partition_that_cannot_go_on_does_not_hold_up_the_others(parts, tmp_path):
    made = await parts(hot_period="1h")
    start = int(time.time() * 1000) - 10 * DAY_MS
    for partition in (1, 2):
        await made.store.redis.xadd(keys.log(partition), {"s": "x", "v": 1, "e": "?"}, id=f"{start}-0")
    assert (await Archiver(made, made.archive).round()).sealed == 2
    await made.store.redis.delete(keys.archive(1), keys.archive(2))
    await made.store.redis.xadd(keys.log(2), {"s": "x", "v": 1, "e": "?"}, id=f"{start}-1")
    await made.store.redis.delete(keys.log(1))
    await made.store.redis.xadd(keys.log(1), {"s": "y", "v": 1, "e": "?"}, id=f"{start}-0")
    done = await Archiver(made, made.archive).round()
    assert done.sealed == 1
    (fault,) = done.faults
    assert fault.startswith("partition 1: ")


async def test_a_redis_that_does_not_tell_its_memory_sets_no_bound(parts, redis_server):
    made = await parts()
    assert (await space(made.store.redis, range(8), 5)).allowed == 5
    await made.store.redis.execute_command("ACL", "SETUSER", "default", "-memory", "-info")
    try:
        assert await space(made.store.redis, range(8), 5) == Space(0, 0)
    finally:
        await made.store.redis.execute_command("ACL", "SETUSER", "default", "+memory", "+info")
