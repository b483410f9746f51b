"""Bodies in Redis, in segments and in the cold store: where each is found, and that none is left."""

from __future__ import annotations

import os

import pytest

from pipeline import keys
from pipeline.bodies import Bodies, LocalCold
from pipeline.bodies.segments import WORTH, closed, path_of, pointer
from pipeline.faults import CorruptError, StoreAwayError
from pipeline.ids import new_id
from workers.segments import COOL_AFTER, Segments

NOW = 1_795_428_000_000_000_000


@pytest.fixture
def bodies(store, tmp_path) -> Bodies:
    root, drafts = tmp_path / "bodies", tmp_path / "drafts"
    drafts.mkdir()
    segments = tmp_path / "segments"
    segments.mkdir()
    return Bodies(store.redis, LocalCold(root, drafts), drafts, segments=segments, appending=True)


def ids(count: int) -> list[str]:
    return [new_id(NOW + number, 3) for number in range(count)]


async def hot(bodies, store, message_id):
    await store.redis.set(keys.body(3, message_id), message_id.encode())


async def test_a_body_is_found_wherever_it_is(bodies, store):
    stays, moves, gone = ids(3)
    for message_id in (stays, moves):
        await hot(bodies, store, message_id)
    assert await bodies.cool([moves]) == 1
    assert not await store.redis.exists(keys.body(3, moves))
    for find in (bodies.get, lambda message_id: bodies.of(message_id, None)):
        assert [await find(message_id) for message_id in (stays, moves)] == [stays.encode(), moves.encode()]
        with pytest.raises(CorruptError):
            await find(gone)
    assert await bodies.of(gone, b"what Redis had") == b"what Redis had"


async def test_what_is_dropped_is_gone_when_all_is_closed(bodies, store):
    names = ids(50)
    for message_id in names:
        await hot(bodies, store, message_id)
    await bodies.cool(names)
    for message_id in [*names[:40], *ids(1), *names[:5]]:  # what is not there, and what was dropped before
        await bodies.drop_cold(message_id)
    await bodies.close()
    assert [bodies.cold.path(message_id).exists() for message_id in names] == [False] * 40 + [True] * 10
    for message_id in names[40:]:
        await bodies.drop_cold(message_id)
    await bodies.close()
    assert not any(bodies.cold.path(message_id).exists() for message_id in names)


async def test_a_file_that_the_disk_does_not_give_up_keeps_no_other(bodies, store):
    stuck, *others = ids(3)
    bodies.cold.path(stuck).mkdir(parents=True)  # unlink fails, as it does on a disk in trouble
    for message_id in others:
        await hot(bodies, store, message_id)
    await bodies.cool(others)
    for message_id in (stuck, *others):
        await bodies.drop_cold(message_id)
    await bodies.close()
    assert not any(bodies.cold.path(message_id).exists() for message_id in others)


async def put(bodies, store, message_ids, body, *, pending=None, waits=False):
    """What a receiver does: the body, durable, and the key that its step sets; the segment that it is in, if any."""
    draft = bodies.draft()
    draft.write(body)
    async with bodies.settled(draft, message_ids, waits=waits) as found:
        for message_id in message_ids:
            await store.redis.set(keys.body(3, message_id), found)
        if pending is not None:
            await pending()
    where = pointer(found)
    return path_of(bodies.segments, where.segment) if where else None


async def test_a_body_of_some_size_is_in_a_segment_and_found_for_each_of_its_messages(bodies, store):
    small, *several = ids(4)
    assert await put(bodies, store, [small], b"s" * (WORTH - 1)) is None
    segment = await put(bodies, store, several, b"m" * WORTH)
    assert segment.stat().st_size < 2 * WORTH
    for message_id in several:
        found = await store.redis.get(keys.body(3, message_id))
        assert len(found) < 100
        assert await bodies.get(message_id) == await bodies.of(message_id, found) == b"m" * WORTH
        assert await bodies.in_motion(message_id) == b"m" * WORTH
    assert await bodies.in_motion(small) == await bodies.get(small) == b"s" * (WORTH - 1)
    await store.redis.set(keys.body(3, small), found)
    with pytest.raises(CorruptError, match="does not have"):
        await bodies.get(small)  # nobody gets the mail of another, whatever Redis says


@pytest.mark.parametrize("body", [b"", b"s" * 4096])
async def test_a_small_body_that_has_to_wait_is_in_a_segment_and_moves_on_from_there(bodies, store, body):
    (one,) = ids(1)
    assert await put(bodies, store, [one], body, waits=True)
    assert len(await store.redis.get(keys.body(3, one))) < 100
    assert await bodies.get(one) == body
    assert await bodies.cool([one]) == 1
    assert await bodies.get(one) == body
    assert not await store.redis.exists(keys.body(3, one))


async def test_a_segment_goes_when_no_message_is_in_it_any_more_and_not_before(bodies, store):
    segments = Segments(bodies)
    ended, lives = ids(2)
    segment = await put(bodies, store, [ended], b"e" * WORTH)
    assert await put(bodies, store, [lives], b"l" * WORTH) == segment
    assert closed(bodies.segments) == []  # it is still written to
    await bodies.close()
    await store.redis.delete(keys.body(3, ended))
    for _ in range(3):
        assert await segments.collect() == 0
    assert await bodies.get(lives) == b"l" * WORTH
    await store.redis.delete(keys.body(3, lives))
    await segments.collect()
    assert segment.exists()
    await segments.collect()
    assert list(bodies.segments.iterdir()) == []


async def test_what_stays_in_a_segment_moves_to_the_cold_store_and_is_found_by_whoever_has_the_pointer(bodies, store):
    segments = Segments(bodies)
    lives, damaged = ids(2)
    segment = await put(bodies, store, [lives], b"l" * WORTH)
    await put(bodies, store, [damaged], b"d" * WORTH)
    await bodies.close()
    seen = {name: await store.redis.get(keys.body(3, name)) for name in (lives, damaged)}
    with segment.open("r+b") as file:
        at = segment.stat().st_size - WORTH - 10  # in the head of the second record
        os.pwrite(file.fileno(), bytes([os.pread(file.fileno(), 1, at)[0] ^ 1]), at)
    os.utime(segment, (0, segment.stat().st_mtime - COOL_AFTER - 1))
    assert await segments.collect() == 1
    assert await store.redis.get(keys.body(3, lives)) is None
    for _ in range(2):
        assert await bodies.of(lives, seen[lives]) == await bodies.get(lives) == b"l" * WORTH
        with pytest.raises(CorruptError):
            await bodies.of(damaged, seen[damaged])
        await segments.collect()
        await segments.collect()
    assert not segment.exists()


async def test_a_cold_store_that_is_away_keeps_no_segment_that_nobody_needs(bodies, store, monkeypatch):
    lives, ended = ids(2)

    async def away(_):
        raise StoreAwayError("no way there")

    monkeypatch.setattr(bodies.cold, "put_many", away)
    paths = []
    for message_id in (lives, ended):
        paths.append(await put(bodies, store, [message_id], b"x" * WORTH))
        await bodies.close()
        os.utime(paths[-1], (0, 0))
    await store.redis.delete(keys.body(3, ended))
    segments = Segments(bodies)
    for _ in range(2):
        with pytest.raises(StoreAwayError):
            await segments.collect()
    assert [path.exists() for path in paths] == [True, False]
    assert await bodies.get(lives) == b"x" * WORTH


async def test_a_segment_stays_while_a_step_that_points_into_it_may_still_happen(bodies, store):
    (message_id,) = ids(1)
    segments = Segments(bodies)

    async def meanwhile():
        await store.redis.delete(keys.body(3, message_id))  # it has not happened yet
        await bodies.close()
        for path in bodies.segments.iterdir():
            os.utime(path, (0, 0))
        for _ in range(3):
            await segments.collect()

    segment = await put(bodies, store, [message_id], b"x" * WORTH, pending=meanwhile)
    assert segment.exists()
    await segments.collect()
    await segments.collect()
    assert not segment.exists()
