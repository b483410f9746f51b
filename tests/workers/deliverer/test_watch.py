"""A port that answers again: who waited for it is tried at once; and nobody else is."""

from __future__ import annotations

import asyncio

from pipeline import keys
from pipeline.events import Attempt, RouteDeferred
from pipeline.ids import partition_for
from pipeline.route import Resolver
from pipeline.steps import Route, route_deferred_step
from pipeline.watching import Watched
from tests.support.peer import Peer
from tests.support.servers import eventually, free_port
from tests.workers.conftest import DOMAIN, PARTITION, running
from workers.deliverer.role import Deliverer
from workers.deliverer.watch import Watch

REFUSED = "Connection refused"


def delivering(wiring):
    return running(lambda stop: Deliverer(wiring, Resolver(""), stop).run())


async def outages(wiring, domain=DOMAIN):
    rows = await wiring.log.read(partition_for(domain, 8), "0", 10_000)
    return [row.event for row in rows if isinstance(row.event, RouteDeferred) and row.event.domain == domain]


async def counted(wiring, count, domain=DOMAIN):
    return len(await outages(wiring, domain)) == count


async def drained(wiring, names):
    return not any([await wiring.queue(name) for name in names])


async def due(wiring):
    return await wiring.schedule.due(PARTITION, wiring.clock(), 5) == ([DOMAIN], 0)


async def test_mail_flows_at_once_when_the_port_answers_of_a_server_that_could_not_be_connected_to(parts):
    port = free_port()
    wiring = await parts()
    names = [f"d{n}.test" for n in range(12)]
    for name in names:
        await wiring.customer(f"127.0.0.1:{port}", domain=name)
        await wiring.queued(b"Subject: x\r\n\r\n", f"anna@{name}")
    async with delivering(wiring):
        for name in names:
            await eventually(lambda name=name: counted(wiring, 1, name))
        peer = Peer()
        peer.port = port
        async with peer:
            # No clock is moved: the next attempt is a quarter of an hour away.
            await eventually(lambda: drained(wiring, names))
            assert len(peer.transactions) == 12
            for name in names:
                assert len(await outages(wiring, name)) == 1
    assert await wiring.store.redis.zcard(keys.WATCHED) == 0


async def test_a_server_that_goes_away_again_and_again_is_noticed_each_time_that_it_is_back(parts):
    port = free_port()
    wiring = await parts(keep_connection="0.1s")
    await wiring.customer(f"127.0.0.1:{port}")
    async with delivering(wiring):
        for time in (1, 2, 3):
            await wiring.queued()
            await eventually(lambda time=time: counted(wiring, time))
            peer = Peer()
            peer.port = port
            async with peer:
                await eventually(lambda: drained(wiring, [DOMAIN]))
                assert len(peer.transactions) == 1


async def test_a_server_that_lets_us_in_and_says_no_is_not_looked_at_before_the_next_attempt(parts):
    async with Peer({"greeting": b"421 4.3.2 not now"}) as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: counted(wiring, 1))
        assert await wiring.store.redis.zcard(keys.WATCHED) == 0
        watch = Watch(wiring)
        await watch.look()
        assert watch._looking == {}
        assert peer.connections == 1


async def backing_off(wiring, server, **attempt):
    """The domain's last attempt found no connection to `server`."""
    await wiring.customer(server)
    await wiring.queued()
    failed = Attempt(server=server, address="127.0.0.1", stage="connect", reply=REFUSED, **attempt)
    until = wiring.clock() + 900 * 10**9
    event = RouteDeferred(at=wiring.clock(), domain=DOMAIN, tries=1, since=1, next_try=until, attempts=(failed,))
    await wiring.log.commit(route_deferred_step(PARTITION, Route(), event, "", []))
    await wiring.watchlist.add(PARTITION, DOMAIN, [failed], wiring.clock(), until)


async def looked(wiring):
    watch = Watch(wiring)
    await watch.look()
    while watch._looking:
        await asyncio.wait(list(watch._looking.values()))
    await wiring.store.redis.delete(keys.WATCH_LEASE)


async def test_a_port_that_does_not_answer_is_looked_at_again(parts):
    wiring = await parts()
    await backing_off(wiring, f"127.0.0.1:{free_port()}")
    await looked(wiring)
    assert await wiring.store.redis.zcard(keys.WATCHED) == 1
    assert not await due(wiring)


async def test_a_port_that_answers_makes_its_domain_due_once_per_interval(parts):
    async with Peer() as peer:
        wiring = await parts()
        server = f"127.0.0.1:{peer.port}"
        await backing_off(wiring, server)
        await looked(wiring)
        assert await due(wiring)
        await wiring.schedule.put_off(PARTITION, DOMAIN, wiring.clock() + 900 * 10**9)
        failed = Attempt(server=server, address="127.0.0.1", stage="connect", reply="timed out")
        await wiring.watchlist.add(PARTITION, DOMAIN, [failed], wiring.clock(), wiring.clock() + 900 * 10**9)
        await looked(wiring)
        assert not await due(wiring)
        assert peer.connections == 2


async def test_a_domain_that_waits_for_something_else_by_now_is_not_made_due(parts):
    async with Peer() as peer:
        wiring = await parts()
        await backing_off(wiring, f"127.0.0.1:{peer.port}")
        await wiring.store.redis.hdel(keys.route(PARTITION, DOMAIN), "m")
        await looked(wiring)
        assert not await due(wiring)


async def test_an_address_where_routes_may_not_go_any_more_is_not_looked_at(parts):
    async with Peer() as peer:
        wiring = await parts(allow_networks="10.0.0.0/8")
        await wiring.watchlist.add(
            1, "a.test", [Attempt(server=f"127.0.0.1:{peer.port}", address="127.0.0.1", stage="connect")],
            wiring.clock(), wiring.clock() + 10**10,
        )  # fmt: skip
        await looked(wiring)
        assert peer.connections == 0


async def test_one_worker_looks_for_all(parts):
    wiring = await parts()
    watchlist = wiring.watchlist
    assert [await watchlist.lead(token) for token in ("a", "b", "a", "b")] == [True, False, True, False]
    await wiring.store.redis.delete(keys.WATCH_LEASE)
    assert await watchlist.lead("b")


async def test_what_is_watched_is_over_with_the_next_attempt(parts):
    wiring = await parts()
    now = wiring.clock()
    failed = Attempt(server="a.test:25", address="192.0.2.1", stage="connect", source="192.0.2.9")
    known = Attempt(server="b.test:25", stage="connect", reply="as another domain found it")
    await wiring.watchlist.add(1, "a.test", [failed, known], now, now + 10**10)
    assert await wiring.watchlist.watched(now) == [Watched("a.test:25", "192.0.2.1", "192.0.2.9")]
    assert await wiring.watchlist.waiting("b.test:25") == [(1, "a.test")]
    assert await wiring.watchlist.watched(now + 10**10) == []


async def test_looking_can_be_turned_off(parts):
    wiring = await parts(watch_interval="0")
    await Watch(wiring).run(asyncio.Event())
