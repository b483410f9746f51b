"""What the deliverer does about words that are about the server: who waits, what is held, and how a hold ends by itself."""

from __future__ import annotations

import asyncio

import pytest

from pipeline import keys
from pipeline.claims import BATCH
from pipeline.directory import Directory
from pipeline.events import Attempt, Deferred, DomainSet, Failed, RouteDeferred, decode
from pipeline.faults import ConflictError
from pipeline.log import Log
from pipeline.route import Resolver, Target
from pipeline.steps import MS
from tests.support.peer import Do, Peer
from tests.support.servers import eventually
from tests.workers.conftest import DOMAIN, PARTITION, running
from workers.deliverer.connections import RouteDown
from workers.deliverer.destination import Destination
from workers.deliverer.role import Deliverer
from workers.janitor import Janitor

INTERVAL = 920
RELAY, BLOCKED = b"550 5.7.1 Relaying denied", b"554 5.7.1 blocked using zen.spamhaus.org"
BUSY, UNKNOWN = b"451 4.3.0 insufficient system resources", b"550 5.1.1 no such user"
BEN = f"ben@{DOMAIN}"


def delivering(wiring, change=lambda deliverer: None):
    async def work(stop):
        deliverer = Deliverer(wiring, Resolver(""), stop)
        change(deliverer)
        await deliverer.run()

    return running(work)


async def outages(wiring):
    return [row.event for row in await wiring.events() if isinstance(row.event, RouteDeferred)]


async def counted(wiring, count):
    return len(await outages(wiring)) == count


async def held(wiring):
    await wiring.directory.refresh()
    return wiring.directory.home(DOMAIN).hold


async def resumed(wiring):
    return not await held(wiring)


async def is_at_rest(wiring):
    """Nobody has anything of the domain in hand."""
    return not await wiring.store.redis.zcard(keys.slots(PARTITION, DOMAIN))


async def kinds(wiring, *ids):
    return [(await wiring.kinds(message_id))[3:] for message_id in ids]


async def ended(wiring, *ids):
    return all(names[-1:] == ["Delivered"] for names in await kinds(wiring, *ids))


async def customer(parts, peer, **settings):
    wiring = await parts(**{"connections_per_server": 1, "keep_connection": "50ms", **settings})
    await wiring.customer(f"127.0.0.1:{peer.port}")
    return wiring


# The route waits


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
async def test_a_server_that_says_that_it_is_busy_costs_one_connection_and_one_message_per_interval(parts, stage):
    async with Peer({stage: [BUSY] * 3}) as peer:
        wiring = await customer(parts, peer)
        ids = [await wiring.queued() for _ in range(30)]
        async with delivering(wiring):
            for tries in (1, 2, 3):
                await eventually(lambda tries=tries: counted(wiring, tries))
                await eventually(lambda: is_at_rest(wiring))
                await peer.until(lambda tries=tries: peer.said.count(b"QUIT") == tries)
                assert peer.connections == tries
                wiring.forward(INTERVAL)
            await eventually(lambda: ended(wiring, *ids))
        assert (await wiring.kinds()).count("Deferred") == 3
        assert [outage.attempts[0].reply for outage in await outages(wiring)] == [BUSY.decode()] * 3


async def test_one_busy_answer_among_good_ones_makes_that_message_wait_and_not_the_domain(parts):
    async with Peer({"dot": [b"250 ok", BUSY]}) as peer:
        wiring = await customer(parts, peer)
        ids = [await wiring.queued() for _ in range(5)]
        async with delivering(wiring):
            await eventually(lambda: four_of(wiring, ids))
        assert peer.connections == 1
        assert await outages(wiring) == []
        assert sorted(await kinds(wiring, *ids)) == [["Deferred"], *[["Delivered"]] * 4]


async def four_of(wiring, ids):
    return [names[-1:] for names in await kinds(wiring, *ids)].count(["Delivered"]) == 4


async def test_two_busy_answers_in_a_row_are_the_server_however_well_it_worked_before(parts):
    async with Peer({"dot": [b"250 ok", BUSY, BUSY]}) as peer:
        wiring = await customer(parts, peer)
        for _ in range(5):
            await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: counted(wiring, 1))
        assert (await wiring.kinds()).count("Deferred") == 2
        assert (await wiring.kinds()).count("Delivered") == 1


async def test_the_trouble_of_one_domain_at_a_server_does_not_stop_another_domain_there(parts):
    async with Peer({"rcpt": [BUSY]}) as peer:
        wiring = await customer(parts, peer)
        await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: counted(wiring, 1))
            await wiring.customer(f"127.0.0.1:{peer.port}", domain="other.test")
            other = await wiring.queued(b"Subject: x\r\n\r\n", "anna@other.test")
            await eventually(lambda: ended(wiring, other))


async def test_a_server_that_limits_us_is_not_dialled_for_another_domain_either(parts):
    async with Peer({"mail": b"450 4.7.1 too many messages, slow down"}) as peer:
        wiring = await customer(parts, peer)
        await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: counted(wiring, 1))
            await eventually(lambda: down(wiring, peer))
        assert peer.connections == 1


async def down(wiring, peer):
    return (await wiring.schedule.take_server(f"127.0.0.1:{peer.port}", "t", wiring.clock(), 9)).word == "down"


# Held by itself


async def test_a_server_that_does_not_feel_responsible_bounces_nothing_and_its_domain_is_held_with_its_words(parts):
    async with Peer({"rcpt": RELAY}) as peer:
        wiring = await customer(parts, peer)
        ids = [await wiring.queued() for _ in range(12)]
        async with delivering(wiring):
            await eventually(lambda: held(wiring))
            await eventually(lambda: is_at_rest(wiring))
        hold = await held(wiring)
        assert (hold.by, hold.probed) == ("gatepost", True)
        assert hold.reason == "The server does not feel responsible for the domain: " + RELAY.decode()
        assert peer.connections == 1
        assert sorted(await kinds(wiring, *ids)) == [[]] * 11 + [["Deferred"]]


@pytest.mark.parametrize("words", [RELAY, BUSY])
async def test_all_slots_of_a_domain_that_meet_the_same_say_it_once(parts, words):
    async with Peer({"rcpt": [b"250 ok"] * 60 + [words] * 1000}, features=()) as peer:
        wiring = await customer(parts, peer, connections_per_server=8)
        for _ in range(300):
            await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: at_least(wiring, 1))
            await eventually(lambda: is_at_rest(wiring))
        names = await wiring.kinds()
        assert (names.count("RouteDeferred"), names.count("Delivered"), names.count("Failed")) == (1, 60, 0)
        assert names.count("Deferred") <= 2 * 8
        assert bool(await held(wiring)) == (words == RELAY)


async def test_a_slot_that_still_works_when_another_backs_its_domain_off_takes_no_more_of_its_mail(parts):
    gate = asyncio.Event()
    async with Peer({"rcpt": [b"250 ok", Do(wait=gate), BUSY, BUSY]}, features=()) as peer:
        wiring = await customer(parts, peer, connections_per_server=2)
        for _ in range(50):
            await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: counted(wiring, 1))
            gate.set()
            await eventually(lambda: is_at_rest(wiring))
        names = await wiring.kinds()
        assert (names.count("RouteDeferred"), names.count("RouteOpened")) == (1, 0)
        assert names.count("Delivered") <= 1 + BATCH
        assert not (await wiring.schedule.due(PARTITION, wiring.clock(), 10))[0]


async def test_a_slot_cut_off_while_it_dials_leaves_the_interval_as_it_is_that_another_one_wrote(parts):
    gate = asyncio.Event()
    script = {"greeting": [Do(), Do(b"", after="stall")], "rcpt": [b"250 ok", Do(BUSY, wait=gate), BUSY]}
    async with Peer(script, features=()) as peer:
        wiring = await customer(parts, peer, connections_per_server=2)
        for _ in range(50):
            await wiring.queued()
        async with delivering(wiring):
            await peer.until(lambda: peer.connections == 2)
            gate.set()
            await eventually(lambda: counted(wiring, 1))
        assert await is_at_rest(wiring)
        assert not (await wiring.schedule.due(PARTITION, wiring.clock(), 10))[0]


async def at_least(wiring, count):
    return len(await outages(wiring)) >= count


async def test_a_held_domain_is_tried_with_one_message_per_interval_and_the_first_that_is_taken_lets_all_flow(parts):
    async with Peer({"rcpt": [RELAY] * 3}) as peer:
        wiring = await customer(parts, peer)
        ids = [await wiring.queued() for _ in range(25)]
        async with delivering(wiring):
            for tries in (1, 2, 3):
                await eventually(lambda tries=tries: counted(wiring, tries))
                await eventually(lambda: held(wiring))
                await eventually(lambda: is_at_rest(wiring))
                assert len([line for line in peer.said if line.startswith(b"MAIL")]) == tries
                assert len(await wiring.queue()) == 25
                wiring.forward(INTERVAL)
            await eventually(lambda: ended(wiring, *ids))
            await eventually(lambda: resumed(wiring))
        names = await wiring.kinds()
        assert (names.count("Deferred"), names.count("Failed"), names.count("RouteOpened")) == (3, 0, 1)
        by, note = await last_change(wiring)
        assert (by, note) == ("gatepost", f"127.0.0.1:{peer.port} took a message")


async def last_change(wiring):
    rows = await wiring.store.redis.xrevrange(keys.DIRECTORY_LOG, count=1)
    event = decode(rows[0][1][b"e"])
    assert isinstance(event, DomainSet)
    return event.by, event.note


async def test_nothing_bounces_while_a_domain_is_held_not_even_what_is_tried_meanwhile(parts):
    async with Peer({"rcpt": [RELAY, UNKNOWN]}) as peer:
        wiring = await customer(parts, peer)
        first, second = await wiring.queued(), await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: counted(wiring, 1))
            await eventually(lambda: held(wiring))
            wiring.forward(INTERVAL)
            await eventually(lambda: counted(wiring, 2))
            assert await held(wiring)
            assert "Failed" not in await wiring.kinds()
            wiring.forward(INTERVAL)
            await eventually(lambda: ended(wiring, first, second))


async def test_fresh_mail_for_a_held_domain_waits_for_the_next_interval(parts):
    async with Peer({"rcpt": RELAY}) as peer:
        wiring = await customer(parts, peer)
        await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: held(wiring))
            await eventually(lambda: is_at_rest(wiring))
            await wiring.queued()
            score = await wiring.store.redis.zscore(keys.due(PARTITION), DOMAIN)
            assert score / 1000 > wiring.clock() / 1e9 + 800
        assert peer.connections == 1


async def test_a_hold_that_a_person_sets_takes_the_place_of_one_that_would_end_by_itself(parts):
    async with Peer({"rcpt": [RELAY]}) as peer:
        wiring = await customer(parts, peer)
        await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: held(wiring))
            await eventually(lambda: is_at_rest(wiring))
            assert await wiring.directory.hold(DOMAIN, "we move today", by="somebody", now=wiring.clock())
            wiring.forward(INTERVAL)
            await eventually(lambda: put_off(wiring))
        assert (await held(wiring)).reason == "we move today"
        assert peer.connections == 1


async def put_off(wiring):
    score = await wiring.store.redis.zscore(keys.due(PARTITION), DOMAIN)
    return score is not None and score / 1000 > wiring.clock() / 1e9 + 800


async def test_resume_lets_the_mail_of_a_domain_flow_that_was_held_by_itself(parts):
    async with Peer({"rcpt": [RELAY]}) as peer:
        wiring = await customer(parts, peer)
        ids = [await wiring.queued() for _ in range(3)]
        async with delivering(wiring):
            await eventually(lambda: held(wiring))
            await peer.until(lambda: b"QUIT" in peer.said)
            other = Directory(wiring.store, Log(wiring.store.redis))
            await other.resume(DOMAIN, by="somebody", now=wiring.clock())
            await wiring.schedule.retry_now(PARTITION, DOMAIN, wiring.clock(), ())
            await eventually(lambda: ended(wiring, *ids))
        assert peer.connections == 2


async def test_mail_that_has_waited_its_time_in_a_held_domain_is_returned(parts):
    async with Peer({"rcpt": RELAY}) as peer:
        wiring = await customer(parts, peer)
        message_id = await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: held(wiring))
            await eventually(lambda: is_at_rest(wiring))
        wiring.forward(7 * 86400)
        assert await Janitor(wiring).expire() == 1
        failed = (await wiring.events(message_id))[-1].event
        assert isinstance(failed, Failed)
        assert (failed.reason, failed.attempt.reply, bool(failed.bounce)) == ("expired", RELAY.decode(), True)


async def test_one_odd_recipient_is_refused_at_its_second_try_while_the_others_flow(parts):
    async with Peer({"rcpt": [b"250 ok", RELAY, b"250 ok", RELAY]}) as peer:
        wiring = await customer(parts, peer)
        await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: delivered(wiring, 1))
            odd = await wiring.queued()
            await eventually(lambda: deferred(wiring, odd))
            assert not await held(wiring)
            wiring.forward(300)
            await wiring.queued()
            await eventually(lambda: delivered(wiring, 2))
            wiring.forward(INTERVAL)
            await eventually(lambda: failed(wiring, odd))
        assert not await held(wiring)
        assert await outages(wiring) == []


async def delivered(wiring, count):
    return (await wiring.kinds()).count("Delivered") == count


async def deferred(wiring, message_id):
    return isinstance((await wiring.events(message_id))[-1].event, Deferred)


async def failed(wiring, message_id):
    return isinstance((await wiring.events(message_id))[-1].event, Failed)


async def test_a_login_that_is_refused_before_any_message_holds_the_domain(parts):
    async with Peer({"ehlo": b"530 5.7.0 authentication required"}) as peer:
        wiring = await customer(parts, peer)
        message_id = await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: held(wiring))
        assert await kinds(wiring, message_id) == [[]]


async def test_a_bounce_s_domain_is_not_held_and_its_refusal_is_final(parts):
    async with Peer({"rcpt": RELAY}) as peer:
        wiring = await parts()
        wiring.directory.home = lambda name: None
        message_id = await wiring.queued(b"Subject: x\r\n\r\n", "boss@outside.test")

        def change(deliverer):
            async def targets(domain):
                return (Target(server=f"127.0.0.1:{peer.port}", host="mx", address="127.0.0.1", port=peer.port),)

            deliverer.connections._targets = targets

        async with delivering(wiring, change):
            await eventually(lambda: failed(wiring, message_id))


# Another address of ours


@pytest.mark.parametrize(
    "script",
    [{"rcpt": [BLOCKED]}, {"greeting": [BLOCKED]}, {"mail": [Do(b"421 4.7.1 blocked using spamhaus", after="close")]}],
)
async def test_a_server_that_blocks_our_address_is_tried_from_another_one_at_once(parts, script):
    told = []

    def change(deliverer):
        async def other_source(attempt, domain):
            told.append(attempt.reply)
            return True

        deliverer.connections.other_source = other_source

    async with Peer(script) as peer:
        wiring = await customer(parts, peer)
        message_id = await wiring.queued()
        async with delivering(wiring, change):
            await eventually(lambda: ended(wiring, message_id))
        assert peer.connections == 2
        assert len(told) == 1
        assert await kinds(wiring, message_id) == [["Delivered"]]


@pytest.mark.parametrize("stage", ["rcpt", "greeting"])
async def test_a_server_that_blocks_all_our_addresses_has_its_domain_held(parts, stage):
    async with Peer({stage: BLOCKED}) as peer:
        wiring = await customer(parts, peer)
        message_id = await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: held(wiring))
        assert "blocks our address" in (await held(wiring)).reason
        assert "Failed" not in await wiring.kinds(message_id)
        assert peer.connections == 1


async def test_a_server_that_blocks_our_only_address_for_now_makes_the_route_wait(parts):
    async with Peer({"rcpt": b"450 4.7.1 temporarily blocked"}) as peer:
        wiring = await customer(parts, peer)
        await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: counted(wiring, 1))
        assert not await held(wiring)


async def test_one_message_is_not_tried_for_ever_from_one_address_after_the_other(parts):
    def change(deliverer):
        async def other_source(attempt, domain):
            return True

        deliverer.connections.other_source = other_source

    async with Peer({"rcpt": BLOCKED}) as peer:
        wiring = await customer(parts, peer)
        await wiring.queued()
        async with delivering(wiring, change):
            await eventually(lambda: held(wiring))
        assert peer.connections == 16


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_slot_that_claimed_before_another_said_that_the_route_waits_does_not_say_it_again(parts, is_open):
    wiring = await parts()
    attempt = Attempt(server="127.0.0.1:25", stage="rcpt", code=451, reply="451 4.3.0 busy")
    first, second = (Destination(wiring, PARTITION, DOMAIN, token) for token in ("first", "second"))
    for slot, token in ((first, "first"), (second, "second")):
        await wiring.store.redis.zadd(keys.slots(PARTITION, DOMAIN), {token: (wiring.clock() + 60 * 10**9) // MS})
        slot.claimed(is_open=is_open, good=0)
    wiring.forward(1)
    await first.back_off(RouteDown([attempt]), ())
    wiring.forward(1)
    with pytest.raises(ConflictError):
        await second.back_off(RouteDown([attempt]), ())
    assert await counted(wiring, 1)


async def test_a_slot_that_was_to_try_before_the_time_says_what_it_met(parts):
    wiring = await parts()
    attempt = Attempt(server="127.0.0.1:25", stage="connect", reply="Connection refused")
    for count in (1, 2):
        slot = Destination(wiring, PARTITION, DOMAIN, "token")
        await wiring.store.redis.zadd(keys.slots(PARTITION, DOMAIN), {"token": (wiring.clock() + 60 * 10**9) // MS})
        slot.claimed(is_open=False, good=0)
        wiring.forward(1)
        await slot.back_off(RouteDown([attempt]), ())
        assert await counted(wiring, count)
        wiring.forward(1)
