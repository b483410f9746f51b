"""The projector through crashes, takeovers, outages and changes of version: every event counts once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import zip_longest

import pytest
from structlog.testing import capture_logs

from bench.traffic import Traffic
from pipeline.events import Recorded
from pipeline.faults import StoreAwayError, StoreFullError
from pipeline.log import Damaged, Log
from pipeline.state import Message
from pipeline.store import Client, open_client
from projections import builds
from projections.base import OWN, Projection
from projections.books import Books
from projections.failures import Failures
from projections.outbound import Outbound
from projections.quarantine import Quarantine
from projections.queue import Queue
from projections.readers import check_books, read_books, read_failures, read_health
from projections.replay import replay
from projections.trace import Trace
from tests.support.examples import AT
from tests.support.histories import DOMAINS, legal, write_log
from tests.support.servers import RedisServer, eventually
from workers.projector import Projector, lease_key

PARTITIONS = 3
VIEWS: tuple[Projection, ...] = (Queue(), Failures(7), Books(), Quarantine(), Trace(), Outbound())
NAMES = [view.name for view in VIEWS]


class Bench:
    """A Redis, and projectors on it that are started and stopped at will."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.redis: Client = open_client(url)
        self.log = Log(self.redis)
        self._clients: list[Client] = [self.redis]

    def projector(self, views: tuple[Projection, ...] = VIEWS, lease: float = 0.5) -> Projector:
        clients = open_client(self.url), open_client(self.url)
        self._clients += clients
        return Projector(*clients, self.log, range(PARTITIONS), views, lease=lease)

    @contextlib.asynccontextmanager
    async def running(self, projector: Projector) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(projector.run(stop))
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, 10)

    async def caught_up(self) -> bool:
        try:
            return not any(one.behind for one in await read_health(self.redis, self.log, PARTITIONS, NAMES, 2**62))
        except StoreAwayError:
            return False

    async def equal(self) -> bool:
        reports = [await replay(self.redis, self.log, range(PARTITIONS), view, now=AT) for view in VIEWS]
        assert [difference for report in reports for difference in report.differences] == []
        return all(report.events for report in reports)

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


@pytest.fixture
async def bench(redis_server: RedisServer) -> AsyncIterator[Bench]:
    made = Bench(redis_server.url)
    yield made
    await made.close()


@pytest.fixture
async def own_bench(own_redis: RedisServer) -> AsyncIterator[Bench]:
    made = Bench(own_redis.url)
    yield made
    await made.close()


def history(seed: int = 1, steps: int = 300) -> tuple[list, dict[str, Message]]:
    """Legal events of all partitions, and the messages at their end."""
    events, messages = [], {}
    for partition in range(PARTITIONS):
        mine, live = legal(random.Random(seed + partition), 30, steps, partition)
        events += mine
        messages |= live
    return events, messages


async def test_what_is_appended_shows_in_all_views_within_two_seconds(bench):
    async with bench.running(bench.projector()):
        await write_log(bench.redis, history()[0])
        await eventually(bench.caught_up, within=2, what="the views' catching up")
        await write_log(bench.redis, history(9)[0])
        await eventually(bench.caught_up, within=2, what="the views' catching up again")
    assert await bench.equal()


async def test_a_stop_gives_the_leases_back(bench):
    async with bench.running(bench.projector()):
        await eventually(lambda: bench.redis.exists(lease_key(2)), what="the lease")
    assert await bench.redis.exists(*map(lease_key, range(PARTITIONS))) == 0


async def test_only_one_projector_folds_a_partition_and_another_takes_over_when_it_dies(bench):
    first, second = bench.projector(lease=60), bench.projector()
    dying = asyncio.create_task(first.run(asyncio.Event()))
    await eventually(lambda: held(first, PARTITIONS), what="the first one's leases")
    async with bench.running(second):
        await write_log(bench.redis, history()[0])
        await eventually(bench.caught_up)
        assert not second.held
        dying.cancel()
        await asyncio.wait([dying])
        await write_log(bench.redis, history(9)[0])
        assert not second.held
        for partition in range(PARTITIONS):
            assert 0 < await bench.redis.pttl(lease_key(partition)) <= 60_000
            await bench.redis.pexpire(lease_key(partition), 1)
        await eventually(bench.caught_up)
        assert len(second.held) == PARTITIONS
    assert await bench.equal()


async def held(projector: Projector, count: int) -> bool:
    return len(projector.held) == count


async def test_two_projectors_that_both_believe_to_hold_a_partition_count_every_event_once(bench):
    first, second = bench.projector(), bench.projector()
    for projector in (first, second):
        await projector.renew()
        await bench.redis.delete(*map(lease_key, range(PARTITIONS)))
    for seed in range(4):
        await write_log(bench.redis, history(seed * 10)[0])
        await asyncio.gather(first.fold(), second.fold())
    while await first.fold() or await second.fold():
        pass
    assert await bench.caught_up()
    assert await bench.equal()


async def test_a_projector_killed_at_any_moment_counts_every_event_once(bench):
    events, messages = history(steps=600)
    rng = random.Random(3)
    chunks = [events[start : start + 60] for start in range(0, len(events), 60)]
    for chunk in chunks:
        await write_log(bench.redis, chunk)
        task = asyncio.create_task(bench.projector().catch_up())
        for _ in range(rng.randrange(60)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await bench.projector().catch_up()
    assert await bench.caught_up()
    assert await bench.equal()
    await agree(bench, messages)


async def agree(bench: Bench, messages: dict[str, Message]) -> None:
    """The books know all recipients, and each where the message says."""

    class Heads:
        async def live(self, partition: int) -> AsyncIterator[Message]:
            for name, message in messages.items():
                if message.live and name.endswith(f"{partition:02}"):
                    yield message

        async def read(self, message_ids: Sequence[str]) -> list[Message]:
            return [messages[name] for name in message_ids if name in messages and messages[name].live]

    assert await check_books(bench.redis, PARTITIONS, Heads()) == []
    assert len(messages) > 50


async def test_a_redis_that_dies_and_returns_is_waited_for_and_told_of_once(own_bench, own_redis):
    with capture_logs() as lines:
        async with own_bench.running(own_bench.projector()):
            await write_log(own_bench.redis, history()[0])
            await eventually(own_bench.caught_up)
            own_redis.kill()
            await eventually(said(lines, "views stand still"))
            own_redis.start()
            await eventually(lambda: answers(own_bench.redis))
            await write_log(own_bench.redis, history(9)[0])
            await eventually(own_bench.caught_up, within=20)
            await eventually(said(lines, "redis is back"))
    assert [line["event"] for line in lines].count("views stand still") == 1
    assert await own_bench.equal()


def said(lines: list, event: str) -> Callable:
    async def condition() -> bool:
        return any(line["event"] == event for line in lines)

    return condition


async def answers(redis: Client) -> bool:
    with contextlib.suppress(Exception):
        return bool(await redis.ping())
    return False


async def test_a_redis_that_was_emptied_is_folded_from_its_first_event(bench):
    async with bench.running(bench.projector()):
        await write_log(bench.redis, history()[0])
        await eventually(bench.caught_up)
        await bench.redis.flushall()
        await write_log(bench.redis, history(9)[0])
        await eventually(bench.caught_up)
    assert await bench.equal()


async def test_damaged_entries_are_counted_and_passed_by(bench):
    events, _ = history()
    damaged = [Damaged(partition, "", "lost", "") for partition in range(PARTITIONS)]
    await write_log(bench.redis, [*events[:100], *damaged, *events[100:]])
    await bench.projector().catch_up()
    health = await read_health(bench.redis, bench.log, PARTITIONS, NAMES, 2**62)
    assert {(one.behind, one.damaged, one.broken) for one in health} == {(0, 1, 0)}
    assert await bench.equal()


async def test_a_changed_version_is_built_beside_the_old_one_and_takes_its_place(bench):
    await write_log(bench.redis, history(steps=2500)[0])
    await bench.projector().catch_up()
    before = await builds.live_prefixes(bench.redis, range(PARTITIONS), "failures")
    shown = await read_failures(bench.redis, PARTITIONS)

    changed = bench.projector((Queue(), Failures(40), Books()))
    for partition in range(PARTITIONS):
        await changed._reopen(partition)
    assert await read_failures(bench.redis, PARTITIONS) == shown
    async with bench.running(changed):
        await eventually(lambda: switched(bench, before))
    for partition, prefix in before.items():
        assert await builds.drop_dead(bench.redis, partition, changed._clock() + builds.LINGER_MS * 1_000_000) == 1
        assert await bench.redis.keys(prefix + "*") == []
    report = await replay(bench.redis, bench.log, range(PARTITIONS), Failures(40), now=AT)
    assert report.equal


def traffic(messages: int) -> list[Recorded]:
    """What so many messages of each partition say, the partitions in turn."""
    streams = [
        [
            Recorded(partition, "", subject, version, event)
            for subject, version, event in Traffic(partition).events(messages)
        ]
        for partition in range(PARTITIONS)
    ]
    return [one for row in zip_longest(*streams) for one in row if one is not None]


class Changed(Books):
    """Books of another version, which say the same."""

    version = "changed"


async def test_a_version_that_changes_under_load_leaves_no_reader_with_less_than_before(bench):
    """What is received only grows, so whoever sees less of it saw a view that was not there, or not whole."""
    events = traffic(3000)
    before, meanwhile = events[:9000], events[9000:]
    await write_log(bench.redis, before)
    await bench.projector((Books(),)).catch_up()
    seen = [(await read_books(bench.redis, PARTITIONS)).total.received]
    over = asyncio.Event()

    async def load() -> None:
        for start in range(0, len(meanwhile), 100):
            await write_log(bench.redis, meanwhile[start : start + 100])
            await asyncio.sleep(0)

    async def read() -> None:
        while not over.is_set():
            report = await read_books(bench.redis, PARTITIONS)
            seen.append(report.total.received)
            assert report.balanced

    reading = asyncio.create_task(read())
    live = await builds.live_prefixes(bench.redis, range(PARTITIONS), "books")
    async with bench.running(bench.projector((Changed(),))):
        await load()
        await eventually(lambda: switched(bench, live, "books"))
        await eventually(lambda: up_to_date(bench))
    over.set()
    await reading
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
    assert (await replay(bench.redis, bench.log, range(PARTITIONS), Changed(), now=AT)).equal


async def up_to_date(bench: Bench) -> bool:
    return not any(one.behind for one in await read_health(bench.redis, bench.log, PARTITIONS, ["books"], 2**62))


async def test_what_somebody_left_behind_who_was_killed_is_removed_after_a_while(bench):
    projector = bench.projector()
    now = projector._clock()
    await builds.temporary(bench.redis, 1, Queue(), now)
    await projector.renew()
    assert any(field.startswith(b"drop:") for field in await bench.redis.hkeys(builds.builds_key(1)))
    later = bench.projector()
    later._clock = lambda: now + builds.ALIVE_MS * 1_000_000
    later._token = projector._token
    await later.renew()
    assert not any(field.startswith(b"drop:") for field in await bench.redis.hkeys(builds.builds_key(1)))


async def switched(bench: Bench, before: dict[int, str], view: str = "failures") -> bool:
    now = await builds.live_prefixes(bench.redis, range(PARTITIONS), view)
    return all(now[partition] != prefix for partition, prefix in before.items())


async def test_a_full_redis_leaves_the_views_as_they_are_and_is_waited_for(own_bench, own_redis):
    events, _ = history()
    await write_log(own_bench.redis, events[:450])
    await own_bench.projector().catch_up()
    await write_log(own_bench.redis, events[450:])
    own_redis.command("CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(StoreFullError):
        await own_bench.projector().catch_up()
    with capture_logs() as lines:
        async with own_bench.running(own_bench.projector()):
            await eventually(said(lines, "views stand still"))
            own_redis.command("CONFIG", "SET", "maxmemory", "0")
            await eventually(own_bench.caught_up)
    assert await own_bench.equal()


async def test_the_books_of_a_long_history_balance(bench):
    await write_log(bench.redis, history(steps=2500)[0])
    await bench.projector().catch_up()
    report = await read_books(bench.redis, PARTITIONS)
    assert report.balanced
    assert {one.domain for one in report.domains} - {OWN} == set(DOMAINS)
