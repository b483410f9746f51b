"""Bodies in Redis and on the disk: where each is found, and that none is left."""

from __future__ import annotations

import pytest

from pipeline import keys
from pipeline.bodies import Bodies, LocalCold
from pipeline.faults import CorruptError
from pipeline.ids import new_id

NOW = 1_795_428_000_000_000_000


@pytest.fixture
def bodies(store, tmp_path) -> Bodies:
    root, drafts = tmp_path / "bodies", tmp_path / "drafts"
    drafts.mkdir()
    return Bodies(store.redis, LocalCold(root, drafts), drafts)


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
