"""Several people, workers and janitors at the same mail at once: what happens is one step after the other, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random

import msgspec
import pytest

from pipeline import bounces, keys
from pipeline.events import Deferred, Delivered, Discarded, Failed, Held, Received, Redirected
from pipeline.faults import ConflictError, CorruptError, NotFoundError, RefusedError
from pipeline.ids import partition_for, partition_of
from pipeline.route import Resolver
from pipeline.steering import BOUNCE, DELETE
from pipeline.steps import MS, message_step
from tests.support.examples import DOMAIN, SECOND, event
from tests.support.peer import Peer
from tests.support.servers import eventually
from tests.workers.conftest import PARTITION, running
from workers.consume import Entry
from workers.deliverer.role import Deliverer
from workers.janitor import Janitor
from workers.steering import Steering, domains_behind, planned_messages
from workers.steward import Steward
from workers.sweeping import ORPHAN_AGE, Sweeper

OTHER = "other.test"
ENDS = (BOUNCE, DELETE)
BIG = b"Subject: x\r\n\r\n" + b"x" * 400_000 + b"\r\n"


async def plan(steering, message_id, then=DELETE, *, until=0, action="a"):
    return await steering.plan(message_id, then=then, reason="why", until=until, action=action)


async def hand_over(wiring, partition=PARTITION):
    """What the janitor does with its outbox."""
    rows = await wiring.store.redis.xrange(keys.outbox(partition))
    entries = [Entry(partition, keys.outbox(partition), entry.decode(), fields) for entry, fields in rows]
    assert await Janitor(wiring).send_bounces(entries) == {}
    return len(entries)


async def test_two_people_who_want_different_ends_get_one_and_the_other_is_told(parts):
    wiring = await parts()
    message_id = await wiring.queued()
    asked = [plan(Steering(wiring, by=f"cli:{then}"), message_id, then, until=2**62) for then in (BOUNCE, DELETE)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(map(type, results), key=str) == sorted([bool, RefusedError], key=str)
    assert (await wiring.kinds(message_id)).count("Held") == 1


async def test_many_double_clicks_are_one_step(parts):
    wiring = await parts()
    message_id = await wiring.queued()
    steering = Steering(wiring, by="cli:op")
    results = await asyncio.gather(*(plan(steering, message_id, until=2**62) for _ in range(20)))
    assert results.count(True) == 1
    assert (await wiring.kinds(message_id)).count("Held") == 1


async def test_several_janitors_carry_an_end_out_once(parts):
    wiring = await parts()
    ids = [await wiring.queued(sender="boss@senders.test") for _ in range(5)]
    for message_id in ids:
        await plan(Steering(wiring, by="cli:op"), message_id, BOUNCE)
    ended = await asyncio.gather(*(Steward(wiring).end_holds() for _ in range(4)))
    assert sum(ended) == 5
    assert [(await wiring.kinds(one)).count("Failed") for one in ids] == [1] * 5
    assert await wiring.store.redis.xlen(keys.outbox(PARTITION)) == 5
    for name in (
        keys.ends(PARTITION),
        keys.held(PARTITION),
        keys.held_of(PARTITION, DOMAIN),
        keys.queue(PARTITION, DOMAIN),
    ):
        assert await wiring.store.redis.exists(name) == 0
    assert await wiring.store.redis.exists(keys.body(PARTITION, ids[0])) == 0


async def test_what_a_deliverer_has_in_hand_is_waited_for_and_then_found_delivered(parts):
    wiring = await parts()
    message_id = await wiring.queued()
    now = wiring.clock()
    claim = await wiring.schedule.claim(PARTITION, DOMAIN, "t", now=now, retry_at=now + 1, more=False)
    assert [work.id for work in claim.work] == [message_id]
    steering = Steering(wiring, by="cli:op", patience=20)
    asked = asyncio.create_task(plan(steering, message_id))
    looks = 0
    normal = wiring.schedule.take

    async def take(*arguments):
        nonlocal looks
        looks += 1
        return await normal(*arguments)

    wiring.schedule.take = take

    async def looked():
        return looks > 2

    await eventually(looked)
    assert not asked.done()
    await wiring.schedule.release(PARTITION, DOMAIN, "t", [message_id], wiring.clock())
    assert await asked
    assert (await wiring.kinds(message_id))[-1] == "Held"


async def test_a_message_in_hand_for_too_long_is_said_to_be_and_stays_as_it_was(parts):
    wiring = await parts()
    message_id = await wiring.queued()
    now = wiring.clock()
    await wiring.schedule.claim(PARTITION, DOMAIN, "t", now=now, retry_at=now + 1, more=False)
    steering = Steering(wiring, by="cli:op", patience=0.1)
    for asked in (
        steering.hold(message_id, reason="x"),
        plan(steering, message_id),
        steering.redirect(message_id, to=f"ben@{DOMAIN}", reason="x"),
    ):
        with pytest.raises(RefusedError, match="being delivered"):
            await asked
    assert (await wiring.kinds(message_id))[-1] == "Queued"
    assert await wiring.schedule.renew(PARTITION, DOMAIN, "t", [message_id], now)


async def test_a_message_that_backs_off_by_itself_is_in_nobody_s_hands_while_others_are(parts):
    wiring = await parts()
    first, second = await wiring.queued(), await wiring.queued()
    message, now = await wiring.head(first), wiring.clock()
    deferred = msgspec.structs.replace(event(Deferred, at=now), domain=DOMAIN, next_try=now + 900 * SECOND)
    await wiring.log.commit(message_step(message, [deferred], now=now)[0])
    await wiring.store.redis.hdel(keys.route(PARTITION, DOMAIN), "until")
    await wiring.store.redis.zadd(keys.due(PARTITION), {DOMAIN: now // MS})
    claim = await wiring.schedule.claim(PARTITION, DOMAIN, "t", now=now, retry_at=now + 1, more=False)
    assert [work.id for work in claim.work] == [second]
    steering = Steering(wiring, by="cli:op", patience=0)
    assert await steering.hold(first, reason="x")
    with pytest.raises(RefusedError):
        await steering.hold(second, reason="x")


async def gone(wiring, message_id: str) -> bool:
    return not wiring.bodies.cold.path(message_id).exists()


async def test_a_redirected_body_on_disk_is_nobody_s_orphan_until_it_is_a_message(parts):
    wiring = await parts()
    wiring.forward(-ORPHAN_AGE - 60)
    message_id = await wiring.queued(BIG)
    new = await Steering(wiring, by="cli:op").redirect(message_id, to=f"carl@{OTHER}", reason="x")
    path = wiring.bodies.cold.path(new)
    assert path.read_bytes() == BIG
    await eventually(lambda: gone(wiring, message_id))
    os.utime(path, (1, 1))
    assert await Sweeper(wiring, asyncio.Event()).sweep() == 0
    assert path.exists()
    assert await hand_over(wiring) == 1
    assert await hand_over(wiring) == 0
    assert await wiring.store.redis.exists(keys.promised(PARTITION)) == 0
    assert [type(one.event) for one in await wiring.events(new)] == [Received]
    assert bytes(await wiring.bodies.get(new)) == BIG
    assert partition_of(new) == partition_for(OTHER, 8)


async def test_a_redirection_that_meets_the_move_of_a_body_to_disk_or_a_second_one_is_whole_or_not_at_all(parts):
    wiring = await parts(hot_bodies="files")
    for content in (b"Subject: x\r\n\r\nhello\r\n", BIG[:100_000], BIG):
        message_id = await wiring.queued(content)
        steering = Steering(wiring, by="cli:op")
        results = await asyncio.gather(
            *(steering.redirect(message_id, to=f"x{n}@{OTHER}", reason="x") for n in range(4)),
            wiring.bodies.cool([message_id]),
            return_exceptions=True,
        )
        made = [one for one in results[:4] if isinstance(one, str)]
        assert len(made) == 1, results
        assert {type(one) for one in results[:4]} == {str, RefusedError}
        await hand_over(wiring)
        assert bytes(await wiring.bodies.get(made[0])) == content
        # A body that was on its way to the disk when its message left is swept up later.
        files = [path for path in wiring.bodies.cold.root.rglob("*") if path.is_file()]
        assert {path.name for path in files} <= {made[0], message_id}
        await wiring.store.redis.flushall()
        for path in files:
            path.unlink()
        wiring.log._server_ms = 0


async def test_a_message_without_a_body_is_returned_all_the_same_and_cannot_be_redirected(parts):
    wiring = await parts()
    message_id = await wiring.queued(sender="boss@senders.test")
    await wiring.store.redis.delete(keys.body(PARTITION, message_id))
    with pytest.raises(CorruptError):
        await Steering(wiring, by="cli:op").redirect(message_id, to=f"ben@{DOMAIN}", reason="x")
    await plan(Steering(wiring, by="cli:op"), message_id, BOUNCE)
    assert await Steward(wiring).end_holds() == 1
    assert (await wiring.kinds(message_id))[-1] == "Failed"


async def test_one_message_s_trouble_holds_up_no_other_and_is_tried_again(parts, monkeypatch):
    wiring = await parts()
    bad, good, unreadable = [await wiring.queued(sender="boss@senders.test") for _ in range(3)]
    for message_id in (bad, good, unreadable):
        await plan(Steering(wiring, by="cli:op"), message_id, BOUNCE)
    head = await wiring.store.redis.hget(keys.head(PARTITION, unreadable), "m")
    await wiring.store.redis.hset(keys.head(PARTITION, unreadable), "m", b"\xc1")
    normal = bounces.promise

    def promise(message, *arguments, **named):
        if message.id == bad:
            raise RuntimeError("cannot be rendered")
        return normal(message, *arguments, **named)

    monkeypatch.setattr(bounces, "promise", promise)
    assert await Steward(wiring).end_holds() == 1
    assert (await wiring.kinds(good))[-1] == "Failed"
    assert await Steward(wiring).end_holds() == 0
    monkeypatch.setattr(bounces, "promise", normal)
    await wiring.store.redis.hset(keys.head(PARTITION, unreadable), "m", head)
    wiring.forward(61)
    assert await Steward(wiring).end_holds() == 2


async def test_bodies_of_held_mail_leave_redis_and_come_back_out_when_it_is_resumed(parts):
    wiring = await parts()
    async with Peer() as peer:
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await wiring.queued()
        steering = Steering(wiring, by="cli:op")
        await steering.hold(message_id, reason="x")
        wiring.forward(1)
        assert await Janitor(wiring).cool() == 1
        async with running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()):
            await steering.resume(message_id)

            async def delivered():
                return (await wiring.kinds(message_id))[-1] == "Delivered"

            await eventually(delivered)
        assert len(peer.transactions) == 1


async def test_held_mail_is_returned_when_it_has_waited_as_long_as_it_may(parts):
    wiring = await parts()
    message_id, other = await wiring.queued(), await wiring.queued()
    await Steering(wiring, by="cli:op").hold(message_id, reason="x")
    await plan(Steering(wiring, by="cli:op"), other, until=2**62)
    wiring.forward(8 * 86400)
    assert await Janitor(wiring).expire() == 1
    last = (await wiring.events(message_id))[-1].event
    assert isinstance(last, Failed)
    assert last.reason == "expired"
    assert (await wiring.kinds(other))[-1] == "Held"


async def test_a_held_server_is_named_for_who_waits_and_found_by_those_behind_it(parts):
    wiring = await parts()
    async with Peer() as peer, Peer() as second:
        held, free = f"127.0.0.1:{peer.port}", f"127.0.0.1:{second.port}"
        await wiring.customer(held)
        await wiring.customer(held, free, domain=OTHER)
        await wiring.directory.hold_server(held, "x", by="cli:op", now=wiring.clock())
        waits = await wiring.queued()
        goes = await wiring.queued(b"Subject: x\r\n\r\n\r\n", f"anna@{OTHER}")
        async with running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()):

            async def settled():
                return "RouteDeferred" in await wiring.kinds() and (await wiring.kinds(goes))[-1] == "Delivered"

            await eventually(settled)
            assert (peer.connections, len(second.transactions)) == (0, 1)
            route = await wiring.schedule.route(PARTITION, DOMAIN)
            assert [attempt.reply for attempt in route.attempts] == ["Mail to this server is on hold."]
            assert not await wiring.store.redis.exists(keys.server(held))
            assert await domains_behind(wiring, held) == [DOMAIN]

            await wiring.directory.hold_server(free, "x", by="cli:op", now=wiring.clock())
            await wiring.directory.resume_server(held, by="cli:op", now=wiring.clock())
            await wiring.schedule.retry_now(PARTITION, DOMAIN, wiring.clock(), ())

            async def delivered():
                return (await wiring.kinds(waits))[-1] == "Delivered"

            await eventually(delivered)


async def test_a_connection_that_is_open_takes_no_more_once_its_server_is_held(parts):
    wiring = await parts(connections_per_server=1)
    async with Peer() as peer:
        server = f"127.0.0.1:{peer.port}"
        await wiring.customer(server)
        ids = [await wiring.queued() for _ in range(40)]
        normal = wiring.log.commit
        held = False

        async def commit(step, **named):
            nonlocal held
            if not held and step.subject in ids:
                held = True
                await wiring.directory.hold_server(server, "x", by="cli:op", now=wiring.clock())
            return await normal(step, **named)

        wiring.log.commit = commit
        async with running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()):

            async def waits():
                return "RouteDeferred" in await wiring.kinds()

            await eventually(waits)
        assert len(peer.transactions) == 1
        left = [one for one in ids if await wiring.head(one)]
        assert len(left) == 39
        assert await wiring.store.redis.zcard(keys.queue(PARTITION, DOMAIN)) == 39


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_people_workers_and_janitors_do_at_once_every_message_ends_once_and_nothing_is_left(parts, seed):
    """Random steering beside a deliverer and two janitors; in the end everything is let go."""
    rng = random.Random(seed)
    wiring = await parts()
    async with Peer() as peer:
        await wiring.customer(f"127.0.0.1:{peer.port}")
        await wiring.customer(f"127.0.0.1:{peer.port}", domain=OTHER)
        ids = [await wiring.queued(sender=rng.choice(["", "boss@senders.test"])) for _ in range(30)]

        async def steer(name):
            steering = Steering(wiring, by=name, patience=1)
            for _ in range(40):
                message_id, until = rng.choice(ids), wiring.clock() + rng.randrange(200) * 1_000_000
                moves = (
                    lambda: steering.hold(message_id, reason=rng.choice("ab"), until=rng.choice([0, until])),  # noqa: B023
                    lambda: steering.resume(message_id),  # noqa: B023
                    lambda: steering.plan(message_id, then=rng.choice(ENDS), reason="x", until=until, action=name),  # noqa: B023
                    lambda: steering.undo(message_id),  # noqa: B023
                    lambda: steering.redirect(message_id, to=f"anna@{OTHER}", reason="x"),  # noqa: B023
                )
                with contextlib.suppress(RefusedError, ConflictError, NotFoundError):
                    await rng.choice(moves)()

        async def tidy(stop):
            while not stop.is_set():
                await Steward(wiring).end_holds()
                await asyncio.sleep(0.01)

        async with (
            running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()),
            running(tidy),
            running(tidy),
        ):
            await asyncio.gather(*(steer(f"cli:{n}") for n in range(4)))
            for message_id in ids:
                steering = Steering(wiring, by="cli:end")
                for last in (steering.undo, steering.resume):
                    with contextlib.suppress(RefusedError, NotFoundError):
                        await last(message_id)

            async def over():
                return not [one for one in ids if await wiring.head(one) is not None]

            await eventually(over, within=20)
        ends = (Delivered, Failed, Discarded, Redirected)
        for message_id in ids:
            events = [one.event for one in await wiring.events(message_id)]
            assert sum(isinstance(event, ends) for event in events) == 1, events
        delivered = sum(isinstance(one.event, Delivered) for one in await wiring.events())
        assert len(peer.transactions) == delivered
        for name in (keys.ends, keys.held, keys.expiry):
            assert await wiring.store.redis.exists(name(PARTITION)) == 0
        assert await wiring.store.redis.exists(keys.queue(PARTITION, DOMAIN), keys.held_of(PARTITION, DOMAIN)) == 0
        assert not [one async for one in planned_messages(wiring)]
        assert any(isinstance(one.event, Held) for one in await wiring.events())
