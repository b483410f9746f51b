"""A held domain: its mail is kept, nothing is dialled, and it flows the moment somebody says so. And a domain that became an alias."""

from __future__ import annotations

import msgspec

from pipeline import keys
from pipeline.directory import Directory, Domain
from pipeline.ids import partition_for
from pipeline.log import Log
from pipeline.route import Resolver
from tests.support.peer import Peer
from tests.support.servers import eventually
from tests.workers.conftest import DOMAIN, PARTITION, running
from workers.deliverer.role import Deliverer
from workers.janitor import Janitor

BY = {"by": "test", "now": 1}


def delivering(wiring):
    return running(lambda stop: Deliverer(wiring, Resolver(""), stop).run())


async def due_later(wiring):
    score = await wiring.store.redis.zscore(keys.due(PARTITION), DOMAIN)
    return score is not None and score / 1000 > wiring.clock() / 1e9 + 800


async def kinds(wiring, *ids):
    return [(await wiring.kinds(message_id))[3:] for message_id in ids]


async def test_mail_of_a_held_domain_waits_and_flows_on_resume_without_waiting_for_the_next_look(parts):
    async with Peer() as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        await wiring.directory.hold(DOMAIN, "a reason", **BY)
        first = await wiring.queued()
        async with delivering(wiring):
            await eventually(lambda: due_later(wiring))
            second = await wiring.queued()
            assert await due_later(wiring)
            assert await kinds(wiring, first, second) == [[], []]
            assert peer.connections == 0

            # By another process, as a command does it.
            other = Directory(wiring.store, Log(wiring.store.redis))
            await other.resume(DOMAIN, **BY)
            await wiring.schedule.retry_now(PARTITION, DOMAIN, wiring.clock(), ())

            async def delivered():
                return await kinds(wiring, first, second) == [["Delivered"], ["Delivered"]]

            await eventually(delivered)


async def test_a_domain_that_is_held_in_the_middle_of_a_drain_stops_after_the_messages_in_hand(parts):
    async with Peer() as peer:
        wiring = await parts(connections_per_server=1)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        ids = [await wiring.queued() for _ in range(60)]
        held = False
        normal = wiring.schedule.claim

        async def claim(*arguments, **named):
            nonlocal held
            found = await normal(*arguments, **named)
            if found.work and not held:
                held = True
                await wiring.directory.hold(DOMAIN, "a reason", **BY)
            return found

        wiring.schedule.claim = claim

        async def stopped():
            # A claim puts the next attempt off before anything is sent: that alone is no end.
            return bool(peer.transactions) and await due_later(wiring)

        async with delivering(wiring):
            await eventually(stopped)
        left = [message_id for message_id in ids if await wiring.head(message_id)]
        assert 0 < len(left) == 60 - len(peer.transactions) < 60
        assert await wiring.store.redis.zcard(keys.queue(PARTITION, DOMAIN)) == len(left)
        assert (await wiring.kinds()).count("Deferred") == 0


async def test_a_resume_that_meets_the_look_at_a_held_domain_is_not_lost(parts):
    async with Peer() as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        await wiring.directory.hold(DOMAIN, "a reason", **BY)
        message_id = await wiring.queued()
        other = Directory(wiring.store, Log(wiring.store.redis))
        normal = wiring.schedule.put_off

        async def put_off(*arguments):
            """Somebody resumes, and makes it due, right before it is put off."""
            await other.resume(DOMAIN, **BY)
            await wiring.schedule.retry_now(PARTITION, DOMAIN, wiring.clock(), ())
            await normal(*arguments)

        wiring.schedule.put_off = put_off
        async with delivering(wiring):

            async def delivered():
                return await kinds(wiring, message_id) == [["Delivered"]]

            await eventually(delivered)


async def test_bodies_of_held_mail_leave_redis_and_it_ends_when_it_has_waited_as_long_as_it_may(parts):
    wiring = await parts()
    await wiring.customer("127.0.0.1:1")
    await wiring.directory.hold(DOMAIN, "a reason", **BY)
    message_id = await wiring.queued()
    async with delivering(wiring):
        await eventually(lambda: due_later(wiring))
    janitor = Janitor(wiring)
    wiring.forward(1)
    assert await janitor.cool() == 1
    assert await wiring.store.redis.get(keys.body(PARTITION, message_id)) is None
    wiring.forward(7 * 86400)
    assert await janitor.expire() == 1
    assert await kinds(wiring, message_id) == [["Failed"]]


async def test_mail_that_waits_for_a_domain_that_became_an_alias_goes_to_its_home_under_its_home_s_name(parts):
    async with Peer() as old, Peer() as new:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{old.port}")
        await wiring.customer(f"127.0.0.1:{new.port}", domain="new.test")
        message_id = await wiring.queued(b"Subject: x\r\n\r\n\r\n", f"anna+=1@{DOMAIN}")
        await wiring.directory.set_domain(Domain(name=DOMAIN, alias_of="new.test"), **BY)
        async with delivering(wiring):

            async def delivered():
                return await kinds(wiring, message_id) == [["Delivered"]]

            await eventually(delivered)
        assert old.connections == 0
        (transaction,) = new.transactions
        assert transaction.rcpts == [f"RCPT TO:<anna+=1@new.test> ORCPT=rfc822;anna+2B+3D1@{DOMAIN}".encode()]


async def test_a_child_s_mail_takes_its_parent_s_route(parts):
    async with Peer() as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        child = Domain(name="shop.test", parent=DOMAIN)
        await wiring.directory.set_domain(child, **BY)
        message_id = await wiring.queued(b"Subject: x\r\n\r\n\r\n", "anna@shop.test")
        assert partition_for("shop.test", 8) != PARTITION
        async with delivering(wiring):

            async def delivered():
                return await kinds(wiring, message_id) == [["Delivered"]]

            await eventually(delivered)
        assert msgspec.structs.asdict(wiring.directory.home("shop.test"))["route"] == (f"127.0.0.1:{peer.port}",)
