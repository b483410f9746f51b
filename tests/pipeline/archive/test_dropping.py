"""Retention takes whole days from the beginning, and the chain says so."""

from __future__ import annotations

import shutil

import pytest

from pipeline.archive import dropping
from pipeline.archive.chain import Head
from pipeline.archive.dropping import drop, first_kept
from pipeline.archive.verify import verify
from pipeline.events import Dropped
from pipeline.faults import CorruptError, RefusedError
from pipeline.places import DAY_MS
from tests.support.archives import DAY, P


@pytest.fixture
async def days(ground):
    """Five days of two segments each, all of it out of Redis but the last entry."""
    ground.writer._size = 20
    for day in range(5):
        await ground.append(*range(DAY + day * DAY_MS, DAY + day * DAY_MS + 40))
    await ground.append(DAY + 5 * DAY_MS)
    await ground.see(f"{DAY + 5 * DAY_MS}-0")
    await ground.seal(DAY + 5 * DAY_MS)
    await ground.trim(DAY + 5 * DAY_MS)
    return ground


def dropping_before(ground, day):
    return drop(ground.redis, ground.archive, ground.log, P, day, now=(DAY + 6 * DAY_MS) * 1_000_000, by="test")


async def faults(ground):
    (found,) = await verify(ground.fresh(), [P])
    return [fault.what for fault in found.faults]


async def test_days_go_and_what_is_left_is_whole(days):
    entries = await days.read()
    assert await dropping_before(days, "2024-10-04") is None
    dropped = await dropping_before(days, "2024-10-06")
    assert (dropped.start, dropped.end, dropped.segments, dropped.entries) == ("2024-10-04", "2024-10-05", 4, 80)
    left = await days.read()
    assert left[:-1] == entries[80:]
    event = left[-1].event
    assert isinstance(event, Dropped)
    assert (event.start, event.end, event.events, event.segments, event.by) == (
        "2024-10-04",
        "2024-10-05",
        80,
        4,
        "test",
    )
    assert left[-1].subject == "!archive"
    assert await days.archive.first(P) == f"{DAY + 2 * DAY_MS}-0"
    assert await days.archive.chain.days() == ("2024-10-06", "2024-10-07", "2024-10-08")
    assert await faults(days) == []
    at = await days.archive.chain.head(P)
    assert (at.count, at.octets) == (120, sum(path.stat().st_size for path in days.files(".parquet")))


async def test_the_chain_goes_on_when_everything_was_dropped(days):
    await dropping_before(days, "2024-10-05")
    await dropping_before(days, "2024-10-09")
    assert await days.archive.first(P) == ""
    assert await days.archive.read(P, "0", 10) == []
    await days.append(DAY + 800 * DAY_MS)
    sealed = await days.seal(DAY + 801 * DAY_MS)
    assert [seal.number for seal in sealed] == [11, 12, 13]
    assert await days.archive.first(P) == sealed[0].first == f"{DAY + 5 * DAY_MS}-0"
    assert await faults(days) == []


async def test_a_day_that_is_gone_without_a_link_is_a_fault(days):
    await dropping_before(days, "2024-10-05")
    shutil.rmtree(days.root / "2024-10-05")
    assert await faults(days) == ["is missing", "is missing"]


async def test_a_link_that_redis_does_not_know_takes_nothing_away(days):
    await dropping_before(days, "2024-10-05")
    (link,) = days.files("dropped/p0/00000002.json")
    link.write_bytes(link.read_bytes().replace(b"2024-10-04", b"2024-10-03"))
    assert any("was changed" in what for what in await faults(days))
    link.unlink()
    assert (await faults(days))[0].startswith("the link that says what retention took away is missing")


async def test_what_is_still_in_redis_is_not_dropped(days):
    with pytest.raises(RefusedError, match="still in Redis from 2024-10-09"):
        await dropping_before(days, "2024-10-10")


@pytest.mark.parametrize("step", ["put_octets", "_step", "sweep"])
async def test_a_crash_while_days_are_dropped_leaves_all_or_nothing(days, monkeypatch, step):
    entries = await days.read()

    def dies(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(dropping, step, dies)
        await dropping_before(days, "2024-10-06")
    assert await faults(days) == []
    left = [one for one in await days.read() if not isinstance(getattr(one, "event", None), Dropped)]
    assert left == (entries[80:] if step == "sweep" else entries)
    await dropping_before(days, "2024-10-06")
    await dropping.sweep(days.archive, P)
    assert await faults(days) == []
    assert len(days.files(".parquet")) == 6
    assert [type(one.event) for one in await days.whole()].count(Dropped) == 1


async def test_two_that_drop_at_once_drop_once(days):
    at = await days.archive.chain.head(P)
    await dropping_before(days, "2024-10-05")
    assert (await days.archive.chain.head(P)).through == at.through + 2
    assert await dropping_before(days, "2024-10-05") is None


def test_retention_is_counted_in_whole_days():
    at = Head(number=3, first=f"{DAY + 5}-0")
    assert first_kept(at, DAY + 400 * DAY_MS, 400 * DAY_MS) == ""
    assert first_kept(at, DAY + 401 * DAY_MS - 1, 400 * DAY_MS) == ""
    assert first_kept(at, DAY + 401 * DAY_MS, 400 * DAY_MS) == "2024-10-05"
    assert first_kept(at, DAY + 401 * DAY_MS, 0) == ""
    assert first_kept(Head(), DAY, 1) == ""


async def test_a_reading_under_way_says_when_its_days_were_dropped(days):
    first = await days.archive.read(P, "0", 5)
    await dropping_before(days, "2024-10-06")
    with pytest.raises(CorruptError, match="missing"):
        await days.archive.read(P, first[-1].entry, 1000)
