"""The archiver: what leaves Redis and when, and that nobody misses it there."""

from __future__ import annotations

import random
import time

import pytest

from pipeline import keys
from pipeline.archive.trimming import AMPLE, KEPT_MS, Space, may_use, space, wanted
from pipeline.archive.verify import verify
from pipeline.archive.writing import Writer, due
from pipeline.events import Recorded, encode
from pipeline.faults import StoreAwayError
from pipeline.history import History
from pipeline.places import DAY_MS, HOUR_MS
from projections import builds
from projections.base import position
from projections.books import Books
from projections.outbound import Outbound
from projections.positions import hour_of_key, since
from projections.queue import Queue
from projections.readers import read_books
from projections.replay import replay
from projections.trace import BUCKETS, LAYOUT, Trace
from projections.trace import key as trace_key
from tests.support.archives import DAY, P
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


@pytest.mark.parametrize(
    ("first", "unsealed", "now", "urgent", "end"),
    [
        (DAY + 5, 49, DAY + HOUR_MS, DAY + 5, 0),
        (DAY + 5, 50, DAY + HOUR_MS, DAY + 5, DAY + HOUR_MS),
        (DAY + 5, 1, DAY + HOUR_MS, DAY + 6, DAY + HOUR_MS),
        (DAY + 5, 50, DAY + 5, 0, 0),
        (DAY + 5, 50, DAY + DAY_MS + 6, DAY + 6, DAY + DAY_MS),
    ],
)
def test_where_memory_will_be_short_half_of_a_log_is_sealed_ahead_and_in_one_piece(first, unsealed, now, urgent, end):
    assert due(first, unsealed, now, size=1000, urgent=urgent, ahead=100) == end


def spaced(used: int, allowed: int) -> Space:
    return Space({P: used}, allowed)


def test_a_log_that_has_little_in_it_is_left_alone():
    room = Space({0: 900, 1: 50, 2: 7, 3: 43}, 800)
    assert (room.used, room.short, room.tight) == (1000, True, True)
    assert [number for number in room.logs if room.counts(number)] == [0]
    assert [number for number in range(8) if Space(dict.fromkeys(range(8), 5), 1).counts(number)] == list(range(8))
    assert not Space({0: 75}, 100).tight
    assert Space({0: 76}, 100).tight
    assert not Space({0: 76}, 100).short
    assert not AMPLE.tight


def test_the_log_begins_with_the_hour_of_the_hot_period():
    now = DAY + 10 * DAY_MS + 5 * HOUR_MS + 17
    assert wanted(now, HOT, DAY, AMPLE) == DAY + 7 * DAY_MS + 5 * HOUR_MS
    assert wanted(now, HOT, DAY, spaced(100, 100)) == DAY + 7 * DAY_MS + 5 * HOUR_MS
    assert wanted(HOUR_MS, HOT, 0, AMPLE) == 0


def test_the_log_begins_anywhere_but_within_the_last_minute_where_it_uses_too_much():
    now = DAY + 10 * DAY_MS + 5 * HOUR_MS + 17
    first = now - HOT
    # Twice what it may: eleven twentieths go, as if all minutes were alike.
    assert wanted(now, HOT, first, spaced(200, 100)) == now - HOT * 9 // 20
    assert wanted(now, HOT, now - 10 * KEPT_MS, spaced(200, 100)) == now - KEPT_MS * 9 // 2
    assert wanted(now, HOT, first, spaced(10**12, 1)) == now - KEPT_MS
    assert wanted(now, HOT, first, spaced(1, 0)) == now - KEPT_MS
    assert wanted(now, HOT, now - 5, spaced(200, 100)) == now - KEPT_MS
    # Never later than the hot period says.
    assert wanted(now, HOT, DAY, spaced(101, 100)) == DAY + 7 * DAY_MS + 5 * HOUR_MS


@pytest.mark.parametrize(
    ("used", "allowed", "all_used", "most", "may"),
    [
        (60, 50, 70, 100, 50),
        (40, 50, 80, 100, 40),
        (40, 50, 90, 100, 30),
        (10, 50, 95, 100, 0),
        (60, 50, 70, 0, 50),
    ],
)
def test_the_logs_make_way_for_what_else_is_in_redis(used, allowed, all_used, most, may):
    assert may_use(used, allowed, all_used, most) == may


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
    assert await space(made.store.redis, range(8), 5) == Space(dict.fromkeys(range(8), 0), 5)
    await made.store.redis.execute_command("ACL", "SETUSER", "default", "-memory", "-info")
    try:
        assert await space(made.store.redis, range(8), 5) == AMPLE
    finally:
        await made.store.redis.execute_command("ACL", "SETUSER", "default", "+memory", "+info")


HOT_VIEWS = (Trace(), Outbound())
ALL = (Queue(), Books(), *HOT_VIEWS)


def projector(made, history=None):
    return Projector(made.store.redis, made.store.blocking(), history or made.history, range(8), ALL)


@pytest.fixture
async def quiet(parts):
    """Nothing has come for days: all of the log is in the archive only, and all views have seen it."""
    made = await parts(hot_period="1h")
    start = int(time.time() * 1000) - 10 * DAY_MS
    for number, one in enumerate(legal(random.Random(3), 100, 1000, 2)[0]):
        fields = {"s": one.subject, "v": one.version, "e": encode(one.event)}
        await made.store.redis.xadd(keys.log(2), fields, id=f"{start + number * 60_000}-0")
    await projector(made).catch_up()
    assert (await Archiver(made, made.archive).round()).faults == []
    assert await made.store.redis.xlen(keys.log(2)) == 0
    return made


@pytest.mark.parametrize("view", ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("mend", [False, True])
async def test_every_view_of_a_log_that_is_quiet_can_be_compared_and_mended(quiet, view, mend):
    report = await replay(quiet.store.redis, quiet.history, range(8), view, now=quiet.clock(), mend=mend)
    assert (report.equal, report.mended) == (True, False)
    (live, _) = await builds.live(quiet.store.redis, 2, view)
    await quiet.store.redis.sadd(live.prefix + "keys", "wrong")
    await quiet.store.redis.set(live.prefix + "wrong", "1")
    report = await replay(quiet.store.redis, quiet.history, range(8), view, now=quiet.clock(), mend=mend)
    assert (report.count, report.mended) == (1, mend)
    after = await replay(quiet.store.redis, quiet.history, range(8), view, now=quiet.clock())
    assert after.equal is mend


async def test_a_projector_that_begins_on_a_quiet_log_waits_for_news_and_needs_no_archive(quiet):
    for history in (quiet.history, History(quiet.log)):
        begun = projector(quiet, history)
        await begun.renew()
        assert not begun._behind()
        assert not await begun.fold()
        await begun.release()
    entry = (await quiet.store.redis.xadd(keys.log(2), {"s": "x", "v": 1, "e": "?"})).decode()
    await projector(quiet, History(quiet.log)).catch_up()
    for view in ALL:
        (live, _) = await builds.live(quiet.store.redis, 2, view)
        assert await position(quiet.store.redis, live) == entry


@pytest.mark.parametrize("lost", [HOT_VIEWS, ALL], ids=["hot", "all"])
async def test_views_that_are_lost_while_the_log_is_quiet_are_as_far_as_the_others_again(quiet, lost):
    at = {}
    for view in ALL:
        (live, _) = await builds.live(quiet.store.redis, 2, view)
        at[view.name] = await position(quiet.store.redis, live)
        if view in lost:
            await quiet.store.redis.delete(*await quiet.store.redis.keys(live.prefix + "*"))
    begun = projector(quiet)
    await begun.catch_up()
    await begun.renew()
    assert not begun._behind()
    await begun.release()
    for view in ALL:
        (live, _) = await builds.live(quiet.store.redis, 2, view)
        assert await position(quiet.store.redis, live) == at[view.name]
        assert (await replay(quiet.store.redis, quiet.history, range(8), view, now=quiet.clock())).equal


async def test_a_log_that_is_cut_but_not_trimmed_yet_is_no_difference(parts):
    """The archiver died between two pieces."""
    made = await parts()
    start = int(time.time() * 1000) // HOUR_MS * HOUR_MS - 10 * HOUR_MS
    for number, one in enumerate(legal(random.Random(3), 100, 600, 2)[0]):
        fields = {"s": one.subject, "v": one.version, "e": encode(one.event)}
        await made.store.redis.xadd(keys.log(2), fields, id=f"{start + number * 60_000}-0")
    await projector(made).catch_up()
    floor = start + 5 * HOUR_MS
    await made.store.redis.hset(keys.archive(2), mapping={"floor": floor, "last": f"{floor}-0"})
    for view in HOT_VIEWS:
        (live, _) = await builds.live(made.store.redis, 2, view)
        for name in await made.store.redis.smembers(live.prefix + "keys"):
            if (hour := hour_of_key(name.decode())) is not None and hour * HOUR_MS < floor:
                await made.store.redis.delete(live.prefix + name.decode())
                await made.store.redis.srem(live.prefix + "keys", name)
        assert (await replay(made.store.redis, made.history, range(8), view, now=made.clock())).equal


async def test_a_seal_whose_fate_was_not_known_is_looked_for_in_the_next_round(parts, monkeypatch):
    made = await parts(hot_period="1h")
    start = (int(time.time() * 1000) // DAY_MS - 2) * DAY_MS
    await made.store.redis.xadd(keys.log(1), {"s": "x", "v": 1, "e": "?"}, id=f"{start}-0")
    archiver = Archiver(made, made.archive)

    async def away(*_):
        raise StoreAwayError("gone")

    with monkeypatch.context() as patched, pytest.raises(StoreAwayError):
        patched.setattr(Writer, "_append", away)
        await archiver.round()
    await made.store.redis.delete(keys.archive_lease(1))
    # Meanwhile others have written on: what comes now is another segment.
    await made.store.redis.xadd(keys.log(1), {"s": "x", "v": 2, "e": "?"}, id=f"{start}-1")
    assert (await archiver.round()).faults == []
    (found,) = await verify(made.archive, [1])
    assert (found.entries, found.faults) == (2, ())


async def test_damaged_builds_of_one_partition_hold_up_that_one_alone(parts):
    made = await parts(hot_period="1h")
    start = int(time.time() * 1000) - 10 * DAY_MS
    for partition in (1, 2):
        await made.store.redis.xadd(keys.log(partition), {"s": "x", "v": 1, "e": "?"}, id=f"{start}-0")
    await projector(made).catch_up()
    await made.store.redis.delete(keys.builds(1))
    await made.store.redis.set(keys.builds(1), "rubbish")
    done = await Archiver(made, made.archive).round()
    assert (done.sealed, done.trimmed) == (2, 1)
    (fault,) = done.faults
    assert fault.startswith("partition 1: ")
    assert await made.store.redis.xlen(keys.log(1)) == 1


async def test_a_log_is_not_trimmed_while_its_archive_is_away(parts, tmp_path):
    made = await parts(hot_period="3d")
    start = int(time.time() * 1000) - 2 * DAY_MS
    await made.store.redis.xadd(keys.log(1), {"s": "x", "v": 1, "e": "?"}, id=f"{start}-0")
    await projector(made).catch_up()
    assert (await Archiver(made, made.archive).round()).sealed == 1
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    later = await parts(hot_period="1h")
    done = await Archiver(later, later.archive).round()
    assert (done.trimmed, len(done.faults)) == (0, 1)
    assert "without its newest segment" in done.faults[0]
    assert await made.store.redis.xlen(keys.log(1)) == 1


async def test_a_log_that_was_quiet_for_days_and_is_busy_now_comes_to_what_it_may_use_in_one_round(parts):
    made = await parts(log_memory="1MiB")
    now = int(time.time() * 1000)
    events, _ = legal(random.Random(3), 2000, 9000, 2)
    busy = now - 10 * 60_000
    for number, one in enumerate(events):
        ms = now - 3 * DAY_MS + HOUR_MS + number * HOUR_MS if number < 60 else busy + number * 50
        fields = {"s": one.subject, "v": one.version, "e": encode(one.event)}
        await made.store.redis.xadd(keys.log(2), fields, id=f"{ms}-0")
    await projector(made).catch_up()
    done = await Archiver(made, made.archive).round()
    assert done.faults == []
    room = await Archiver(made, made.archive).room()
    assert not room.short
    assert room.used > (1 << 20) // 2, "no more than needed"
    floor = (await made.archive.chain.head(2)).floor
    assert busy < floor
    assert floor % HOUR_MS
    for view in HOT_VIEWS:
        assert (await replay(made.store.redis, made.history, range(8), view, now=made.clock())).equal
    (live, _) = await builds.live(made.store.redis, 2, HOT_VIEWS[0])
    kept = [await made.store.redis.get(live.prefix + trace_key(floor // HOUR_MS, one)) for one in range(BUCKETS)]
    left = [one for one in kept if one]
    assert len(left) > BUCKETS // 2
    assert all(since(one, LAYOUT, floor) for one in left)


async def test_a_minute_stays_however_short_memory_is(parts):
    made = await parts(log_memory="1")
    now = int(time.time() * 1000)
    young = [now - 50_000 + number for number in range(100)]
    for ms in (*range(now - HOUR_MS // 2, now - HOUR_MS // 2 + 1000), *young):
        await made.store.redis.xadd(keys.log(2), {"s": "x", "v": 1, "e": "?"}, id=f"{ms}-0")
    await projector(made).catch_up()
    assert (await Archiver(made, made.archive).round()).trimmed == 1000
    assert await made.store.redis.xlen(keys.log(2)) == len(young)
    assert (await Archiver(made, made.archive).round()).sealed == 0, "what stays is not sealed again and again"
