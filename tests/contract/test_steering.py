"""Steering through the log's own script: where a message is found afterwards, and that of two who decide at once one decides."""

from __future__ import annotations

import asyncio
import random

import pytest

from pipeline import keys, steering
from pipeline.events import Queued, Retried, RouteDeferred, Scanned
from pipeline.faults import ConflictError, RefusedError
from pipeline.ids import new_id
from pipeline.schedule import Schedule
from pipeline.settings import Settings
from pipeline.state import Stage, decode_head
from pipeline.steps import MS, decode_route, message_step, received_step, retried_step, route_deferred_step
from pipeline.units import Duration
from tests.support.examples import ANNA, AT, ATTEMPT, BEN, CARL, DOMAIN, SECOND, event, received

P = 3
NOW = AT + SECOND
BY = {"by": "cli:op", "reason": "x"}


def no_reason(_):
    return ""


async def head(store, message_id):
    data = await store.redis.hget(keys.head(P, message_id), "m")
    return decode_head(data) if data else None


async def queued(store, log):
    message_id = new_id(AT, P)
    await log.commit(received_step(message_id, received(ANNA, BEN), b"body"))
    message = await head(store, message_id)
    await log.commit(message_step(message, [event(Scanned), event(Queued, (ANNA, BEN))], now=NOW)[0])
    return message_id


def move(rng, message, now):
    until = now + rng.randrange(3) * SECOND
    moves = (
        lambda: steering.held(message, now=now, until=rng.choice([0, until + 1]), **BY),
        lambda: steering.resumed(message, by="cli:op", now=now),
        lambda: steering.planned(
            message, then=rng.choice(["bounce", "delete"]), now=now, until=until, action="a", **BY
        ),
        lambda: steering.undone(message, by="cli:op", now=now),
        lambda: steering.carried_out(message, now=now, route=None, unsent=no_reason, partition_of_sender=0),
        lambda: steering.redirected(message, to=CARL, now=now, lifetime=1, partition=0, **BY)[:1],
    )
    weights = (4, 4, 4, 4, 2, 1)
    try:
        return rng.choices(moves, weights)[0]()
    except RefusedError:
        return ()


async def found(store, message_id):
    """Scores in the queue and in the three sets of what is held; None where it is not."""
    names = (keys.queue(P, DOMAIN), keys.ends(P), keys.held(P), keys.held_of(P, DOMAIN))
    return [await store.redis.zscore(name, message_id) for name in names]


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_was_decided_a_message_is_found_where_it_is(store, log, seed):
    rng, message_id = random.Random(seed), await queued(store, log)
    now = NOW
    for _ in range(20):
        now += rng.randrange(2) * SECOND
        message = await head(store, message_id)
        if message is None:
            break
        events = move(rng, message, now)
        if events:
            await log.commit(message_step(message, events, now=now)[0])
        message = await head(store, message_id)
        in_queue, ends, held, held_of = await found(store, message_id)
        hold = message.hold if message is not None else None
        assert (in_queue is not None) == (message is not None and bool(message.addresses(Stage.QUEUED)))
        assert ends == (hold.until // MS if hold is not None and hold.until else None)
        assert (held, held_of) == ((held, held) if hold is not None else (None, None))
    if await head(store, message_id) is None:
        assert await found(store, message_id) == [None] * 4
        assert not await store.redis.exists(keys.body(P, message_id))
        assert await store.redis.zscore(keys.expiry(P), message_id) is None


async def test_of_those_who_decide_on_the_same_state_one_decides_and_nothing_of_the_others_happens(store, log):
    message_id = await queued(store, log)
    message = await head(store, message_id)
    asked = [
        steering.held(message, now=NOW, until=NOW + 7 * SECOND, **BY),
        steering.planned(message, then="delete", now=NOW, until=NOW + 8 * SECOND, action="a", **BY),
        steering.planned(message, then="bounce", now=NOW, until=NOW + 9 * SECOND, action="b", **BY),
        steering.redirected(message, to=CARL, now=NOW, lifetime=1, partition=0, **BY)[:1],
    ]
    steps = [message_step(message, events, now=NOW)[0] for events in asked]
    results = await asyncio.gather(*map(log.commit, steps), return_exceptions=True)
    assert [type(one) for one in results].count(ConflictError) == 3
    assert [recorded.version for recorded in await log.read(P, "0", 100)] == [1, 2, 3, 4]
    after = await head(store, message_id)
    assert (await found(store, message_id))[1] == (after.hold.until // MS if after is not None else None)


async def test_a_held_message_is_out_of_the_deliverers_reach_and_due_the_moment_it_is_resumed(store, log):
    schedule = Schedule(store, Settings(lease=Duration(60 * SECOND)))
    message_id = await queued(store, log)
    message = await head(store, message_id)
    assert await schedule.take(message, P, NOW)
    await log.commit(message_step(message, steering.held(message, now=NOW, **BY), now=NOW)[0])
    got = await schedule.claim(P, DOMAIN, "t", now=NOW, retry_at=NOW + SECOND, more=False)
    assert (got.word, got.work) == ("early", [])
    assert await schedule.retry_now(P, DOMAIN, NOW, ()) == 0
    message = await head(store, message_id)
    await log.commit(message_step(message, steering.resumed(message, by="cli:op", now=NOW), now=NOW)[0])
    got = await schedule.claim(P, DOMAIN, "t", now=NOW, retry_at=NOW + SECOND, more=False)
    assert [work.id for work in got.work] == [message_id]


async def test_a_recorded_retry_leaves_what_is_known_of_the_route(store, log):
    schedule = Schedule(store, Settings())
    down = RouteDeferred(at=NOW, domain=DOMAIN, tries=3, since=AT, next_try=NOW + SECOND, attempts=(ATTEMPT,))
    await log.commit(route_deferred_step(P, await schedule.route(P, DOMAIN), down, "", []))
    before = await schedule.route(P, DOMAIN)
    await log.commit(retried_step(P, before, Retried(at=NOW, domain=DOMAIN, by="cli:op", waiting=1)))
    after = decode_route(await store.redis.hget(keys.route(P, DOMAIN), "m"))
    assert (after.version, after.tries, after.since, after.attempts) == (before.version + 1, 3, AT, (ATTEMPT,))
