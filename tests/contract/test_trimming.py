"""Where Redis is short of room a log is trimmed within an hour, and what is left is whole: the log, the index, and every view of it."""

from __future__ import annotations

import random

import pytest

from pipeline import keys
from pipeline.archive.trimming import trim
from pipeline.events import Delivered, Recorded
from pipeline.ids import new_id
from pipeline.log import Log
from pipeline.places import HOUR_MS, place_of
from projections import builds, cutting, outbound
from projections.base import START, Portion, advance
from projections.cutting import LAYOUTS, cut
from projections.positions import hour_of_key, packed, since
from projections.replay import replay
from tests.projections.test_past import VIEWS
from tests.support.examples import AT, event
from tests.support.memoryarchive import write_entries

pytestmark = pytest.mark.parametrize("store", ["real", "sentinel", "cluster"], indirect=True)
"""fakeredis knows no scripts that run when memory is full."""
P = 3
START_MS = AT // 1_000_000 // HOUR_MS * HOUR_MS
COUNT = 1200
STEP = HOUR_MS * 5 // 2 // COUNT
"""Of two and a half hours."""


def deliveries() -> list[Recorded]:
    """One domain's, so that its index keys are long; some in one millisecond."""
    rng = random.Random(7)
    found, ms, number = [], START_MS, 0
    for count in range(COUNT):
        gap = rng.choice((0, STEP, 2 * STEP))
        ms, number = (ms + gap, 0) if gap else (ms, number + 1)
        found.append(Recorded(P, f"{ms}-{number}", new_id(ms * 1_000_000, P, count), 1, event(Delivered)))
    return found


async def stored(redis, view) -> dict[str, bytes]:
    (live, _) = await builds.live(redis, P, view)
    names = [name.decode() for name in await redis.smembers(live.prefix + "keys")]
    return {name: await redis.get(live.prefix + name) for name in names}


@pytest.fixture
async def filled(store) -> list[Recorded]:
    """All of it is in both indexes, and sealed."""
    events = deliveries()
    await write_entries(store.redis, events)
    for projection in VIEWS:
        view, _ = await builds.to_fold(store.redis, P, projection)
        assert await advance(store.redis, [Portion([view], START, events)]) == [True]
    await store.redis.hset(keys.archive(P), mapping={"last": events[-1].entry, "number": 1})
    return events


async def left(redis) -> list[str]:
    return [one.entry for one in await Log(redis).read(P, "0", COUNT)]


async def test_a_log_begins_at_any_millisecond_and_its_index_with_it(store, filled):
    redis, middle = store.redis, place_of(filled[COUNT // 2].entry)[0]
    whole = {view.name: await stored(redis, view) for view in VIEWS}
    for begin in (START_MS + 7, START_MS + HOUR_MS, middle, middle + 777_777):
        floor, _ = await trim(redis, P, begin, 1)
        assert floor == begin
        expected = [one.entry for one in filled if place_of(one.entry)[0] >= begin]
        assert await left(redis) == expected
        await cut(redis, P, floor)
        for view in VIEWS:
            kept = await stored(redis, view)
            assert min(hour_of_key(name) for name in kept) in (begin // HOUR_MS, place_of(expected[0])[0] // HOUR_MS)
            for name, value in kept.items():
                # No posting was lost, and none doubled.
                layout = LAYOUTS[view.name]
                assert whole[view.name][name].endswith(value)
                of_first = hour_of_key(name) == begin // HOUR_MS
                wanted = since(whole[view.name][name], layout, begin) if of_first else whole[view.name][name]
                assert value.endswith(wanted)
                assert (since(value, layout, begin) if of_first else value) == wanted
            report = await replay(redis, Log(redis), [P], view, now=AT)
            assert (report.equal, report.events) == (True, len(expected))
    part = len(expected) / COUNT
    for view in VIEWS:
        now = sum(map(len, (await stored(redis, view)).values()))
        before = sum(map(len, whole[view.name].values()))
        assert now < before * (part + 0.2)


async def test_a_log_that_is_not_short_of_room_begins_with_an_hour(store, filled):
    for begin, hours in ((START_MS + HOUR_MS - 1, 0), (START_MS + HOUR_MS + 5, 1), (START_MS + 3 * HOUR_MS - 1, 2)):
        floor, _ = await trim(store.redis, P, begin)
        assert floor == START_MS + hours * HOUR_MS
        assert (await left(store.redis))[0] == next(
            one.entry for one in filled if place_of(one.entry)[0] >= START_MS + hours * HOUR_MS
        )


async def test_what_a_view_has_not_seen_or_nobody_has_sealed_stays_within_an_hour_too(store, filled):
    redis = store.redis
    sealed, seen = filled[COUNT // 2], filled[COUNT // 3]
    await redis.hset(keys.archive(P), "last", sealed.entry)
    (live, _) = await builds.live(redis, P, VIEWS[0])
    await redis.set(live.prefix + "checkpoint", seen.entry)
    for last in (seen, sealed):
        behind = next(one for one in filled if place_of(one.entry) > place_of(last.entry))
        floor, _ = await trim(redis, P, START_MS + 9 * HOUR_MS, 1)
        assert floor == place_of(behind.entry)[0]
        assert behind.entry in await left(redis)
        await redis.set(live.prefix + "checkpoint", filled[-1].entry)


async def test_a_key_of_an_index_of_which_nothing_is_left_is_gone(store, filled):
    redis = store.redis
    begin = place_of(filled[-1].entry)[0] + 1
    assert begin % HOUR_MS
    await trim(redis, P, begin, 1)
    assert await left(redis) == []
    await cut(redis, P, begin)
    assert outbound.key(begin // HOUR_MS, filled[0].event.domain) not in await stored(redis, VIEWS[1])


async def test_a_damaged_index_holds_up_nobody(store, filled):
    redis, begin = store.redis, START_MS + HOUR_MS // 2
    (live, _) = await builds.live(redis, P, VIEWS[1])
    name = outbound.key(START_MS // HOUR_MS, filled[0].event.domain)
    await redis.delete(live.prefix + name)
    await redis.hset(live.prefix + name, "not", "a string")
    await trim(redis, P, begin, 1)
    assert await cut(redis, P, begin) > 0
    assert await redis.type(live.prefix + name) == b"hash"


async def test_what_takes_long_to_copy_is_cut_in_several_calls(store, monkeypatch):
    redis = store.redis
    view, _ = await builds.to_fold(redis, P, VIEWS[1])
    hour = START_MS // HOUR_MS
    value = b"".join(packed(START_MS + number * 9, 0) + b"\1\0\1" for number in range(400_000))
    names = [outbound.key(hour, f"{letter}.test") for letter in "abc"]
    for name in names:
        await redis.set(view.prefix + name, value)
    await redis.sadd(view.prefix + "keys", *names)
    calls = []
    once = cutting._cut

    async def counted(*words):
        calls.append(words)
        return await once(*words)

    monkeypatch.setattr(cutting, "_cut", counted)
    half = START_MS + HOUR_MS // 2
    wanted = since(value, LAYOUTS[outbound.NAME], half)
    assert len(wanted) == len(value) // 2
    assert await cut(redis, P, half) == 3 * (len(value) - len(wanted))
    assert [await redis.get(view.prefix + name) for name in names] == [wanted] * 3
    assert len(calls) == 2
