"""Connections that are shared, and from which of our addresses they go out."""

import asyncio
import contextlib
import ssl

import msgspec
import pytest
import trustme

from pipeline import gateways
from pipeline.directory import Domain, RouteOptions
from pipeline.directory.options import Tls
from pipeline.events import Attempt
from pipeline.rerouting import follow, ways
from pipeline.route import Resolver, Target
from tests.support.dns import Names
from tests.support.peer import Do, Peer
from tests.support.servers import eventually
from tests.workers.conftest import DOMAIN, running
from workers.deliverer.connections import Connections, RouteDown
from workers.deliverer.role import Deliverer
from workers.deliverer.ways import IMPATIENT, Round, blames_server

ONE, TWO = "127.0.0.2", "127.0.0.3"
BOTH = f"{ONE} one.gateway.test, {TWO}"
OTHER = "other.test"


@pytest.fixture(scope="session")
def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


async def customer(wiring, peer, domain=DOMAIN, **options):
    chosen = RouteOptions(**options) if options else None
    domain = Domain(name=domain, route=(f"127.0.0.1:{peer.port}",), route_options=chosen)
    await wiring.directory.set_domain(domain, by="test", now=wiring.clock())


@contextlib.asynccontextmanager
async def connections(wiring):
    made = Connections(wiring, Resolver(""))
    try:
        yield made
    finally:
        await made.close()


async def source_of(made, domain=DOMAIN):
    connection = await made.borrow(domain)
    await made.give_back(connection)
    return connection.session.source


def refused(peer, source):
    return Attempt(
        server=f"127.0.0.1:{peer.port}", address="127.0.0.1", stage="rcpt", code=550, reply="550 listed", source=source
    )


async def test_without_source_addresses_the_system_chooses_and_nothing_is_remembered(parts):
    async with Peer() as peer:
        wiring = await parts()
        await customer(wiring, peer)
        async with connections(wiring) as made:
            assert await source_of(made) == ""
            assert not await made.other_source(refused(peer, ""))


async def test_the_first_address_is_used_with_its_name_until_the_server_does_not_want_it(parts):
    async with Peer() as peer:
        wiring = await parts(source_addresses=BOTH)
        await customer(wiring, peer)
        async with connections(wiring) as made:
            assert [await source_of(made), await source_of(made)] == [ONE, ONE]
            assert await made.other_source(refused(peer, ONE))
            assert [await source_of(made), await source_of(made)] == [TWO, TWO]
            assert peer.clients == [ONE, TWO]
            assert [word for word in peer.said if word.startswith(b"EHLO")] == [
                b"EHLO one.gateway.test",
                b"EHLO gateway.test",
            ]
            assert not await made.other_source(refused(peer, TWO))


async def test_a_connection_that_is_in_use_is_not_right_any_more_when_its_address_is_blocked(parts):
    async with Peer() as peer:
        wiring = await parts(source_addresses=BOTH)
        await customer(wiring, peer)
        async with connections(wiring) as made:
            connection = await made.borrow(DOMAIN)
            assert made.still_right(connection, DOMAIN)
            assert await made.other_source(refused(peer, ONE), DOMAIN)
            assert not made.still_right(connection, DOMAIN)
            await made.give_back(connection)


async def test_another_worker_knows_of_a_block_and_it_ends_after_six_hours(parts):
    async with Peer() as peer:
        wiring = await parts(source_addresses=BOTH)
        await customer(wiring, peer)
        async with connections(wiring) as first, connections(wiring) as second:
            await first.other_source(refused(peer, ONE))
            assert await source_of(second) == TWO
            wiring.forward(6 * 3600 - 60)
            assert await source_of(second) == TWO
            wiring.forward(120)
            assert await source_of(second) == ONE


async def test_where_all_addresses_are_blocked_the_one_that_was_blocked_first_is_used(parts):
    async with Peer() as peer:
        wiring = await parts(source_addresses=BOTH)
        await customer(wiring, peer)
        async with connections(wiring) as made:
            await made.other_source(refused(peer, TWO))
            wiring.forward(60)
            assert not await made.other_source(refused(peer, ONE))
            assert await source_of(made) == TWO


async def test_a_block_counts_at_that_server_only(parts):
    async with Peer() as peer, Peer() as other:
        wiring = await parts(source_addresses=BOTH)
        await customer(wiring, peer)
        await customer(wiring, other, OTHER)
        async with connections(wiring) as made:
            await made.other_source(refused(peer, ONE))
            assert [await source_of(made), await source_of(made, OTHER)] == [TWO, ONE]


async def test_a_domain_has_its_own_order_and_only_what_it_names(parts):
    async with Peer() as peer:
        wiring = await parts(source_addresses=BOTH)
        await customer(wiring, peer)
        await customer(wiring, peer, OTHER, sources=(TWO,))
        async with connections(wiring) as made:
            assert [await source_of(made), await source_of(made, OTHER)] == [ONE, TWO]
            assert not await made.other_source(refused(peer, TWO), OTHER)
            assert await made.other_source(refused(peer, TWO))


@pytest.mark.parametrize(("setting", "sources"), [(BOTH, ("127.0.0.9",)), ("", (ONE,)), ("::1", ())])
async def test_without_any_address_that_may_be_used_nothing_is_dialled_and_the_reason_names_the_setting(
    parts, setting, sources
):
    async with Peer() as peer:
        wiring = await parts(source_addresses=setting)
        await customer(wiring, peer, sources=sources)
        async with connections(wiring) as made:
            with pytest.raises(RouteDown) as caught:
                await made.borrow(DOMAIN)
            (attempt,) = caught.value.attempts
            assert (attempt.stage, attempt.enhanced) == ("route", "4.3.5")
            assert "source_addresses" in attempt.reply
            assert peer.connections == 0


async def test_two_domains_share_a_connection_only_when_they_speak_alike(parts, tls):
    async with Peer(tls=tls) as peer:
        wiring = await parts(keep_connection="60s")
        await customer(wiring, peer)
        await customer(wiring, peer, "same.test")
        await customer(wiring, peer, "always.test", tls=Tls.ALWAYS)
        await customer(wiring, peer, "named.test", ehlo="us.example")
        async with connections(wiring) as made:
            for _ in range(3):  # a server gets one connection more with each message that it takes
                await made.took(f"127.0.0.1:{peer.port}")
            for domain in (DOMAIN, "same.test", "always.test", "named.test", "always.test", DOMAIN):
                await made.give_back(await made.borrow(domain))
            assert peer.connections == 3


async def test_a_connection_that_suits_nobody_who_waits_gives_its_place_up(parts, tls):
    async with Peer(tls=tls) as peer:
        wiring = await parts(connections_per_server=1, keep_connection="60s")
        await customer(wiring, peer)
        await customer(wiring, peer, OTHER, tls=Tls.NEVER)
        async with connections(wiring) as made:
            for domain in (DOMAIN, OTHER, DOMAIN):
                await made.give_back(await made.borrow(domain))
            assert (peer.connections, peer.encrypted) == (3, 2)


async def test_a_certificate_that_one_domain_does_not_trust_does_not_hold_up_anothers_mail(parts, tls):
    async with Peer(tls=tls) as peer:
        wiring = await parts()
        await customer(wiring, peer, tls=Tls.VERIFIED)
        await customer(wiring, peer, OTHER)
        strict = await wiring.queued()
        async with running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()):

            async def backed_off():
                return "RouteDeferred" in await wiring.kinds()

            await eventually(backed_off)
            easy = await wiring.queued(b"Subject: x\r\n\r\n", f"anna@{OTHER}")

            async def delivered():
                return await wiring.head(easy) is None

            await eventually(delivered)
        assert await wiring.head(strict) is not None
        assert len(peer.transactions) == 1


SIGNED = {("mx.example", "A"): ["127.0.0.1"]}


@pytest.mark.parametrize("options", [{}, {"dane": False}, {"tls": Tls.NEVER}])
@pytest.mark.parametrize("trusted", ["true", "false"])
async def test_records_of_a_signed_zone_hold_where_the_resolver_is_trusted_and_the_route_follows_them(
    parts, options, trusted
):
    async with Peer() as peer:
        tlsa = f"_{peer.port}._tcp.mx.example"
        records = {**SIGNED, (tlsa, "TLSA"): ["3 1 1 " + "ab" * 32]}
        async with Names(records, signed=["mx.example", tlsa]) as names:
            wiring = await parts(trust_resolver_ad=trusted)
            chosen = RouteOptions(**options)
            domain = Domain(name=DOMAIN, route=(f"mx.example:{peer.port}",), route_options=chosen)
            await wiring.directory.set_domain(domain, by="test", now=1)
            made = Connections(wiring, Resolver(f"127.0.0.1:{names.port}", authenticated=trusted == "true"))
            if options or trusted == "false":
                await made.give_back(await made.borrow(DOMAIN))
            else:
                with pytest.raises(RouteDown) as caught:
                    await made.borrow(DOMAIN)
                assert "its DNS says that it does (DANE)" in caught.value.attempts[0].reply
            await made.close()


@pytest.mark.parametrize("route", ["mx:shop.example:{port}", "us.example:{port}", "127.0.0.1:{port}"])
async def test_the_gateway_itself_is_never_dialled_however_the_route_leads_there(parts, route):
    async with Peer() as ourselves:
        records = {("shop.example", "MX"): ["10 us.example."], ("us.example", "A"): ["127.0.0.1"]}
        async with Names(records) as names:
            wiring = await parts()
            await gateways.register(wiring.store.redis, "us.example", ourselves.port, wiring.clock())
            await wiring.customer(route.format(port=ourselves.port))
            made = Connections(wiring, Resolver(f"127.0.0.1:{names.port}"))
            failures = await asyncio.gather(*(made.borrow(DOMAIN) for _ in range(5)), return_exceptions=True)
            for failure in failures:
                assert isinstance(failure, RouteDown)
                (attempt,) = failure.attempts
                assert (attempt.stage, attempt.enhanced) == ("route", "4.4.6")
                assert "this gateway" in attempt.reply
            assert ourselves.connections == 0
            await made.close()


def test_a_dead_address_is_waited_for_a_little_while_there_are_others_and_the_last_as_long_as_the_settings_say():
    targets = [Target("a:25", "a", f"9.9.9.{n}", 25) for n in range(3)]
    one_by_one = Round(targets)
    waited = []
    for target in targets:
        waited.append(one_by_one.patience())
        one_by_one.failed(Attempt(server=target.server, stage="connect"))
    assert waited == [IMPATIENT, IMPATIENT, 0.0]


@pytest.mark.parametrize(
    ("attempt", "options", "blamed"),
    [
        ({"stage": "connect"}, {"tls": Tls.VERIFIED, "ehlo": "us.example"}, True),
        ({"stage": "greeting", "code": 421, "source": ONE}, {}, True),
        ({"stage": "greeting", "code": 554, "source": ONE}, {}, False),
        ({"stage": "greeting", "code": 554}, {}, True),
        ({"stage": "ehlo", "code": 550}, {"ehlo": "us.example"}, False),
        ({"stage": "starttls", "code": 421}, {"sources": (ONE,)}, True),
        ({"stage": "starttls"}, {"tls": Tls.ALWAYS}, False),
        ({"stage": "auth", "code": 535}, {"auth_user": "relay"}, False),
    ],
)
def test_a_server_is_written_down_as_down_only_for_what_is_its_own_fault(attempt, options, blamed):
    assert blames_server(Attempt(server="a:25", **attempt), RouteOptions(**options)) is blamed


async def test_records_that_cannot_be_asked_for_put_the_mail_off_and_nothing_is_dialled(parts):
    async with Peer() as peer:
        tlsa = f"_{peer.port}._tcp.mx.example"
        async with Names(SIGNED, signed=["mx.example"], failing=[tlsa]) as names:
            wiring = await parts(trust_resolver_ad="true")
            await wiring.customer(f"mx.example:{peer.port}")
            made = Connections(wiring, Resolver(f"127.0.0.1:{names.port}", authenticated=True))
            with pytest.raises(RouteDown) as caught:
                await made.borrow(DOMAIN)
            (attempt,) = caught.value.attempts
            assert (attempt.stage, attempt.enhanced, peer.connections) == ("route", "4.4.3", 0)
            assert "DANE" in attempt.reply
            await made.close()


async def test_a_dead_server_is_dead_for_everybody_however_they_speak_to_it(parts):
    async with Peer({"greeting": Do(b"", after="close")}) as peer:
        wiring = await parts(source_addresses=BOTH)
        await customer(wiring, peer, tls=Tls.ALWAYS)
        async with connections(wiring) as made:
            with pytest.raises(RouteDown) as caught:
                await made.borrow(DOMAIN)
            assert caught.value.known == frozenset()


async def test_other_options_make_waiting_mail_due_at_once_also_that_of_a_child(parts, tls):
    async with Peer() as peer:
        wiring = await parts()
        await customer(wiring, peer, tls=Tls.ALWAYS)
        child = Domain(name="child.test", parent=DOMAIN)
        await wiring.directory.set_domain(child, by="test", now=wiring.clock())
        waiting = [await wiring.queued(), await wiring.queued(b"Subject: x\r\n\r\n", "anna@child.test")]
        async with running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()):

            async def both_backed_off():
                return all([(await wiring.kinds()).count("RouteDeferred"), len(peer.said)])

            await eventually(both_backed_off)
            before = ways(wiring.directory.domains())
            await wiring.directory.update_domain(
                DOMAIN, lambda domain: msgspec.structs.replace(domain, route_options=None), by="test", now=1
            )
            after = ways(wiring.directory.domains())
            assert await follow(before, after, wiring.schedule, wiring.store.partitions, wiring.clock()) == 2

            async def delivered():
                return [await wiring.head(one) for one in waiting] == [None, None]

            await eventually(delivered)


LISTED = b"554 5.7.1 Service unavailable; Client host blocked using zen.spamhaus.org"


@pytest.mark.parametrize("stage", ["greeting", "rcpt"])
async def test_a_server_that_lists_one_of_our_addresses_gets_the_message_from_the_other_at_once_and_the_next_ones_too(
    parts, stage
):
    async with Peer({stage: [LISTED]}) as peer:
        wiring = await parts(source_addresses=BOTH)
        await customer(wiring, peer)
        async with running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()):
            for count in (1, 2):
                await wiring.queued()
                await peer.until(lambda count=count: len(peer.transactions) == count)
        assert peer.clients[:2] == [ONE, TWO]
        assert set(peer.clients[1:]) == {TWO}


@pytest.mark.parametrize("stage", ["greeting", "rcpt"])
async def test_a_server_that_lists_all_our_addresses_has_its_domain_held_and_nothing_is_returned(parts, stage):
    async with Peer({stage: LISTED}) as peer:
        wiring = await parts(source_addresses=BOTH)
        await customer(wiring, peer)
        message_id = await wiring.queued()

        async def is_held():
            await wiring.directory.refresh()
            home = wiring.directory.home(DOMAIN)
            return home is not None and home.hold is not None

        async with running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()):
            await eventually(is_held)
        assert {ONE, TWO} <= set(peer.clients)
        hold = wiring.directory.home(DOMAIN).hold
        assert (hold.by, hold.probed) == ("gatepost", True)
        assert not {"Failed", "Undeliverable"} & set(await wiring.kinds(message_id))
