"""The nightly self-check: once a night, by one watcher, gently, and its result is kept."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator

import msgspec
import pytest

from pipeline import keys
from pipeline.faults import StoreAwayError
from pipeline.log import Edge, Log
from pipeline.settings import Settings
from pipeline.store import Client, open_client
from projections import builds
from projections.books import Books
from projections.readers.selfcheck import CheckedView, SelfCheck, last_selfcheck
from projections.rebuild import Share
from projections.views import projections
from tests.support.examples import AT
from tests.support.histories import legal, write_log
from tests.support.servers import RedisServer
from workers.projector import Projector
from workers.selfcheck import TRIES, NightlyCheck, night_of

PARTITIONS = range(2)
VIEWS = projections(Settings())
HOUR = 3600 * 10**9


class Watcher(NightlyCheck):
    """One of several; its clock stands where the test puts it."""

    def __init__(self, redis: Client, history=None, **changes) -> None:
        self.stop = asyncio.Event()
        self.now = int(dt.datetime(2026, 11, 30, 3, 31).astimezone().timestamp()) * 10**9
        defaults = {"at": "03:30", "stop": self.stop, "clock": lambda: self.now, "share": 1.0}
        super().__init__(redis, history or Log(redis), PARTITIONS, VIEWS, **{**defaults, **changes})


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Client]:
    client = open_client(redis_server.url)
    for partition in PARTITIONS:
        await write_log(client, legal(random.Random(partition), 20, 200, partition)[0])
    projector = Projector(client, client, Log(client), PARTITIONS, VIEWS)
    await projector.catch_up()
    yield client
    await client.aclose()


async def test_every_view_is_compared_once_a_night_whatever_number_of_watchers_there_is(redis):
    watchers = [Watcher(redis) for _ in range(3)]
    assert sorted(await asyncio.gather(*(watcher.look() for watcher in watchers))) == [0, 0, 1]
    check = await last_selfcheck(redis)
    assert check is not None
    assert check.night == "2026-11-30"
    assert check.equal
    assert [view.view for view in check.views] == [view.name for view in VIEWS]
    assert all(view.events for view in check.views)
    assert await asyncio.gather(*(watcher.look() for watcher in watchers)) == [0, 0, 0]
    for watcher in watchers:
        watcher.now += 24 * HOUR
    assert sorted(await asyncio.gather(*(watcher.look() for watcher in watchers))) == [0, 0, 1]
    assert (await last_selfcheck(redis)).night == "2026-12-01"


async def test_differences_are_counted_and_the_first_twenty_named(redis):
    live, _ = await builds.live(redis, 0, Books())
    for number in range(30):
        await redis.hset(f"{live.prefix}d:example.test", f"extra{number}", 1)
    assert await Watcher(redis).look() == 1
    check = await last_selfcheck(redis)
    (books,) = [view for view in check.views if not view.equal]
    assert (books.view, books.differences, len(books.named)) == ("books", 30, 20)
    assert books.named[0] == "partition 0, d:example.test extra0: live 1, rebuilt absent"


async def test_nothing_is_compared_when_it_is_off_or_not_yet_night(redis):
    assert await Watcher(redis, at="").look() == 0
    early = Watcher(redis)
    early.now -= 2 * HOUR
    assert await early.look() == 0
    late = Watcher(redis)
    late.now += 7 * HOUR
    assert await late.look() == 0
    assert await last_selfcheck(redis) is None


@pytest.mark.parametrize(
    ("now", "at", "night"),
    [
        ("2026-11-30 03:29:59", "03:30", None),
        ("2026-11-30 03:30:00", "03:30", "2026-11-30"),
        ("2026-11-30 09:29:59", "03:30", "2026-11-30"),
        ("2026-11-30 09:30:00", "03:30", None),
        ("2026-12-01 00:30:00", "23:30", "2026-11-30"),
        ("2026-03-29 03:05:00", "02:30", "2026-03-29"),
    ],
)
def test_a_night_is_that_of_the_clock_on_the_wall(now, at, night):
    """The last one: in Europe that half past two does not exist, and the check is made all the same."""
    assert night_of(dt.datetime.fromisoformat(now), at) == night


class Dying:
    """A history that cannot be read to its end, as when the process that reads it is killed."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def page(self, *_):
        raise StoreAwayError("gone")

    async def edge(self, partition: int) -> Edge:
        return await self._log.edge(partition)


async def test_a_check_whose_watcher_dies_is_begun_again_but_not_for_ever(redis):
    for _ in range(TRIES):
        with pytest.raises(StoreAwayError):
            await Watcher(redis, Dying(Log(redis))).look()
    assert await Watcher(redis).look() == 0
    tomorrow = Watcher(redis)
    tomorrow.now += 24 * HOUR
    assert await tomorrow.look() == 1


async def test_a_view_that_there_was_no_time_for_is_said_and_comes_first_the_next_night(redis):
    watcher = Watcher(redis, budget=0.0)
    assert await watcher.look() == 1
    check = await last_selfcheck(redis)
    assert all("no time" in view.skipped for view in check.views)
    assert check.equal
    assert await left_behind(redis) == []

    half = SelfCheck(night="2026-11-29", started=AT, ended=AT, views=(*check.views[3:4], compared("queue")))
    await redis.hset(keys.SELFCHECK, "last", msgspec.msgpack.encode(half))
    assert await Watcher(redis).look() == 1
    names = [view.view for view in (await last_selfcheck(redis)).views]
    assert names[0] == check.views[3].view
    assert sorted(names) == sorted(view.name for view in VIEWS)


def compared(view: str) -> CheckedView:
    return CheckedView(view=view, events=1, seconds=1.0)


async def test_a_view_that_counts_since_events_that_are_gone_is_not_called_wrong(redis):
    live, _ = await builds.live(redis, 0, Books())
    await redis.hset(f"{live.prefix}d:example.test", "received", 10_000)
    await redis.hset(keys.archive(0), "through", 3)
    assert await Watcher(redis).look() == 1
    check = await last_selfcheck(redis)
    assert check.equal
    assert [view.view for view in check.views if "retention" in view.skipped] == ["books"]


async def test_a_watcher_that_is_told_to_stop_leaves_off_and_leaves_nothing_behind(redis):
    watcher = Watcher(redis, Waiting(Log(redis)))
    looking = asyncio.create_task(watcher.look())
    await Waiting.begun.wait()
    watcher.stop.set()
    assert await asyncio.wait_for(looking, 10) == 0
    assert await left_behind(redis) == []
    assert await last_selfcheck(redis) is None
    assert not await redis.exists(keys.SELFCHECK_LEASE)


class Waiting(Dying):
    """A history that takes its time."""

    begun = asyncio.Event()

    async def page(self, *_):
        Waiting.begun.set()
        await asyncio.Event().wait()


async def left_behind(redis: Client) -> list[bytes]:
    fields = [field for partition in PARTITIONS for field in await redis.hkeys(builds.builds_key(partition))]
    return [field for field in fields if field.startswith(b"drop:")]


async def test_a_gentle_pace_rests_for_as_long_as_its_share_asks():
    rested = []

    async def sleep(seconds: float) -> None:
        rested.append(seconds)

    clock = iter([10.0, 10.5, 20.0, 20.25, 30.0])
    pace = Share(0.2, lambda: next(clock), sleep)
    await pace.rest()
    await pace.rest()
    assert rested == [2.0, 1.0]
