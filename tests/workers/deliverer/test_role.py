"""The deliverer against a server that does what a script says: what waits, what fails, what is tried again, and how often."""

from __future__ import annotations

import asyncio
import time

import pytest

from pipeline import keys, parked
from pipeline.events import Deferred, Delivered, RouteDeferred
from pipeline.route import Resolver
from tests.support.dns import Names
from tests.support.peer import Do, Peer
from tests.support.servers import eventually, free_port
from tests.workers.conftest import DOMAIN, PARTITION, running
from workers.deliverer.role import Deliverer

ANNA, BEN = f"anna@{DOMAIN}", f"ben@{DOMAIN}"


def delivering(wiring, dns=""):
    return running(lambda stop: Deliverer(wiring, Resolver(dns), stop).run())


async def ends(wiring, message_id, *kinds, within=10):
    async def there():
        return await wiring.kinds(message_id) == ["Received", "Scanned", "Queued", *kinds]

    try:
        await eventually(there, within=within)
    except BaseException:
        print(await wiring.kinds())
        raise


async def outages(wiring):
    return [row.event for row in await wiring.events() if isinstance(row.event, RouteDeferred)]


async def test_many_messages_go_over_few_connections(parts):
    async with Peer() as peer:
        wiring = await parts(connections_per_server=3)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        ids = [await wiring.queued() for _ in range(100)]
        async with delivering(wiring):
            for message_id in ids:
                await ends(wiring, message_id, "Delivered")
        assert len(peer.transactions) == 100
        assert peer.connections <= 3


async def test_a_lone_message_costs_one_claim_and_gives_its_slot_back_itself(parts, monkeypatch):
    async with Peer() as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        claim, more = wiring.schedule.claim, []

        async def counted(*words, **named):
            more.append(named["more"])
            return await claim(*words, **named)

        monkeypatch.setattr(wiring.schedule, "claim", counted)
        async with delivering(wiring):
            for _ in range(3):  # the first one opens the route
                await ends(wiring, await wiring.queued(), "Delivered")
                assert await wiring.store.redis.zcard(keys.slots(PARTITION, DOMAIN)) == 0
                assert await wiring.store.redis.zscore(keys.due(PARTITION), DOMAIN) is None
        assert len(more) >= 3
        assert not any(more)


async def test_domains_that_share_a_server_claim_nothing_before_it_is_their_turn(parts, monkeypatch):
    names = [f"d{number}.test" for number in range(40)]
    async with Peer() as peer:
        wiring = await parts(connections_per_server=1)
        for name in names:
            await wiring.customer(f"127.0.0.1:{peer.port}", domain=name)
        for name in names:
            await wiring.queued(b"Subject: x\r\n\r\nhello\r\n", f"anna@{name}")
        release, given_back = wiring.schedule.release, []

        async def counted(partition, domain, *words, **named):
            given_back.append(domain)
            await release(partition, domain, *words, **named)

        async def all_sent():
            return len(peer.transactions) == len(names)

        monkeypatch.setattr(wiring.schedule, "release", counted)
        async with delivering(wiring):
            await eventually(all_sent, within=30)
        assert given_back == []
        assert peer.connections == 1


async def test_a_hint_names_all_domains_that_became_due_at_once(parts):
    wiring = await parts()
    looked: set[tuple[int, str]] = set()
    deliverer = Deliverer(wiring, Resolver(""), asyncio.Event())
    deliverer.look_at = lambda partition, domain: looked.add((partition, domain))
    listening = asyncio.create_task(deliverer._listen())
    try:

        async def heard():
            await wiring.store.redis.publish(keys.hint(PARTITION), "one.test two.test")
            return looked == {(PARTITION, "one.test"), (PARTITION, "two.test")}

        await eventually(heard)
    finally:
        listening.cancel()


async def test_a_dead_server_costs_one_connection_and_one_event_per_interval_however_much_waits(parts):
    async with Peer({"greeting": [b"421 4.3.2 not now"] * 3}) as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        ids = [await wiring.queued() for _ in range(200)]
        async with delivering(wiring):
            for tries in (1, 2, 3):
                await eventually(lambda tries=tries: counted(wiring, tries))
                assert peer.connections == tries
                wiring.forward(920)
            for message_id in ids:
                await ends(wiring, message_id, "Delivered")
        first, second, third = await outages(wiring)
        assert (first.tries, second.tries, third.tries) == (1, 2, 3)
        assert first.since == second.since == third.since
        assert second.next_try - second.at >= 900 * 10**9
        assert first.attempts[0].reply == "421 4.3.2 not now"
        assert (await wiring.kinds()).count("RouteOpened") == 1
        assert len(peer.transactions) == 200


async def counted(wiring, count):
    return len(await outages(wiring)) == count


async def test_a_crash_after_the_claim_does_not_bring_the_next_attempt_forward(parts):
    async with Peer({"greeting": Do(after="stall")}) as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        await wiring.queued()
        stop = asyncio.Event()
        first = asyncio.create_task(Deliverer(wiring, Resolver(""), stop).run())
        await peer.until(lambda: peer.connections == 1)
        score = await wiring.store.redis.zscore(keys.due(PARTITION), DOMAIN)
        assert score / 1000 - wiring.clock() / 1e9 > 890
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_an_orderly_stop_while_dialling_is_quick_and_no_attempt(parts):
    async with Peer({"greeting": Do(after="stall")}) as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        await wiring.queued()
        async with asyncio.timeout(5), delivering(wiring):
            await peer.until(lambda: peer.connections == 1)
        assert await wiring.schedule.due(PARTITION, wiring.clock(), 5) == ([DOMAIN], 0)


async def test_a_server_known_to_be_down_is_not_dialled_for_another_domain(parts):
    wiring = await parts()
    port = free_port()
    await wiring.customer(f"127.0.0.1:{port}")
    await wiring.queued()
    async with delivering(wiring):
        await eventually(lambda: counted(wiring, 1))
    slot = await wiring.schedule.take_server(f"127.0.0.1:{port}", "other", wiring.clock(), 5)
    assert slot.word == "down"
    assert "refused" in slot.why.lower()


async def test_the_message_whose_fate_is_unknown_is_tried_again_and_marked(parts):
    async with Peer({"dot": [Do(reply=b"", after="close")]}) as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await wiring.queued()
        async with delivering(wiring):
            await ends(wiring, message_id, "Deferred")
            wiring.forward(920)
            await ends(wiring, message_id, "Deferred", "Delivered")
        deferred, delivered = [row.event for row in await wiring.events(message_id)][-2:]
        assert isinstance(deferred, Deferred)
        assert deferred.attempt.unknown
        assert isinstance(delivered, Delivered)
        assert delivered.tries == 2
        assert len(peer.transactions) == 2


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
async def test_a_session_that_breaks_in_one_message_makes_that_one_wait_and_not_the_next(parts, phase):
    async with Peer({phase: [Do(reply=b"", after="close")]}, features=()) as peer:
        wiring = await parts(connections_per_server=1)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        first, second = await wiring.queued(), await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: both(wiring, first, second))
        kinds = {tuple(await wiring.kinds(message_id))[3:] for message_id in (first, second)}
        assert kinds == {("Deferred",), ("Delivered",)}
        assert await outages(wiring) == []


async def both(wiring, *ids):
    return all([len(await wiring.kinds(message_id)) == 4 for message_id in ids])


async def test_a_session_that_breaks_for_every_message_backs_the_domain_off(parts):
    async with Peer({"mail": Do(reply=b"", after="close")}) as peer:
        wiring = await parts(connections_per_server=1)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        for _ in range(20):
            await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: counted(wiring, 1))
        assert peer.connections == 2
        assert (await wiring.kinds()).count("Deferred") == 2


async def test_a_421_to_a_message_backs_off_the_domain_and_puts_that_message_behind(parts):
    async with Peer({"mail": [b"421 4.7.0 too much"]}) as peer:
        wiring = await parts(connections_per_server=1)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        ids = [await wiring.queued() for _ in range(3)]
        async with delivering(wiring):
            await eventually(lambda: counted(wiring, 1))
            assert peer.connections == 1
            wiring.forward(920)
            for message_id in ids:
                await eventually(lambda message_id=message_id: delivered(wiring, message_id))
        assert (await wiring.kinds()).count("Deferred") == 1


async def delivered(wiring, message_id):
    return (await wiring.kinds(message_id))[-1] == "Delivered"


async def test_a_connection_that_the_server_closed_between_messages_costs_nothing(parts):
    async with Peer({"dot": [Do(after="close")]}) as peer:
        wiring = await parts(connections_per_server=1)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        ids = [await wiring.queued() for _ in range(2)]
        async with delivering(wiring):
            for message_id in ids:
                await ends(wiring, message_id, "Delivered")
        assert peer.connections == 2


async def test_a_body_that_is_gone_parks_its_message_and_the_others_flow(parts):
    async with Peer() as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        lost, fine = await wiring.queued(), await wiring.queued()
        body = await wiring.store.redis.getdel(keys.body(PARTITION, lost))
        async with delivering(wiring):
            await ends(wiring, fine, "Delivered")
            await eventually(lambda: parked.listed(wiring.store))
            (item,) = await parked.listed(wiring.store)
            assert (item.kind, item.message_id) == ("queue", lost)
            await wiring.store.redis.set(keys.body(PARTITION, lost), body)
            await parked.retry(wiring.store, wiring.log, item.reference, wiring.clock(), by="test")
            await ends(wiring, lost, "Delivered")


async def test_a_worker_that_was_away_longer_than_its_lease_does_not_send_the_final_dot(parts):
    go_on = asyncio.Event()
    async with Peer({"data": [Do(wait=go_on)]}) as peer:
        wiring = await parts(lease="2s", connections_per_server=1)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await wiring.queued()
        stop = asyncio.Event()
        sleeper = Deliverer(wiring, Resolver(""), stop)
        task = asyncio.create_task(sleeper.run())
        await peer.until(lambda: b"DATA" in peer.said)
        (slot,) = sleeper._slots[DOMAIN]
        slot.lost()  # what its own clock says after two minutes of SIGSTOP
        go_on.set()
        await peer.until(lambda: peer.unfinished == 1)
        assert peer.transactions == []
        stop.set()
        await task
        assert await wiring.kinds(message_id) == ["Received", "Scanned", "Queued"]


async def test_an_answer_about_the_lease_that_lay_unread_keeps_nobody_a_lease(parts):
    go_on = asyncio.Event()
    async with Peer({"data": [Do(wait=go_on)]}) as peer:
        wiring = await parts(lease="2s", connections_per_server=1)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        await wiring.queued()
        stop = asyncio.Event()
        sleeper = Deliverer(wiring, Resolver(""), stop)
        task = asyncio.create_task(sleeper.run())
        await peer.until(lambda: b"DATA" in peer.said)
        (slot,) = sleeper._slots[DOMAIN]
        # SIGSTOP came between Redis's answer to a renewal and our reading of it, and lasted for two minutes.
        slot.renewed(time.monotonic() - 120, sleeper.steady.apart())
        assert not slot.valid()
        go_on.set()
        await peer.until(lambda: peer.unfinished == 1)
        assert peer.transactions == []
        stop.set()
        await task


async def test_a_lease_that_is_just_being_claimed_is_not_taken_for_lost(parts, monkeypatch):
    async with Peer() as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await wiring.queued()
        claim, renew = wiring.schedule.claim, wiring.schedule.renew
        asked, claimed = asyncio.Event(), asyncio.Event()

        async def claim_late(*words, **more):
            asked.set()
            await renewing
            found = await claim(*words, **more)
            claimed.set()
            return found

        async def renew_early(*words):
            kept = await renew(*words)
            renewing.set_result(None)
            await claimed.wait()
            await asyncio.sleep(0)
            return kept

        renewing = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(wiring.schedule, "claim", claim_late)
        monkeypatch.setattr(wiring.schedule, "renew", renew_early)
        stop = asyncio.Event()
        deliverer = Deliverer(wiring, Resolver(""), stop)
        task = asyncio.create_task(deliverer.run())
        await asked.wait()
        renewed = asyncio.create_task(deliverer.renew())
        await asyncio.wait([renewing, renewed], return_when=asyncio.FIRST_COMPLETED)
        if not renewing.done():
            renewing.set_result(None)  # nobody asked
        await ends(wiring, message_id, "Delivered")
        await renewed
        stop.set()
        await task


async def test_a_clock_that_is_put_forward_makes_nobody_send_what_another_is_just_sending(parts):
    go_on = asyncio.Event()
    async with Peer({"dot": [Do(wait=go_on)]}) as peer:
        wiring, other = await parts(lease="2s"), await parts(lease="2s")
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await wiring.queued()
        stop = asyncio.Event()
        second = Deliverer(other, Resolver(""), stop)
        async with delivering(wiring):
            await peer.until(lambda: len(peer.transactions) == 1)
            task = asyncio.create_task(second.run())
            for one in (wiring, other):
                one.step(3600)

            async def noticed():
                return second.steady.unsure()

            async def certain_again():
                return not second.steady.unsure()

            await eventually(noticed)
            await eventually(certain_again)
            # It looks again, and finds the lease renewed with the new time.
            second.look_at(PARTITION, DOMAIN)
            await eventually(lambda: asyncio.sleep(0, not second._hinted))
            go_on.set()
            await ends(wiring, message_id, "Delivered")
            stop.set()
            await task
        assert len(peer.transactions) == 1


async def test_a_final_dot_is_not_sent_when_the_clock_was_put_forward_meanwhile(parts):
    go_on = asyncio.Event()
    async with Peer({"data": [Do(wait=go_on)]}) as peer:
        wiring = await parts(lease="60s")
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await wiring.queued()
        async with delivering(wiring):
            await peer.until(lambda: b"DATA" in peer.said)
            wiring.step(3600)
            go_on.set()
            await peer.until(lambda: peer.unfinished == 1)
        assert peer.transactions == []
        assert await wiring.kinds(message_id) == ["Received", "Scanned", "Queued"]


async def test_a_clock_that_is_put_back_delivers_what_comes_and_what_is_there(parts):
    go_on = asyncio.Event()
    async with Peer({"dot": [Do(wait=go_on)]}) as peer:
        wiring = await parts(lease="2s")
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await wiring.queued()
        async with delivering(wiring):
            await peer.until(lambda: len(peer.transactions) == 1)
            wiring.step(-3600)
            later = await wiring.queued()
            go_on.set()
            await ends(wiring, message_id, "Delivered")
            await ends(wiring, later, "Delivered")
        assert len(peer.transactions) == 2


async def test_a_thousand_recipients_go_in_transactions_that_every_server_takes(parts):
    async with Peer() as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await wiring.queued(b"Subject: all\r\n\r\n", *(f"user{n}@{DOMAIN}" for n in range(250)))
        async with delivering(wiring):
            await eventually(lambda: delivered(wiring, message_id))
            await eventually(lambda: finished(wiring, message_id))
        assert [len(transaction.rcpts) for transaction in peer.transactions] == [100, 100, 50]


async def finished(wiring, message_id):
    return await wiring.head(message_id) is None


async def test_one_dead_domain_does_not_hold_up_the_others(parts):
    async with Peer() as peer:
        wiring = await parts()
        await wiring.customer("127.0.0.1:9")
        await wiring.queued()
        names = [f"d{n}.test" for n in range(20)]
        for name in names:
            await wiring.customer(f"127.0.0.1:{peer.port}", domain=name)
        ids = [await wiring.queued(b"Subject: x\r\n\r\n", f"anna@{name}") for name in names]
        async with delivering(wiring):
            for message_id in ids:
                await ends(wiring, message_id, "Delivered")
            await eventually(lambda: counted(wiring, 1))


async def test_a_changed_route_holds_for_a_connection_that_is_open(parts):
    async with Peer() as old, Peer() as new:
        wiring = await parts(connections_per_server=1, keep_connection="30s")
        await wiring.customer(f"127.0.0.1:{old.port}")
        first = await wiring.queued()
        async with delivering(wiring):
            await ends(wiring, first, "Delivered")
            await wiring.customer(f"127.0.0.1:{new.port}")
            second = await wiring.queued()
            await ends(wiring, second, "Delivered")
        assert (len(old.transactions), len(new.transactions)) == (1, 1)


async def test_a_changed_route_moves_what_waits_for_the_old_one(parts):
    async with Peer() as new:
        wiring = await parts()
        await wiring.customer("127.0.0.1:9")
        message_id = await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: counted(wiring, 1))
            await wiring.customer(f"127.0.0.1:{new.port}")
            await wiring.schedule.retry_now(PARTITION, DOMAIN, wiring.clock(), ["127.0.0.1:9"])
            await ends(wiring, message_id, "Delivered")


async def test_a_server_whose_name_does_not_exist_is_waited_for_because_it_can_be_mended(parts):
    async with Names({}) as names:
        wiring = await parts()
        await wiring.customer("mail.gone.example:25")
        message_id = await wiring.queued()
        async with delivering(wiring, f"127.0.0.1:{names.port}"):
            await eventually(lambda: counted(wiring, 1))
        (outage,) = await outages(wiring)
        assert (outage.attempts[0].stage, outage.attempts[0].server) == ("route", "mail.gone.example:25")
        assert "does not exist" in outage.attempts[0].reply
        assert await wiring.head(message_id) is not None


async def test_a_name_that_leads_into_a_network_of_ours_is_not_dialled(parts):
    async with Peer() as peer, Names({("mail.inside.example", "A"): ["127.0.0.1"]}) as names:
        wiring = await parts(allow_networks="10.0.0.0/8")
        await wiring.customer(f"mail.inside.example:{peer.port}")
        await wiring.queued()
        async with delivering(wiring, f"127.0.0.1:{names.port}"):
            await eventually(lambda: counted(wiring, 1))
        (outage,) = await outages(wiring)
        assert "allow_networks" in outage.attempts[0].reply
        assert peer.connections == 0


async def test_mail_for_an_outside_domain_that_does_not_exist_fails_at_once(parts):
    async with Names({}) as names:
        wiring = await parts()
        message_id = await wiring.queued(b"Subject: x\r\n\r\n", "boss@gone.example", sender="")
        async with delivering(wiring, f"127.0.0.1:{names.port}"):
            await ends(wiring, message_id, "Undeliverable")
        kept = (await wiring.events(message_id))[-1].event
        assert (kept.reason, kept.unsent, kept.attempt.stage) == ("refused", "null sender", "route")


async def test_one_servers_connections_serve_all_domains_that_use_it(parts):
    async with Peer() as peer:
        wiring = await parts(connections_per_server=3)
        names = [f"d{n}.test" for n in range(40)]
        ids = []
        for name in names:
            await wiring.customer(f"127.0.0.1:{peer.port}", domain=name)
            ids += [await wiring.queued(b"Subject: x\r\n\r\n", f"anna@{name}") for _ in range(3)]
        async with delivering(wiring):
            for message_id in ids:
                await ends(wiring, message_id, "Delivered", within=20)
        assert len(peer.transactions) == 120
        assert peer.connections <= 3


async def test_a_connection_is_kept_for_the_next_message_and_then_ended_with_quit(parts):
    async with Peer() as peer:
        wiring = await parts(keep_connection="500ms")
        await wiring.customer(f"127.0.0.1:{peer.port}")
        async with delivering(wiring):
            for _ in range(3):
                await ends(wiring, await wiring.queued(), "Delivered")
            await peer.until(lambda: b"QUIT" in peer.said)
            await eventually(lambda: free(wiring, peer.port))
        assert peer.connections == 1
        assert len(peer.transactions) == 3


async def free(wiring, port):
    return not await wiring.store.redis.zcard(keys.server_slots(f"127.0.0.1:{port}"))


async def test_places_at_a_server_are_shared_with_other_processes(parts):
    async with Peer() as peer:
        wiring = await parts(connections_per_server=1)
        server = f"127.0.0.1:{peer.port}"
        await wiring.customer(server)
        message_id = await wiring.queued()
        assert (await wiring.schedule.take_server(server, "elsewhere", wiring.clock(), 1)).word == "taken"
        async with delivering(wiring):
            await eventually(lambda: claimed(wiring))
            assert peer.connections == 0
            await wiring.schedule.release_server(server, "elsewhere")
            await ends(wiring, message_id, "Delivered")


async def claimed(wiring):
    return await wiring.store.redis.zcard(keys.slots(PARTITION, DOMAIN))


async def test_an_open_connection_to_a_backup_is_no_reason_to_pass_over_the_preferred_server(parts):
    async with Peer() as first, Peer() as backup:
        wiring = await parts(keep_connection="30s")
        await wiring.customer(f"127.0.0.1:{backup.port}", domain="other.test")
        await wiring.customer(f"127.0.0.1:{first.port}", f"127.0.0.1:{backup.port}")
        async with delivering(wiring):
            await ends(wiring, await wiring.queued(b"Subject: x\r\n\r\n", "anna@other.test"), "Delivered")
            await ends(wiring, await wiring.queued(), "Delivered")
        assert (len(first.transactions), len(backup.transactions)) == (1, 1)


async def test_a_server_that_was_dialled_in_vain_is_known_to_be_down_even_if_the_backup_was_known_before(parts):
    wiring = await parts()
    dead, backup = f"127.0.0.1:{free_port()}", "127.0.0.1:9"
    await wiring.customer(dead, backup)
    await wiring.schedule.server_down(backup, wiring.clock(), wiring.clock() + 10**9 * 300, "timed out")
    await wiring.queued()
    async with delivering(wiring):
        await eventually(lambda: counted(wiring, 1))
        await eventually(lambda: down(wiring, dead))
    place = await wiring.schedule.take_server(backup, "probe", wiring.clock(), 50)
    assert place.word == "down"
    assert place.until / 1000 - wiring.clock() / 1e9 < 301


async def down(wiring, server):
    return (await wiring.schedule.take_server(server, "probe", wiring.clock(), 50)).word == "down"


@pytest.mark.parametrize("features", [("SMTPUTF8", "PIPELINING"), ("PIPELINING",)])
async def test_what_a_server_offers_is_known_to_the_receivers(parts, features):
    async with Peer(features=features) as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        domain = wiring.directory.home(DOMAIN)
        assert not await wiring.directory.takes_smtputf8(domain)
        message_id = await wiring.queued()
        async with delivering(wiring):
            await ends(wiring, message_id, "Delivered")
        assert await wiring.directory.takes_smtputf8(domain) == ("SMTPUTF8" in features)
