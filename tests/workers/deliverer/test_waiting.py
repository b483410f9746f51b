"""What a dead server costs while mail waits for it, by a clock that the test moves: one connection and one event per interval."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pipeline import keys
from pipeline.directory import Address, Domain
from pipeline.events import Failed, RouteDeferred
from pipeline.route import Resolver
from pipeline.steps import MS
from tests.support.peer import Peer
from tests.support.servers import eventually
from tests.workers.conftest import DOMAIN, PARTITION
from workers.deliverer.role import Deliverer
from workers.janitor import Janitor

INTERVAL, WEEK = 900, 7 * 86400
JITTER = INTERVAL / 60
AWAY = {"greeting": b"421 4.3.2 not now"}


class Time:
    """The deliverer's: it moves to the domain's next attempt, and no further."""

    def __init__(self, wiring, deliverer):
        self.wiring = wiring
        self.deliverer = deliverer

    async def after(self, tries):
        """Wait until so many attempts have been made, and nothing is in hand."""

        async def made():
            route = await self.wiring.schedule.route(PARTITION, DOMAIN)
            return route.tries == tries and not await self.wiring.store.redis.zcard(keys.slots(PARTITION, DOMAIN))

        await eventually(made, within=30)

    async def to_the_next_attempt(self):
        """Its distance, in seconds."""
        route = await self.wiring.schedule.route(PARTITION, DOMAIN)
        away = (route.next_try - self.wiring.clock()) / 1e9
        self.wiring.forward(away + 0.001)
        self.deliverer.look_at(PARTITION, DOMAIN)
        return away


@contextlib.asynccontextmanager
async def delivering(wiring):
    stop = asyncio.Event()
    deliverer = Deliverer(wiring, Resolver(""), stop)
    task = asyncio.create_task(deliverer.run())
    try:
        yield Time(wiring, deliverer)
    finally:
        stop.set()
        await task


async def many(wiring, count):
    ids = []
    for start in range(0, count, 500):
        ids += await asyncio.gather(*(wiring.queued() for _ in range(start, min(count, start + 500))))
    return ids


async def log_length(wiring):
    return await wiring.store.redis.xlen(keys.log(PARTITION))


async def test_a_week_at_a_dead_server_is_some_670_connections_and_as_many_events_and_then_mail_is_returned(parts):
    async with Peer(AWAY) as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        born = wiring.clock()
        ids = await many(wiring, 20)
        before = await log_length(wiring)
        tries, distances = 0, []
        async with delivering(wiring) as time:
            while wiring.clock() < born + WEEK * 10**9:
                tries += 1
                await time.after(tries)
                assert peer.connections == tries
                distances.append(await time.to_the_next_attempt())
            # The last move went beyond the week: what was due then is tried, or not, before the mail ends.
            await time.after(tries + 1)
        assert WEEK // (INTERVAL + JITTER) <= tries <= WEEK / INTERVAL + 1
        assert await log_length(wiring) == before + tries + 1
        assert all(INTERVAL - 5 < distance <= INTERVAL + JITTER for distance in distances)
        janitor = Janitor(wiring)
        assert await janitor.expire() == len(ids)
        for message_id in ids:
            failed = await last(wiring, message_id)
            assert isinstance(failed, Failed)
            assert (failed.reason, failed.tries, failed.attempt.reply) == ("expired", 0, "421 4.3.2 not now")


async def last(wiring, message_id):
    rows = [row.event async for row in wiring.log.history(message_id) if row.subject == message_id]
    return rows[-1]


async def test_ten_thousand_messages_for_a_dead_server_cost_one_connection_and_one_event_per_interval(parts):
    async with Peer(AWAY) as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        await many(wiring, 10_000)
        assert len(await wiring.queue()) == 10_000
        before = await log_length(wiring)
        async with delivering(wiring) as time:
            for tries in range(1, 6):
                await time.after(tries)
                assert peer.connections == tries
                assert await log_length(wiring) == before + tries
                await time.to_the_next_attempt()
            await time.after(6)
        rows = await wiring.log.read(PARTITION, "0", 100_000)
        assert sum(isinstance(row.event, RouteDeferred) for row in rows) == 6
        assert len(await wiring.queue()) == 10_000


@pytest.mark.parametrize("parent", [False, True])
async def test_a_domain_s_own_interval_and_lifetime_hold_or_its_parent_s(parts, parent):
    async with Peer(AWAY) as peer:
        wiring = await parts()
        own = {"route": (f"127.0.0.1:{peer.port}",), "retry_interval": 60 * 10**9, "queue_lifetime": 3600 * 10**9}
        top = Domain(name="top.test" if parent else DOMAIN, **own)
        await wiring.directory.set_domain(top, by="test", now=1)
        if parent:
            await wiring.directory.set_domain(Domain(name=DOMAIN, parent="top.test"), by="test", now=1)
        await wiring.directory.set_addresses({DOMAIN: [Address(local="anna")]}, by="test", now=1)
        born = wiring.clock()
        message_id = await wiring.queued()
        head = await wiring.head(message_id)
        assert 3600 <= (head.expires - born) / 1e9 < 3610
        async with delivering(wiring) as time:
            for tries in (1, 2, 3):
                await time.after(tries)
                assert 55 < await time.to_the_next_attempt() <= 61
            await time.after(4)


async def test_what_waits_alone_waits_as_long_as_its_domain_says(parts):
    async with Peer({"rcpt": [b"450 4.2.0 greylisted"]}) as peer:
        wiring = await parts()
        own = Domain(name=DOMAIN, route=(f"127.0.0.1:{peer.port}",), retry_interval=60 * 10**9)
        await wiring.directory.set_domain(own, by="test", now=1)
        message_id = await wiring.queued()
        async with delivering(wiring):

            async def deferred():
                return "Deferred" in await wiring.kinds(message_id)

            await eventually(deferred)
        head = await wiring.head(message_id)
        assert 50 < (head.next_try - wiring.clock()) / 1e9 <= 61
        assert await wiring.store.redis.zscore(keys.queue(PARTITION, DOMAIN), message_id) == head.next_try // MS
