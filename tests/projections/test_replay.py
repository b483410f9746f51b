"""A view rebuilt from the first event is the live one, and when it is not, the difference is named."""

from __future__ import annotations

import random

import pytest

from pipeline.faults import ConflictError
from pipeline.ids import new_id
from pipeline.log import Damaged, Log
from projections import builds
from projections.base import Portion, View, advance, position
from projections.books import Books
from projections.failures import Failures
from projections.quarantine import Quarantine
from projections.queue import Queue
from projections.replay import replay
from tests.support.examples import AT, received
from tests.support.histories import legal, recorded, write_log

PROJECTIONS = [Queue(), Failures(7), Books(), Quarantine()]


async def project(redis, log: Log, projection, partition: int = 0, count: int = 7) -> View:
    """Fold all there is, in small batches."""
    view, _ = await builds.to_fold(redis, partition, projection)
    while entries := await log.read(partition, await position(redis, view), count):
        assert await advance(redis, [Portion([view], await position(redis, view), entries)]) == [True]
    return view


@pytest.fixture
async def history(redis) -> None:
    for partition in range(2):
        events, _ = legal(random.Random(partition), messages=30, steps=150, partition=partition)
        await write_log(redis, [*events, Damaged(partition, "", "lost", "")])


async def leftovers(redis, live: list[View]) -> list[bytes]:
    """Keys of views that belong to none of `live`."""
    prefixes = tuple(view.prefix.encode() for view in live)
    return [
        key for key in await redis.keys("gp:*:view:*") if not key.startswith(prefixes) and not key.endswith(b":builds")
    ]


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda one: one.name)
async def test_a_rebuilt_view_is_equal_and_leaves_nothing_behind(redis, log, projection):
    live = [await project(redis, log, projection, partition) for partition in range(2)]
    told = []
    report = await replay(redis, log, range(3), projection, now=AT, progress=told.append)
    assert (report.equal, report.count, report.differences, report.mended) == (True, 0, (), False)
    assert (
        report.events == told[-1].events == sum([await redis.xlen(f"gp:{{{partition}}}:log") for partition in range(2)])
    )
    assert await leftovers(redis, live) == []
    assert not [field for field in await redis.hgetall("gp:{0}:view:builds") if field.startswith(b"drop:")]


@pytest.mark.usefixtures("history")
async def test_each_difference_is_named(redis, log):
    view = await project(redis, log, Books())
    await redis.hset(view.prefix + "d:example.test", "received", 4711)
    await redis.hset(view.prefix + "d:example.test", "extra", 1)
    await redis.hdel(view.prefix + "d:b.example.test", "received")
    report = await replay(redis, log, [0], Books(), now=AT)
    named = {(one.key, one.field): (one.live, one.rebuilt) for one in report.differences}
    assert named.keys() == {
        ("d:example.test", "received"),
        ("d:example.test", "extra"),
        ("d:b.example.test", "received"),
    }
    assert named["d:example.test", "received"][0] == "4711"
    assert named["d:example.test", "extra"] == ("1", "absent")
    assert named["d:b.example.test", "received"][0] == "absent"
    assert report.count == 3


@pytest.mark.usefixtures("history")
async def test_differences_in_sorted_sets_lists_and_types_are_named(redis, log):
    queue = await project(redis, log, Queue())
    names = sorted(name.decode() for name in await redis.smembers(queue.prefix + "keys"))
    since = next(name for name in names if name.startswith("since:"))
    await redis.zadd(queue.prefix + since, {"nobody": 5})
    wrong = next(name for name in names if name.startswith("route:"))
    await redis.delete(queue.prefix + wrong)
    await redis.zadd(queue.prefix + wrong, {"x": 1})
    found = {(one.key, one.field): one.live for one in (await replay(redis, log, [0], Queue(), now=AT)).differences}
    assert found == {(since, "nobody"): "5", (wrong, ""): "a zset"}

    failures = await project(redis, log, Failures(7))
    key = "f:example.test"
    await redis.lpop(failures.prefix + key)
    (difference,) = (await replay(redis, log, [0], Failures(7), now=AT)).differences
    assert difference.key == key
    assert "entries, the newest {" in difference.rebuilt


@pytest.mark.usefixtures("history")
async def test_a_damaged_view_is_mended_by_the_rebuilt_one(redis, log):
    view = await project(redis, log, Books())
    await redis.hset(view.prefix + "d:example.test", "received", 4711)
    report = await replay(redis, log, [0], Books(), now=AT, mend=True)
    assert (report.count, report.mended) == (1, True)
    live = await builds.live(redis, 0, Books())
    assert live is not None
    assert live[0].build != view.build
    assert (await replay(redis, log, [0], Books(), now=AT)).equal
    assert await builds.drop_dead(redis, 0, AT + builds.LINGER_MS * 1_000_000) == 1
    assert await leftovers(redis, [live[0]]) == []
    assert await advance(redis, [Portion([view], "1-1", recorded([("x", received())]))]) == [False]


class Moving:
    """A log at whose end something new is folded into the live view each time it is read."""

    def __init__(self, log: Log, redis, projection) -> None:
        self._log, self._redis, self._projection = log, redis, projection
        self.reads = 0

    async def page(self, partition, after, count, until=None, kinds=None):
        self.reads += 1
        if self.reads < 40:
            new = recorded([(new_id(AT, partition, 10**6 + self.reads), received(size=self.reads))], partition)
            await write_log(self._redis, new)
            await project(self._redis, self._log, self._projection, partition)
        return await self._log.page(partition, after, count, until, kinds)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda one: one.name)
@pytest.mark.parametrize("mend", [False, True])
async def test_a_view_that_moves_on_meanwhile_is_still_equal(redis, log, projection, mend):
    await project(redis, log, projection)
    moving = Moving(log, redis, projection)
    report = await replay(redis, moving, [0], projection, now=AT, mend=mend)
    assert report.equal, report.differences
    assert moving.reads > 1


@pytest.mark.usefixtures("history")
async def test_a_view_that_moves_on_meanwhile_is_replaced_without_a_gap(redis, log):
    view = await project(redis, log, Queue())
    await redis.hset(view.prefix + "d:example.test", "messages", 4711)
    report = await replay(redis, Moving(log, redis, Queue()), [0], Queue(), now=AT, mend=True)
    assert report.mended
    await project(redis, log, Queue())
    assert (await replay(redis, log, [0], Queue(), now=AT)).equal


@pytest.mark.usefixtures("history")
async def test_a_log_that_lacks_what_the_view_has_seen_is_a_fault_and_leaves_nothing_behind(redis, log):
    view = await project(redis, log, Books())
    await redis.xtrim("gp:{0}:log", maxlen=0)
    with pytest.raises(ConflictError):
        await replay(redis, log, [0], Books(), now=AT)
    assert await leftovers(redis, [view]) == []


@pytest.mark.usefixtures("history")
async def test_what_a_crashed_replay_left_behind_goes_a_quarter_of_an_hour_later(redis, log):
    view = await project(redis, log, Books())
    crashed = await builds.temporary(redis, 0, Books(), AT)
    await advance(redis, [Portion([crashed], "0", await log.read(0, "0", 50))])
    assert await builds.drop_dead(redis, 0, AT) == 0
    await replay(redis, log, [0], Books(), now=AT + builds.ALIVE_MS * 1_000_000)
    assert await leftovers(redis, [view]) == []
    assert (await replay(redis, log, [0], Books(), now=AT)).equal


async def test_there_is_nothing_to_replay_where_there_is_no_view(redis, log):
    report = await replay(redis, log, range(8), Books(), now=AT)
    assert (report.equal, report.events, await redis.keys("*")) == (True, 0, [])
