"""Routes of several servers, and of an MX, with mail that waits."""

from collections import Counter

import msgspec
import pytest

from pipeline.directory import Domain
from pipeline.rerouting import follow, ways
from pipeline.route import Resolver
from tests.support.dns import Names
from tests.support.peer import Do, Peer
from tests.support.servers import eventually, free_port
from tests.workers.conftest import DOMAIN, running
from workers.deliverer.connections import Connections
from workers.deliverer.role import Deliverer


def delivering(wiring, names):
    return running(lambda stop: Deliverer(wiring, Resolver(f"127.0.0.1:{names.port}"), stop).run())


async def changed(wiring, **fields):
    """As `gatepost domain set` does it; how many messages are due at once."""
    before = ways(wiring.directory.domains())
    await wiring.directory.update_domain(
        DOMAIN, lambda domain: msgspec.structs.replace(domain, **fields), by="test", now=1
    )
    after = ways(wiring.directory.domains())
    return await follow(before, after, wiring.schedule, wiring.store.partitions, wiring.clock())


@pytest.mark.parametrize("first", ["dead", "greets with 421", "is full of nonsense"])
async def test_a_server_that_fails_is_followed_by_the_next_at_once(parts, first):
    greeting = {"greets with 421": b"421 4.3.2 busy", "is full of nonsense": b"SSH-2.0-x"}.get(first, b"220 hi")
    async with Peer({"greeting": Do(greeting, after="close")}) as broken, Peer() as good, Names({}) as names:
        port = free_port() if first == "dead" else broken.port
        wiring = await parts()
        await wiring.customer(f"20 127.0.0.1:{good.port}", f"10 127.0.0.1:{port}")
        message_id = await wiring.queued()
        async with delivering(wiring, names):
            await good.until(lambda: good.transactions)

            async def finished():
                return await wiring.head(message_id) is None

            await eventually(finished)
        assert "RouteDeferred" not in await wiring.kinds()
        assert broken.connections == (first != "dead")


async def test_mail_that_waits_for_an_mx_is_due_at_once_when_the_route_changes_in_any_way(parts):
    async with Peer({"greeting": [b"421 4.3.2 not now"]}) as peer:
        records = {("shop.example", "MX"): ["10 mail.example."], ("mail.example", "A"): ["127.0.0.1"]}
        async with Names(records) as names:
            wiring = await parts()
            await wiring.customer(f"mx:shop.example:{peer.port}")
            message_id = await wiring.queued()
            async with delivering(wiring, names):

                async def backed_off():
                    return "RouteDeferred" in await wiring.kinds()

                await eventually(backed_off)
                assert await changed(wiring, route=(f"10 mx:shop.example:{peer.port}",)) == 1

                async def finished():
                    return await wiring.head(message_id) is None

                await eventually(finished)
            assert peer.connections == 2


async def test_among_equals_connections_go_where_the_weights_say(parts):
    async with Peer() as heavy, Peer() as light, Names({}) as names:
        wiring = await parts(keep_connection="0s")
        route = (f"10/3 127.0.0.1:{heavy.port}", f"10 127.0.0.1:{light.port}")
        await wiring.directory.set_domain(Domain(name=DOMAIN, route=route), by="test", now=1)
        made = Connections(wiring, Resolver(f"127.0.0.1:{names.port}"))
        servers: Counter[str] = Counter()
        for _ in range(200):
            connection = await made.borrow(DOMAIN)
            servers[connection.server] += 1
            await made.give_back(connection, abort=True)
        # 150 are expected; fewer than 110 would be seen once in a thousand million times.
        assert 110 < servers[f"127.0.0.1:{heavy.port}"] < 190


async def test_what_a_server_of_an_mx_offers_is_remembered_of_the_route(parts):
    async with Peer(features=["SMTPUTF8"]) as peer:
        records = {("shop.example", "MX"): ["10 mail.example."], ("mail.example", "A"): ["127.0.0.1"]}
        async with Names(records) as names:
            wiring = await parts()
            await wiring.customer(f"10 mx:shop.example:{peer.port}")
            home = wiring.directory.home(DOMAIN)
            assert not await wiring.directory.takes_smtputf8(home)
            made = Connections(wiring, Resolver(f"127.0.0.1:{names.port}"))
            await made.give_back(await made.borrow(DOMAIN))
            assert await wiring.directory.takes_smtputf8(home)
            await made.close()
