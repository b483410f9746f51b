"""How many connections a server gets, and how fast messages follow each other, whoever sends them."""

from __future__ import annotations

import asyncio

from pipeline import keys
from pipeline.events import RouteDeferred
from pipeline.faults import StoreAwayError
from pipeline.ids import partition_for
from pipeline.route import Resolver
from tests.support.peer import Do, Peer
from tests.support.servers import eventually
from tests.workers.conftest import DOMAIN, PARTITION, running
from workers.deliverer.pace import Pace
from workers.deliverer.role import Deliverer


class Crowded(Peer):
    """Lets `room` connections in, and tells the others that they are too many; counts the most that it had at once."""

    def __init__(self, room, *arguments, **named):
        super().__init__(*arguments, **named)
        self.room = room
        self.inside = self.most = self.turned_away = 0

    async def serve(self, reader, writer):
        if self.inside >= self.room:
            self.turned_away += 1
            writer.write(b"421 4.7.0 too many connections from your address\r\n")
            await writer.drain()
            return
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await super().serve(reader, writer)
        finally:
            self.inside -= 1


def delivering(wiring):
    return running(lambda stop: Deliverer(wiring, Resolver(""), stop).run())


async def left(wiring, *domains):
    return sum([len(await wiring.queue(domain)) for domain in domains or [DOMAIN]])


async def drained(wiring, *domains):
    return not await left(wiring, *domains)


async def outages(wiring):
    return [row.event for row in await wiring.events() if isinstance(row.event, RouteDeferred)]


async def many(wiring, count, domain=DOMAIN):
    return await asyncio.gather(
        *(wiring.queued(b"Subject: x\r\n\r\n" + b"x" * 2000, f"anna@{domain}") for _ in range(count))
    )


async def test_a_server_that_lets_fewer_in_than_we_may_open_gets_as_many_as_it_likes_and_nobody_waits_an_interval(
    parts,
):
    async with Crowded(4) as peer:
        wiring = await parts(connections_per_server=10)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        await many(wiring, 400)
        async with delivering(wiring):
            await eventually(lambda: drained(wiring), within=30)
        assert len(peer.transactions) == 400
        assert await outages(wiring) == []
        assert 1 < peer.most <= 4
        assert peer.turned_away <= 10 - 4  # those that were on their way when it was learnt
        place = await wiring.schedule.take_server(f"127.0.0.1:{peer.port}", "t", wiring.clock(), 10)
        assert place.width <= 4


async def test_only_one_connection_is_opened_until_a_server_has_taken_a_message_however_many_domains_want_it(parts):
    go_on = asyncio.Event()
    async with Crowded(100, {"dot": [Do(wait=go_on)]}) as peer:
        wiring = await parts(connections_per_server=5)
        names = [f"d{n}.test" for n in range(20)]
        for name in names:
            await wiring.customer(f"127.0.0.1:{peer.port}", domain=name)
            await many(wiring, 5, name)
        async with delivering(wiring):
            await eventually(lambda: slots(wiring, names, 5))
            await peer.until(lambda: len(peer.transactions) == 1)
            assert peer.connections == 1
            go_on.set()
            await eventually(lambda: drained(wiring, *names), within=30)
        assert 1 < peer.most <= 5
        assert len(peer.transactions) == 100


async def slots(wiring, names, count):
    taken = [await wiring.store.redis.zcard(keys.slots(partition_for(name, 8), name)) for name in names]
    return sum(taken) >= count


async def test_a_421_in_the_middle_costs_one_connection_and_not_the_domain_while_others_work(parts):
    async with Crowded(100, {"mail": [b"250 ok"] * 40 + [Do(b"421 4.7.0 too many messages", after="close")]}) as peer:
        wiring = await parts(connections_per_server=6)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        ids = await many(wiring, 120)
        async with delivering(wiring):
            await eventually(lambda: all_but_one(wiring, ids), within=30)
        assert await outages(wiring) == []
        assert (await wiring.kinds()).count("Deferred") <= 1


async def all_but_one(wiring, ids):
    return (await wiring.kinds()).count("Delivered") >= len(ids) - 1


async def test_messages_a_minute_are_shared_by_all_domains_of_a_server_and_the_rest_waits_untouched(parts):
    async with Peer() as peer:
        wiring = await parts(messages_per_minute=1)
        names = ["one.test", "two.test"]
        for name in names:
            await wiring.customer(f"127.0.0.1:{peer.port}", domain=name)
            await many(wiring, 2, name)
        async with delivering(wiring):
            for count in (1, 2, 3, 4):
                await peer.until(lambda count=count: len(peer.transactions) == count)
                await eventually(lambda count=count: at_rest(wiring, names, 4 - count))
                assert len(peer.transactions) == count
                wiring.forward(61)
        for name in names:
            rows = await wiring.log.read(partition_for(name, 8), "0", 1000)
            assert {type(row.event).__name__ for row in rows} == {"Received", "Scanned", "Queued", "Delivered"}


async def at_rest(wiring, names, waiting):
    taken = await slots(wiring, names, 1)
    return not taken and await left(wiring, *names) == waiting


async def test_a_place_that_could_not_be_given_back_while_the_store_was_away_is_given_back_afterwards(parts):
    async with Peer() as peer:
        wiring = await parts(connections_per_server=1, keep_connection="10ms")
        await wiring.customer(f"127.0.0.1:{peer.port}")
        normal, away = wiring.schedule.release_server, []

        async def release_server(server, token):
            if not away:
                away.append(token)
                raise StoreAwayError("away")
            await normal(server, token)

        wiring.schedule.release_server = release_server
        await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: drained(wiring))
            await peer.until(lambda: b"QUIT" in peer.said)
            await wiring.queued()
            await eventually(lambda: drained(wiring))
        assert len(peer.transactions) == 2


async def test_a_domain_whose_server_has_one_place_uses_one_slot(parts):
    go_on = asyncio.Event()
    async with Crowded(1, {"dot": [b"250 ok"] * 3 + [Do(wait=go_on)]}) as peer:
        wiring = await parts(connections_per_server=10)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        await many(wiring, 100)
        async with delivering(wiring):
            await peer.until(lambda: len(peer.transactions) == 4)
            go_on.set()
            await eventually(lambda: drained(wiring), within=30)
        assert await wiring.store.redis.zcard(keys.slots(PARTITION, DOMAIN)) == 0
        assert await outages(wiring) == []


async def test_how_many_connections_a_server_takes_is_learnt_anew_when_redis_has_forgotten_it(parts):
    wiring, server = await parts(connections_per_server=4), "192.0.2.1:25"
    pace = Pace(wiring)
    while await pace.good(server):
        pass
    assert pace.width(server) == 4
    # It goes after an hour without mail, and when Redis's clock is put forward by as much.
    await wiring.store.redis.delete(keys.server_pace(server))
    place = await wiring.schedule.take_server(server, "t", wiring.clock(), 4)
    pace.heard(server, place.width)
    assert (await pace.good(server), pace.width(server)) == (True, 2)
