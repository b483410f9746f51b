"""Views out of the archive and the log: rebuilt they are the live ones, and as of a moment they are what they were then."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline import keys
from pipeline.archive.trimming import trim
from pipeline.events import Recorded, encode
from pipeline.places import HOUR_MS
from pipeline.settings import Settings
from pipeline.store import Client, open_client
from projections import builds
from projections.base import START, Portion, View, advance, position
from projections.compare import differences
from projections.moment import fold_until, last_entry, source, temporary_builds
from projections.queue import Queue
from projections.readers import read_queue
from projections.replay import replay
from projections.views import projections
from tests.support.archives import DAY, Ground, P
from tests.support.examples import AT
from tests.support.histories import legal
from tests.support.servers import RedisServer

VIEWS = projections(Settings())
HOURS = 6
STEPS = 40
"""In each hour."""


class Life:
    """Six hours of mail: four are in the archive only, and the log holds the others."""

    def __init__(self, ground: Ground, events: list[Recorded]) -> None:
        self.ground = ground
        self.events = events
        """As they stand in the log."""

    @property
    def redis(self) -> Client:
        return self.ground.redis


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Client]:
    """A real one: it is trimmed in the way that only a real one can be."""
    client = open_client(redis_server.url)
    yield client
    await client.aclose()


@pytest.fixture
async def life(redis: Client, tmp_path: Path) -> AsyncIterator[Life]:
    pytest.importorskip("duckdb")
    ground = Ground(redis, tmp_path)
    made, _ = legal(random.Random(5), 60, HOURS * STEPS, P)
    events = []
    for number, one in enumerate(made):
        ms = DAY + number * HOURS * HOUR_MS // len(made)
        fields = {"s": one.subject, "v": one.version, "e": encode(one.event)}
        events.append(Recorded(P, await ground.put(ms, fields), one.subject, one.version, one.event))
    for view in VIEWS:
        live, _ = await builds.to_fold(redis, P, view)
        assert await advance(redis, [Portion([live], START, events)]) == [True]
    yield Life(ground, events)
    await ground.close()


async def shorten(life: Life) -> None:
    await life.ground.seal(DAY + 7 * HOUR_MS, urgent=DAY + 5 * HOUR_MS)
    floor, taken = await trim(life.redis, P, DAY + 4 * HOUR_MS)
    assert floor == DAY + 4 * HOUR_MS
    assert taken
    assert await life.redis.xlen(keys.log(P)) < len(life.events) / 2


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
async def test_a_view_is_rebuilt_from_archive_and_log_and_an_index_from_the_log_alone(life, view):
    await shorten(life)
    report = await replay(life.redis, life.ground.history, [P], view, now=AT)
    assert report.differences == ()
    assert not report.gone
    in_log = await life.redis.xlen(keys.log(P))
    assert report.events == (in_log if view.hot else len(life.events))


class Trimming:
    """A history that is trimmed while it is read."""

    def __init__(self, life: Life) -> None:
        self.log = self
        self._life = life
        self._done = False

    async def page(self, partition, after, count, until=None, kinds=None):
        page = await self._life.ground.log.page(partition, after, min(count, 150), until, kinds)
        if not self._done:
            self._done = True
            await shorten(self._life)
        return page


@pytest.mark.parametrize("view", [view for view in VIEWS if view.hot], ids=lambda view: view.name)
async def test_an_index_that_is_cut_while_it_is_rebuilt_has_no_difference(life, view):
    report = await replay(life.redis, Trimming(life), [P], view, now=AT)
    assert report.differences == ()
    assert report.events > await life.redis.xlen(keys.log(P))


@pytest.mark.parametrize("view", [view for view in VIEWS if not view.hot], ids=lambda view: view.name)
@pytest.mark.parametrize("hours", [0, 2, 5, 100])
async def test_as_of_a_moment_a_view_is_what_the_events_until_then_make_of_it(life, view, hours):
    await shorten(life)
    moment = (DAY + hours * HOUR_MS + 30) * 1_000_000
    past = [one for one in life.events if int(one.entry.partition("-")[0]) <= moment // 1_000_000]
    expected = View(P, view, 4711)
    assert await advance(life.redis, [Portion([expected], START, past)]) == [True]

    async def still(_: str) -> None:
        """Nothing moves."""

    async with temporary_builds(life.redis, [P], view, AT) as made:
        # Within a segment it is not known how many entries of other kinds were passed over.
        assert await fold_until(life.redis, life.ground.history, made, moment, now=AT) <= len(past)
        found = [one async for one in differences(life.redis, expected, made[0], still)]
        assert found == []
    assert await position(life.redis, made[0]) == START


async def test_readers_see_the_view_as_of_the_moment_and_the_live_one_beside_it(life):
    await shorten(life)
    live = await read_queue(life.redis, 1)
    async with temporary_builds(life.redis, [P], Queue(), AT) as made:
        await fold_until(
            life.redis, life.ground.history, made, (DAY + HOUR_MS) * 1_000_000, now=AT, domain="third.test"
        )
        seen = await read_queue(source(life.redis, made), 1)
        assert {one.domain for one in seen.domains} == {"third.test"}
        assert await read_queue(life.redis, 1) == live


def test_a_moment_takes_in_all_of_its_millisecond():
    assert last_entry(1_795_000_000_123_999_999) == "1795000000123-18446744073709551615"
