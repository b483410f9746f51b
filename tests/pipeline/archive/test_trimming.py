"""What leaves Redis is what nobody needs there, whatever was damaged and however the clock was set."""

from __future__ import annotations

import pytest

from pipeline import keys
from pipeline.history import History
from pipeline.places import DAY_MS, HOUR_MS
from projections.checkpoints import beyond
from tests.support.archives import DAY, P


@pytest.fixture
async def empty(ground):
    """All of two hours is sealed and seen, and the log is to begin three hours later."""
    await ground.append(*range(DAY, DAY + 2 * HOUR_MS, HOUR_MS // 4))
    await ground.seal(DAY + DAY_MS)
    await ground.see((await ground.whole())[-1].entry)
    assert await ground.trim(DAY + 5 * HOUR_MS) == 5
    assert await ground.whole() == []
    return ground


@pytest.mark.parametrize("known", ["nobody", "archive", "view"])
async def test_what_came_below_the_floor_after_the_clock_was_set_back_stays_as_long_as_it_is_needed(empty, known):
    before = await empty.read()
    (entry,) = await empty.append(DAY + 3 * HOUR_MS)
    if known == "archive":
        await empty.seal(DAY + DAY_MS)
    elif known == "view":
        await empty.see(entry)
    assert await empty.trim(DAY + 6 * HOUR_MS) == 5
    assert [one.entry for one in await empty.whole()] == [entry]
    assert [one.entry for one in await empty.read()] == [*(one.entry for one in before), entry]
    await empty.seal(DAY + DAY_MS)
    await empty.see(entry)
    assert await empty.trim(DAY + 6 * HOUR_MS) == 6
    assert await empty.whole() == []
    assert len(await empty.read()) == len(before) + 1


@pytest.mark.parametrize("stored", ["rubbish", "", "7", "-1 x"])
async def test_a_build_that_nobody_can_tell_has_seen_nothing(ground, stored):
    await ground.append(*range(DAY, DAY + 4 * HOUR_MS, HOUR_MS))
    await ground.seal(DAY + DAY_MS)
    await ground.see(f"{DAY + 3 * HOUR_MS}-0")
    await ground.redis.hset(keys.builds(P), "live:books", stored)
    await ground.trim(DAY + 3 * HOUR_MS)
    assert len(await ground.whole()) == 4


async def test_where_nothing_comes_any_more_nothing_is_missed(empty):
    last = (await empty.read())[-1].entry
    assert await empty.log.last_entry(P) == last
    assert await beyond(empty.redis, P) == []
    bare = History(empty.log)
    assert await bare.read(P, last, 10) == []
    edge = await bare.edge(P)
    assert (edge.hides("0"), edge.hides(last), edge.took(last), edge.took(f"{DAY + 5 * HOUR_MS}-0")) == (
        True,
        False,
        True,
        False,
    )


async def test_who_follows_a_log_that_is_quiet_does_not_ask_the_archive(empty, monkeypatch):
    last = (await empty.read())[-1].entry

    async def asked(*_):
        raise AssertionError("the archive was asked")

    monkeypatch.setattr(empty.archive, "page", asked)
    for _ in range(3):
        assert await empty.history.read(P, last, 10) == []
