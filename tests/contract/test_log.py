"""What the log promises: one atomic step, judged by the version; nothing twice, nothing half."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from pipeline import keys
from pipeline.events import Delivered, Quarantined, Queued, Received, Released, RouteDeferred, Scanned
from pipeline.faults import ConflictError, LeaseLostError
from pipeline.ids import new_id
from pipeline.log import Damaged, Log
from pipeline.state import Stage, decode_head
from pipeline.steps import MS, Route, message_step, promised_step, received_step, route_deferred_step
from tests.support.examples import ANNA, AT, ATTEMPT, BEN, DOMAIN, SECOND, event, received
from tests.support.topologies import all_keys

P = 3


async def accept(log: Log, *recipients: str, body: bytes | None = b"hello") -> str:
    message_id = new_id(AT, P)
    await log.commit(received_step(message_id, received(*recipients or (ANNA,)), body))
    return message_id


async def head(store, message_id):
    data = await store.redis.hget(keys.head(P, message_id), "m")
    return decode_head(data) if data else None


async def go(store, log, message_id, *kinds, **more):
    """Append events of these kinds as one step."""
    message = await head(store, message_id)
    step, after = message_step(message, [event(kind) for kind in kinds], now=AT + SECOND, **more)
    return await log.commit(step), after


async def kinds(log, partition=P):
    return [type(recorded.event).__name__ for recorded in await log.read(partition, "0", 100)]


async def test_a_received_message_is_in_the_log_with_head_body_and_work(store, log):
    message_id = await accept(log)
    (recorded,) = await log.read(P, "0", 10)
    assert (recorded.subject, recorded.version, recorded.event) == (message_id, 1, received())
    message = await head(store, message_id)
    assert (message.version, message.stage) == (1, Stage.RECEIVED)
    assert await store.redis.get(keys.body(P, message_id)) == b"hello"
    assert [fields for _, fields in await store.redis.xrange(keys.scan(P))] == [{b"id": message_id.encode()}]
    assert await store.redis.zscore(keys.expiry(P), message_id) == received().expires // MS


async def test_a_scanned_and_queued_message_makes_its_domain_due_in_the_same_step(store, log):
    message_id = await accept(log)
    await go(store, log, message_id, Scanned, Queued)
    assert await kinds(log) == ["Received", "Scanned", "Queued"]
    assert await store.redis.zscore(keys.queue(P, DOMAIN), message_id) == (AT + SECOND) // MS
    assert await store.redis.zscore(keys.due(P), DOMAIN) == (AT + SECOND) // MS


async def test_after_the_last_outcome_only_the_log_knows_of_it(store, log):
    message_id = await accept(log)
    await go(store, log, message_id, Scanned, Queued)
    await store.redis.delete(keys.scan(P))
    was_cold, after = await go(store, log, message_id, Delivered)
    assert not was_cold
    assert not after.live
    left = {key.decode() for key in await all_keys(store.redis, "*")}
    assert left == {keys.log(P), keys.due(P)}
    assert await kinds(log) == ["Received", "Scanned", "Queued", "Delivered"]


async def test_a_body_that_was_not_hot_is_told(store, log):
    message_id = await accept(log, body=None)
    await go(store, log, message_id, Scanned, Queued)
    was_cold, _ = await go(store, log, message_id, Delivered)
    assert was_cold


async def test_the_second_of_two_who_decide_the_same_meets_a_conflict_and_changes_nothing(store, log):
    message_id = await accept(log)
    message = await head(store, message_id)
    step, _ = message_step(message, [event(Scanned), event(Queued)], now=AT)
    await log.commit(step)
    before = await store.redis.dump(keys.head(P, message_id)), await kinds(log)
    with pytest.raises(ConflictError):
        await log.commit(step)
    assert (await store.redis.dump(keys.head(P, message_id)), await kinds(log)) == before


async def test_of_many_at_once_exactly_one_wins(store, log):
    message_id = await accept(log)
    message = await head(store, message_id)
    step, _ = message_step(message, [event(Scanned), event(Queued)], now=AT)
    results = await asyncio.gather(*(log.commit(step) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(result, ConflictError) for result in results) == 49
    assert await kinds(log) == ["Received", "Scanned", "Queued"]


async def test_a_conflict_does_not_disturb_the_steps_sent_in_the_same_call(store, log):
    first = await accept(log)
    duplicate = received_step(first, received(), b"other")
    fresh = [new_id(AT, P) for _ in range(10)]
    steps = [
        received_step(fresh[0], received(), b"0"),
        duplicate,
        *(received_step(i, received(), b"x") for i in fresh[1:]),
    ]
    results = await asyncio.gather(*(log.commit(step) for step in steps), return_exceptions=True)
    assert [index for index, result in enumerate(results) if isinstance(result, ConflictError)] == [1]
    assert await store.redis.get(keys.body(P, first)) == b"hello"
    assert len(await log.read(P, "0", 100)) == 11


async def test_what_was_promised_is_made_once_also_when_it_is_finished_since(store, log):
    """A janitor that slept with the promise in its hands wakes up when another's message of it was delivered long ago."""
    message_id = new_id(AT, P)
    await log.commit(promised_step(message_id, received(ANNA), b"hello"))
    with pytest.raises(ConflictError):
        await log.commit(promised_step(message_id, received(ANNA), b"hello"))
    await go(store, log, message_id, Scanned, Queued, Delivered)
    assert await head(store, message_id) is None
    with pytest.raises(ConflictError):
        await log.commit(promised_step(message_id, received(ANNA), b"hello"))
    assert await kinds(log) == ["Received", "Scanned", "Queued", "Delivered"]
    assert await store.redis.get(keys.body(P, message_id)) is None
    assert await store.redis.pttl(keys.made(P, message_id)) > 86_400_000


async def test_a_finished_message_cannot_be_moved_by_a_late_worker(store, log):
    message_id = await accept(log)
    await go(store, log, message_id, Scanned, Queued)
    message = await head(store, message_id)
    step, _ = message_step(message, [event(Delivered)], now=AT)
    await log.commit(step)
    with pytest.raises(ConflictError):
        await log.commit(step)
    assert (await kinds(log)).count("Delivered") == 1


async def test_a_worker_whose_lease_was_lost_cannot_commit(store, log):
    message_id = await accept(log)
    await go(store, log, message_id, Scanned, Queued)
    slots = keys.slots(P, DOMAIN)
    with pytest.raises(LeaseLostError):
        await go(store, log, message_id, Delivered, fence=slots, token="mine")
    await store.redis.zadd(slots, {"mine": 1})
    await go(store, log, message_id, Delivered, fence=slots, token="mine")
    assert (await kinds(log)).count("Delivered") == 1


async def test_mail_for_a_domain_that_backs_off_does_not_make_it_due(store, log):
    until = (AT + 900 * SECOND) // MS
    await store.redis.hset(keys.route(P, DOMAIN), "until", until)
    message_id = await accept(log)
    await go(store, log, message_id, Scanned, Queued)
    assert await store.redis.zscore(keys.due(P), DOMAIN) == until
    assert await store.redis.zscore(keys.queue(P, DOMAIN), message_id) == (AT + SECOND) // MS


async def test_a_route_that_backs_off_is_one_event_and_its_messages_go_back_untouched(store, log):
    slots, queue = keys.slots(P, DOMAIN), keys.queue(P, DOMAIN)
    await store.redis.zadd(slots, {"mine": 1})
    await store.redis.zadd(queue, {"a": 5, "b": 6, "other": 7})
    event_ = RouteDeferred(at=AT, domain=DOMAIN, tries=1, since=AT, next_try=AT + 900 * SECOND, attempts=(ATTEMPT,))
    await log.commit(route_deferred_step(P, Route(), event_, "mine", ["a", "b"]))
    assert await kinds(log) == ["RouteDeferred"]
    assert await store.redis.zscore(keys.due(P), DOMAIN) == (AT + 900 * SECOND) // MS
    assert [await store.redis.zscore(queue, name) for name in ("a", "b", "other")] == [AT // MS, AT // MS, 7]
    assert await store.redis.zcard(slots) == 0
    await store.redis.zadd(slots, {"second": 1})
    with pytest.raises(ConflictError):
        await log.commit(route_deferred_step(P, Route(), event_, "second", []))


async def test_recipients_that_wait_keep_their_message_alive(store, log):
    message_id = await accept(log, ANNA, BEN)
    message = await head(store, message_id)
    step, message = message_step(message, [event(Scanned), event(Queued, (ANNA, BEN))], now=AT)
    await log.commit(step)
    step, message = message_step(message, [event(Delivered, (ANNA,))], now=AT)
    await log.commit(step)
    assert await store.redis.get(keys.body(P, message_id)) == b"hello"
    assert await store.redis.zscore(keys.queue(P, DOMAIN), message_id) is not None
    step, _ = message_step(message, [event(Delivered, (BEN,))], now=AT)
    await log.commit(step)
    assert await store.redis.exists(keys.body(P, message_id), keys.queue(P, DOMAIN), keys.expiry(P)) == 0


async def test_reading_goes_on_behind_an_entry_and_damage_does_not_stop_it(store, log):
    await accept(log)
    await store.redis.xadd(keys.log(P), {"s": "odd", "v": "1", "e": b"\xc1"})
    await store.redis.xadd(keys.log(P), {"nothing": "known"})
    second = await accept(log)
    rows = await log.read(P, "0", 100)
    assert [type(row) is Damaged for row in rows] == [False, True, True, False]
    assert rows[3].subject == second
    assert await log.read(P, rows[2].entry, 100) == rows[3:]
    assert await log.read(P, "0", 2) == rows[:2]
    assert await log.read(P, "0", 100, until=rows[1].entry) == rows[:2]
    assert await log.last_entry(P) == rows[3].entry
    assert await log.last_entry(5) == "0"


async def test_the_history_of_a_message_is_its_own_and_its_routes_events(store, log):
    message_id = await accept(log)
    await accept(log)
    event_ = RouteDeferred(at=AT, domain=DOMAIN, tries=1, since=AT, next_try=AT, attempts=(ATTEMPT,))
    await log.commit(route_deferred_step(P, Route(), event_, "", []))
    await go(store, log, message_id, Scanned, Queued)
    history = [type(recorded.event) async for recorded in log.history(message_id)]
    assert history == [Received, RouteDeferred, Scanned, Queued]
    short = [type(recorded.event) async for recorded in log.history(message_id, version=1)]
    assert short == [Received]


async def test_partitions_do_not_see_each_other(store, log):
    await accept(log)
    other = new_id(AT, 5)
    await log.commit(received_step(other, received(), b""))
    assert len(await log.read(P, "0", 10)) == len(await log.read(5, "0", 10)) == 1


async def test_the_index_of_what_is_kept_follows_the_quarantine(store, log):
    message_id = await accept(log, ANNA, BEN)
    message = await head(store, message_id)
    step, message = message_step(message, [event(Scanned), event(Quarantined, (ANNA,)), event(Queued, (BEN,))], now=AT)
    await log.commit(step)
    assert await store.redis.zscore(keys.kept(P), message_id) == AT // MS
    assert await store.redis.zscore(keys.queue(P, DOMAIN), message_id) == AT // MS
    step, _ = message_step(message, [event(Released, (ANNA,))], now=AT)
    await log.commit(step)
    assert await store.redis.zcard(keys.kept(P)) == 0


async def test_domains_that_become_due_in_one_call_are_one_hint(store, log):
    ids = [await accept(log) for _ in range(2)]
    heads = [await head(store, message_id) for message_id in ids]
    steps = [
        message_step(msgspec.structs.replace(message, domain=domain), [event(Scanned), event(Queued)], now=AT)[0]
        for message, domain in zip(heads, ("one.test", "two.test"), strict=True)
    ]
    pubsub = store.redis.pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe(keys.hint(P))
    await pubsub.get_message(timeout=1)
    await asyncio.gather(*(log.commit(step) for step in steps))
    hint = await pubsub.get_message(timeout=5)
    assert hint["data"] == b"one.test two.test"
    await pubsub.aclose()
