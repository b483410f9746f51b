"""Exports out of the archive: octet for octet, and held against its seals."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline import keys
from pipeline.audit import live
from pipeline.audit.entries import Entries
from pipeline.audit.manifest import parsed
from pipeline.faults import ConfigurationError, CorruptError
from pipeline.places import DAY_MS, HOUR_MS
from pipeline.store import open_client
from tests.support.archives import DAY, Ground, P
from tests.support.exports import asked, checked, made, resealed
from tests.support.servers import RedisServer


@pytest.fixture
async def ground(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Ground]:
    """Five hours, of which all are sealed and three are in the archive only."""
    redis = open_client(redis_server.url)
    found = Ground(redis, tmp_path / "archive", size=60)
    await found.append(*range(DAY, DAY + 5 * HOUR_MS, HOUR_MS // 40))
    await found.put(DAY + 5 * HOUR_MS, {"s": "x", "v": 1, "e": b"\xff\x00"})
    yield found
    await found.close()
    await redis.aclose()


async def trimmed(ground: Ground) -> None:
    await ground.see((await ground.whole())[-1].entry)
    await ground.seal(DAY + DAY_MS)
    assert await ground.trim(DAY + 3 * HOUR_MS + HOUR_MS // 3, 1) == 3


async def all_of(entries: Entries, *words: str) -> list:
    return [entry async for batch in entries.all(P, *words) for entry in batch]


async def test_what_was_archived_is_read_back_octet_for_octet(ground):
    entries = Entries(ground.redis, ground.archive)
    before = await all_of(entries)
    await trimmed(ground)
    assert await all_of(entries) == before
    assert await all_of(entries, before[70].id, before[90].id) == before[71:91]
    with pytest.raises(ConfigurationError, match="DuckDB"):
        await all_of(Entries(ground.redis))


async def test_a_log_that_is_trimmed_while_it_is_read_is_read_whole(ground):
    entries = Entries(ground.redis, ground.archive)
    before = await all_of(entries)
    reading = entries.all(P, before[10].id)
    await trimmed(ground)
    assert [entry async for batch in reading for entry in batch] == before[11:]


async def test_an_export_is_the_same_before_and_after_the_log_was_archived(ground, tmp_path):
    before, _ = await made(ground.redis, asked(partitions=1))
    await trimmed(ground)
    data, manifest = await made(ground.redis, asked(partitions=1), archive=ground.archive)
    assert data == before
    content, _ = parsed(manifest, None)
    assert len(content.seals) == 4
    assert checked(tmp_path, data, manifest).named == []


async def test_an_event_left_out_by_one_who_makes_all_hashes_anew_is_missed_by_the_seal_of_its_segment(
    ground, tmp_path
):
    await trimmed(ground)
    data, manifest = await made(ground.redis, asked(partitions=1), archive=ground.archive)
    rows = data.splitlines(keepends=True)
    for place in range(0, len(rows), 17):
        gone = json.loads(rows[place])["entry"]
        forged, sealed_anew = resealed(rows[:place] + rows[place + 1 :], manifest)
        problems = checked(tmp_path, b"".join(forged), sealed_anew)
        assert any("sealed in" in problem.text for problem in problems.named), gone


async def test_a_segment_that_was_changed_is_no_source_for_an_export(ground):
    await trimmed(ground)
    file = ground.files(".parquet")[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptError, match="was changed"):
        await made(ground.redis, asked(partitions=1), archive=ground.archive)


async def test_what_went_to_the_archive_was_not_taken_out_of_the_log(ground):
    assert await live.taken_out(ground.redis, P) == 0
    await trimmed(ground)
    assert await live.taken_out(ground.redis, P) == 0
    await ground.redis.xdel(keys.log(P), (await ground.whole())[3].entry)
    assert await live.taken_out(ground.redis, P) == 1
