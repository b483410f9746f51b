"""Every place for cold bodies keeps the same promises: a directory, and an object store over real HTTP."""

from __future__ import annotations

import asyncio
import mmap
import os
import time

import pytest

from pipeline.bodies import LocalCold, cloud
from pipeline.bodies import cold as cold_module
from pipeline.bodies.cloud import CloudCold
from pipeline.bodies.draft import HOT_LIMIT, Draft
from pipeline.faults import CorruptError
from pipeline.ids import new_id
from tests.support.objectstore import SERVERS, store_server

PARTITION = 3
LARGE = os.urandom(1 << 20)


@pytest.fixture(scope="module", params=["directory", *SERVERS])
def server(request):
    """None for a directory, which has none."""
    if request.param == "directory":
        yield None
        return
    with store_server(request.param) as running:
        yield running


async def ours() -> str:
    return "ours"


@pytest.fixture
def cold(server, tmp_path, monkeypatch):
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    if server is None:
        return LocalCold(tmp_path / "bodies", drafts)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return CloudCold(f"{server.address}/{tmp_path.name}", drafts, ours, 20)


def ids(count: int) -> list[str]:
    return [new_id(time.time_ns(), PARTITION) for _ in range(count)]


def draft(cold, content: bytes) -> Draft:
    made = Draft(cold._drafts)
    made.write(content)
    return made


async def test_a_large_body_is_kept_under_each_of_its_names_and_comes_back_as_a_mapping(cold):
    first, second, third = ids(3)
    await cold.keep(draft(cold, LARGE), [first, second, third])
    for message_id in (first, second, third):
        found = await cold.get(message_id)
        assert isinstance(found, mmap.mmap)
        assert found[:] == LARGE
    assert list(cold._drafts.iterdir()) == []
    await cold.drop_many([first])
    assert (await cold.get(second))[-9:] == LARGE[-9:]


async def test_many_small_bodies_come_back_as_they_were(cold):
    bodies = {message_id: message_id.encode() * 9 for message_id in ids(40)}
    await cold.put_many(list(bodies.items()))
    assert dict(zip(bodies, await asyncio.gather(*map(cold.get, bodies)), strict=True)) == bodies
    await cold.put_many([(message_id, b"z" * HOT_LIMIT) for message_id in ids(1)])


async def test_what_is_put_again_is_there_once_and_was_not_written_over(cold):
    (message_id,) = ids(1)
    for content in (b"first", b"second"):
        await cold.put_many([(message_id, content)])
    await cold.keep(draft(cold, LARGE), [message_id])
    assert await cold.get(message_id) == b"first"
    assert list(cold._drafts.iterdir()) == []
    assert await listed(cold, PARTITION, time.time() + 60) == [message_id]


async def test_a_body_with_two_names_is_there_until_both_are_dropped(cold):
    one, other = ids(2)
    await cold.put_many([(one, b"content")])
    for _ in range(2):
        await cold.share(one, other)
    await cold.drop_many([one, one])
    assert await cold.get(other) == b"content"
    with pytest.raises(CorruptError, match=one):
        await cold.get(one)
    with pytest.raises(CorruptError, match=one):
        await cold.share(one, other)
    await cold.drop_many([one, other])
    with pytest.raises(CorruptError):
        await cold.get(other)


async def listed(cold, partition: int, than: float) -> list[str]:
    return [name async for some in cold.listed(partition, than) for name in some]


async def test_bodies_are_listed_by_partition_and_age_some_at_a_time(cold, monkeypatch):
    for module in (cold_module, cloud):
        monkeypatch.setattr(module, "PORTION", 2)
    mine = ids(5)
    elsewhere = new_id(time.time_ns(), PARTITION + 1)
    await cold.put_many([(message_id, b"x") for message_id in (*mine, elsewhere)])
    portions = [some async for some in cold.listed(PARTITION, 1e12)]
    assert max(map(len, portions)) == 2
    assert sorted(name for some in portions for name in some) == sorted(mine)
    assert await listed(cold, PARTITION, time.time() - 3600) == []
    assert await listed(cold, PARTITION + 1, 1e12) == [elsewhere]
    assert await listed(cold, 30, 1e12) == []  # not those of 3
    await cold.drop_many([*mine, *ids(3)])
    assert await listed(cold, PARTITION, 1e12) == []


async def test_of_old_messages_only_bodies_that_were_written_long_ago_are_dropped_as_old(cold):
    old = [new_id(time.time_ns() - 7200 * 10**9, PARTITION) for _ in range(3)]
    await cold.put_many([(message_id, b"x") for message_id in old])
    assert await cold.drop_older(old, time.time() - 3600) == 0  # put again, or under a second name, a moment ago
    assert await cold.drop_older([*old[:2], *ids(1)], time.time() + 60) == 2
    assert [await cold.get(old[2])] == [b"x"]


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "x" * 22 + "/", "a" * 21 + "*"])
async def test_what_is_no_id_is_no_name(cold, name):
    with pytest.raises(CorruptError, match="not a message id"):
        await cold.get(name)
