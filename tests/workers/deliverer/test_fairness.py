"""One customer's dead or slow server delays nobody else's mail, and a backlog does not delay what has just come in."""

from __future__ import annotations

import asyncio
import contextlib

from pipeline.events import Deferred, Delivered, Queued, Received, RouteDeferred, Scanned
from pipeline.ids import partition_for
from pipeline.route import Resolver
from tests.support.peer import Do, Peer
from tests.support.servers import eventually, free_port
from tests.workers.conftest import DOMAIN, running
from workers.deliverer import role
from workers.deliverer.role import Deliverer

GOOD = [f"good{n}.test" for n in range(50)]
EACH, MANY = 4, 60


def delivering(wiring):
    return running(lambda stop: Deliverer(wiring, Resolver(""), stop).run())


async def send(wiring, domain, count):
    content = b"Subject: x\r\n\r\nhello\r\n"
    return await asyncio.gather(*(wiring.queued(content, f"anna@{domain}") for _ in range(count)))


async def waiting(wiring, *domains):
    return sum([len(await wiring.queue(domain)) for domain in domains])


async def books(wiring, domain):
    """How often each kind of event happened to a domain."""
    counts = dict.fromkeys((Received, Scanned, Queued, Deferred, Delivered, RouteDeferred), 0)
    for row in await wiring.log.read(partition_for(domain, 8), "0", 100_000):
        if row.event.domain == domain:
            counts[type(row.event)] += 1
    return counts


async def test_one_dead_and_one_slow_server_delay_none_of_fifty_good_ones(parts):
    go_on = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        slow = await stack.enter_async_context(Peer({"dot": [Do(wait=go_on)]}))
        peers = [await stack.enter_async_context(Peer()) for _ in range(10)]
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{free_port()}", domain="dead.test")
        await wiring.customer(f"127.0.0.1:{slow.port}", domain="slow.test")
        for number, name in enumerate(GOOD):
            await wiring.customer(f"127.0.0.1:{peers[number % 10].port}", domain=name)
        # The dead and the slow one are first in line, with the most mail.
        await send(wiring, "dead.test", MANY)
        await send(wiring, "slow.test", MANY)
        for name in GOOD:
            await send(wiring, name, EACH)
        async with delivering(wiring):

            async def good_is_through():
                return not await waiting(wiring, *GOOD)

            await eventually(good_is_through, within=30)
            # The slow server has not said a word about its first message, and the dead one has taken none.
            await slow.until(lambda: len(slow.transactions) == 1)
            assert (slow.connections, await waiting(wiring, "slow.test"), await waiting(wiring, "dead.test")) == (
                1, MANY, MANY,
            )  # fmt: skip
            go_on.set()

            async def slow_is_through():
                return not await waiting(wiring, "slow.test")

            await eventually(slow_is_through, within=30)
        for name in [*GOOD, "slow.test"]:
            counts = await books(wiring, name)
            assert counts[Received] == counts[Delivered] == (EACH if name in GOOD else MANY)
            assert (counts[Deferred], counts[RouteDeferred]) == (0, 0)
        dead = await books(wiring, "dead.test")
        assert (dead[Received], dead[Delivered], dead[Deferred], dead[RouteDeferred]) == (MANY, 0, 0, 1)
        assert await waiting(wiring, "dead.test") == MANY
        assert sum(len(peer.transactions) for peer in peers) == len(GOOD) * EACH


async def test_servers_that_let_us_wait_for_their_greeting_take_nobody_s_turn(parts, monkeypatch):
    """However many they are: who waits for a connection is counted apart from who has one."""
    monkeypatch.setattr(role, "MAX_SLOTS", 5)
    async with contextlib.AsyncExitStack() as stack:
        wiring = await parts()
        silents = []
        for number in range(20):
            silent = await stack.enter_async_context(Peer({"greeting": Do(b"", after="stall")}))
            await wiring.customer(f"127.0.0.1:{silent.port}", domain=f"silent{number}.test")
            await send(wiring, f"silent{number}.test", 1)
            silents.append(silent)
        good = await stack.enter_async_context(Peer())
        async with delivering(wiring):
            for silent in silents:
                await silent.until(lambda silent=silent: silent.connections == 1)
            for name in GOOD[:8]:
                await wiring.customer(f"127.0.0.1:{good.port}", domain=name)
                await send(wiring, name, EACH)

            async def good_is_through():
                return not await waiting(wiring, *GOOD[:8])

            await eventually(good_is_through, within=30)
        assert len(good.transactions) == 8 * EACH


async def test_fresh_mail_and_a_backlog_share_a_connection(parts):
    async with Peer() as peer:
        wiring = await parts(connections_per_server=1)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        await send(wiring, DOMAIN, 200)
        wiring.forward(3600)
        fresh = [await wiring.queued(b"Subject: fresh\r\n\r\n") for _ in range(20)]
        async with delivering(wiring):

            async def drained():
                return not await waiting(wiring, DOMAIN)

            await eventually(drained, within=30)
        assert len(peer.transactions) == 200 + len(fresh)
        places = [n for n, t in enumerate(peer.transactions) if b"Subject: fresh" in t.message]
        # One of two from the second claim on; and what waited longest was not held up for long either.
        assert len(places) == 20
        assert places[-1] <= 2 * 20 + 1
        assert places[0] >= 1
