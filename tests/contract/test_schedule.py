"""The retry schedule: who may try which domain when, with how many connections, and what becomes of the work of the dead."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from pipeline import keys
from pipeline import schedule as schedule_module
from pipeline.claims import BATCH
from pipeline.events import Deferred, Delivered, Queued, RouteDeferred, Scanned
from pipeline.faults import CorruptError, StoreError
from pipeline.ids import new_id
from pipeline.schedule import Schedule
from pipeline.settings import Settings
from pipeline.state import decode_head
from pipeline.steps import MS, freed, message_step, opened, received_step, route_deferred_step
from pipeline.store import Script
from pipeline.units import Duration
from tests.support.examples import ANNA, AT, DOMAIN, SECOND, event, received

P = 3
LEASE = 60
NOW = AT + SECOND
RETRY = NOW + 900 * SECOND


@pytest.fixture
def schedule(store):
    return Schedule(store, Settings(lease=Duration(LEASE * SECOND), connections_per_server=3))


async def queue_mail(store, log, count=1, now=NOW):
    """Messages waiting to leave."""
    made = []
    for _ in range(count):
        message_id = new_id(AT, P)
        await log.commit(received_step(message_id, received(), b"body of " + message_id.encode()))
        message = decode_head(await store.redis.hget(keys.head(P, message_id), "m"))
        step, _ = message_step(message, [event(Scanned), event(Queued)], now=now)
        await log.commit(step)
        made.append(message_id)
    return made


async def open_route(store):
    for effect in opened(P, DOMAIN, NOW)[:2]:
        await store.redis.execute_command(*effect)


def claim(schedule, token, *, now=NOW, more=False):
    return schedule.claim(P, DOMAIN, token, now=now, retry_at=now + 900 * SECOND, more=more)


async def due_at(store):
    score = await store.redis.zscore(keys.due(P), DOMAIN)
    return None if score is None else int(score)


async def test_a_claim_brings_the_messages_with_their_heads_and_bodies(store, log, schedule):
    (message_id,) = await queue_mail(store, log)
    assert await schedule.due(P, NOW, 10) == ([DOMAIN], 0)
    got = await claim(schedule, "t1")
    (work,) = got.work
    assert (got.word, got.open, work.id, work.hot) == ("work", False, message_id, b"body of " + message_id.encode())
    assert work.message.addresses() == ()
    assert work.message.recipients[0].address == ANNA


async def test_the_next_attempt_is_written_before_this_one_is_made(store, log, schedule):
    await queue_mail(store, log)
    await claim(schedule, "t1")
    assert await due_at(store) == RETRY // MS
    # The worker dies here. Its lease ends, and still nobody dials before the interval is over.
    after_lease = NOW + (LEASE + 1) * SECOND
    assert await schedule.due(P, after_lease, 10) == ([], RETRY // MS)
    assert (await claim(schedule, "t2", now=after_lease)).word == "early"
    assert (await claim(schedule, "t2", now=RETRY)).word == "work"


async def test_fresh_mail_does_not_bring_a_failing_domain_forward(store, log, schedule):
    await queue_mail(store, log)
    await claim(schedule, "t1")
    await queue_mail(store, log, 5, now=NOW + SECOND)
    assert await due_at(store) == RETRY // MS


async def test_a_domain_that_never_answered_gets_one_slot_and_an_open_one_as_many_as_allowed(store, log, schedule):
    await queue_mail(store, log, 5 * BATCH)
    assert (await claim(schedule, "t1")).word == "work"
    await store.redis.zadd(keys.due(P), {DOMAIN: NOW // MS})
    assert (await claim(schedule, "t2")).word == "full"
    await open_route(store)
    for token in ("t2", "t3"):
        await store.redis.zadd(keys.due(P), {DOMAIN: NOW // MS})
        assert (await claim(schedule, token)).word == "work"
    await store.redis.zadd(keys.due(P), {DOMAIN: NOW // MS})
    assert (await claim(schedule, "t4")).word == "full"
    # When all slots are taken fresh mail causes no hints; the earliest end of a lease is when to look again.
    await queue_mail(store, log)
    assert await due_at(store) == NOW // MS + LEASE * 1000


async def test_a_domain_that_is_not_open_has_one_message_touched_however_many_wait(store, log, schedule):
    ids = await queue_mail(store, log, 3 * BATCH)
    assert len((await claim(schedule, "t1")).work) == 1
    assert await store.redis.zcount(keys.queue(P, DOMAIN), NOW // MS, NOW // MS) == len(ids) - 1


async def test_what_came_last_and_what_waits_longest_share_a_claim_and_each_is_taken_once(store, log, schedule):
    await open_route(store)
    backlog = [(await queue_mail(store, log, now=NOW - (100 - n) * SECOND))[0] for n in range(2 * BATCH)]
    first = [work.id for work in (await claim(schedule, "t1")).work]
    assert first[::2] == backlog[: BATCH // 2]
    assert first[1::2] == backlog[::-1][: BATCH // 2]
    rest = [work.id for work in (await claim(schedule, "t1", more=True)).work]
    assert sorted(first + rest) == sorted(backlog)


@pytest.mark.parametrize("count", [1, 2, BATCH - 1, BATCH, BATCH + 1, BATCH + 3])
async def test_a_claim_takes_as_many_as_there_are_up_to_a_batch(store, log, schedule, count):
    await open_route(store)
    ids = [(await queue_mail(store, log, now=NOW - (100 - n) * SECOND))[0] for n in range(count)]
    got = [work.id for work in (await claim(schedule, "t1")).work]
    assert len(set(got)) == len(got) == min(count, BATCH)
    if count < BATCH:
        assert got == ids


async def test_nobody_gets_what_another_has_in_hand(store, log, schedule):
    await open_route(store)
    ids = await queue_mail(store, log, BATCH + 2)
    first, second = await claim(schedule, "t1"), await claim(schedule, "t2")
    assert sorted(work.id for got in (first, second) for work in got.work) == sorted(ids)
    assert (len(first.work), len(second.work)) == (BATCH, 2)


async def test_the_work_of_the_dead_is_taken_over_when_their_lease_ends_and_they_are_fenced_off(store, log, schedule):
    await open_route(store)
    (message_id,) = await queue_mail(store, log)
    await claim(schedule, "t1")
    later = NOW + (LEASE + 1) * SECOND
    assert await schedule.due(P, later, 10) == ([DOMAIN], 0)
    got = await claim(schedule, "t2", now=later)
    assert [work.id for work in got.work] == [message_id]
    assert not await schedule.renew(P, DOMAIN, "t1", [message_id], later)
    assert (await claim(schedule, "t1", now=later, more=True)).word == "lost"
    await schedule.release(P, DOMAIN, "t1", [message_id], later)
    assert (await claim(schedule, "t3", now=later)).work == []


async def test_a_lease_that_is_renewed_does_not_end(store, log, schedule):
    await open_route(store)
    (message_id,) = await queue_mail(store, log)
    await claim(schedule, "t1")
    for minutes in range(1, 30):
        assert await schedule.renew(P, DOMAIN, "t1", [message_id], NOW + minutes * 45 * SECOND)
    assert (await claim(schedule, "t2", now=NOW + 29 * 45 * SECOND + SECOND)).work == []


async def test_a_slot_given_back_makes_its_untouched_messages_due_at_once(store, log, schedule):
    await open_route(store)
    ids = await queue_mail(store, log, 3)
    await claim(schedule, "t1")
    await schedule.release(P, DOMAIN, "t1", ids, NOW)
    assert await schedule.due(P, NOW, 10) == ([DOMAIN], 0)
    assert len((await claim(schedule, "t2")).work) == 3


async def test_a_slot_that_was_not_used_does_not_cost_the_domain_its_attempt(store, log, schedule):
    (message_id,) = await queue_mail(store, log)
    await claim(schedule, "t1")
    await schedule.release(P, DOMAIN, "t1", [message_id], NOW)
    assert await due_at(store) == RETRY // MS
    await claim(schedule, "t2", now=RETRY)
    await schedule.release(P, DOMAIN, "t2", [message_id], RETRY, at=RETRY + SECOND, untried=True)
    assert await due_at(store) == (RETRY + SECOND) // MS


async def test_a_slot_of_an_open_domain_gets_no_more_when_another_has_backed_it_off_since(store, log, schedule):
    await open_route(store)
    await queue_mail(store, log, 3 * BATCH)
    first, second = await claim(schedule, "t1"), await claim(schedule, "t2")
    assert (len(first.work), len(second.work)) == (BATCH, BATCH)
    event = RouteDeferred(at=NOW, domain=DOMAIN, tries=1, since=NOW, next_try=NOW + 60 * SECOND, attempts=())
    await log.commit(route_deferred_step(P, await schedule.route(P, DOMAIN), event, "t1", []))
    got = await schedule.claim(P, DOMAIN, "t2", now=NOW, retry_at=RETRY, more=True, was_open=True)
    assert (got.word, got.open, got.work) == ("empty", False, [])
    assert await store.redis.zcard(keys.slots(P, DOMAIN)) == 0
    assert await due_at(store) == (NOW + 60 * SECOND) // MS


async def test_a_drained_domain_leaves_the_schedule(store, log, schedule):
    await open_route(store)
    (message_id,) = await queue_mail(store, log)
    await claim(schedule, "t1")
    await store.redis.zrem(keys.queue(P, DOMAIN), message_id)
    assert (await claim(schedule, "t1", more=True)).word == "empty"
    assert await due_at(store) is None
    await schedule.release(P, DOMAIN, "t1", [], NOW)
    assert await due_at(store) is None


async def end_with_slot(store, log, work, token):
    """Deliver a claimed message, and give the slot back in the same step."""
    message = decode_head(await store.redis.hget(keys.head(P, work.id), "m"))
    step, _ = message_step(message, [event(Delivered)], now=NOW, last=freed(P, DOMAIN, token, NOW))
    await log.commit(step)


@pytest.mark.parametrize(("until", "expected"), [(None, NOW), (NOW - SECOND, NOW), (RETRY, RETRY)])
async def test_a_slot_is_given_back_with_the_last_of_its_messages_and_the_domain_is_due_when_the_next_one_is(
    store, log, schedule, until, expected
):
    await open_route(store)
    await queue_mail(store, log)
    (work,) = (await claim(schedule, "t1")).work
    await queue_mail(store, log)
    if until is not None:
        await store.redis.hset(keys.route(P, DOMAIN), "until", until // MS)
    await store.redis.hset(keys.route(P, DOMAIN), "full", 1)
    await end_with_slot(store, log, work, "t1")
    assert await store.redis.zcard(keys.slots(P, DOMAIN)) == 0
    assert await store.redis.hget(keys.route(P, DOMAIN), "full") is None
    assert await due_at(store) == expected // MS


async def test_a_domain_whose_last_message_left_with_its_slot_is_not_due(store, log, schedule):
    await open_route(store)
    await queue_mail(store, log)
    (work,) = (await claim(schedule, "t1")).work
    await end_with_slot(store, log, work, "t1")
    assert await due_at(store) is None


async def test_a_slot_that_was_lost_is_not_given_back_again(store, log, schedule):
    await open_route(store)
    await queue_mail(store, log, 2)
    first = await claim(schedule, "t1")
    await store.redis.zrem(keys.slots(P, DOMAIN), "t1")
    await store.redis.hset(keys.route(P, DOMAIN), "full", 1)
    before = await due_at(store)
    await end_with_slot(store, log, first.work[0], "t1")
    assert await due_at(store) == before
    assert await store.redis.hget(keys.route(P, DOMAIN), "full") == b"1"


async def test_retry_now_forgives_route_servers_and_messages(store, log, schedule):
    (message_id,) = await queue_mail(store, log)
    await claim(schedule, "t1")
    await schedule.release(P, DOMAIN, "t1", [message_id], NOW, at=NOW + 900 * SECOND)
    await schedule.server_down("mx.example.test:25", NOW, RETRY, "timed out")
    assert await schedule.retry_now(P, DOMAIN, NOW, ["mx.example.test:25"]) == 1
    assert await schedule.due(P, NOW, 10) == ([DOMAIN], 0)
    assert (await claim(schedule, "t2")).work[0].id == message_id
    assert (await schedule.take_server("mx.example.test:25", "t2", NOW, 3)).word == "taken"


async def test_retry_now_frees_a_long_queue_portion_by_portion_and_leaves_what_is_in_a_workers_hands(
    store, log, schedule, monkeypatch
):
    monkeypatch.setattr(schedule_module, "PORTION", 3)
    await open_route(store)
    held = await queue_mail(store, log)
    await claim(schedule, "t1")
    waiting = {new_id(AT, P): (RETRY + number * SECOND) // MS for number in range(8)}
    queue = keys.queue(P, DOMAIN)
    await store.redis.zadd(queue, waiting)
    assert await schedule.retry_now(P, DOMAIN, NOW, ()) == 9
    scores = dict(await store.redis.zrange(queue, 0, -1, withscores=True))
    assert scores.pop(held[0].encode()) == NOW // MS + LEASE * 1000
    assert set(scores.values()) == {NOW // MS}
    assert len(scores) == 8


async def test_a_server_that_is_down_is_down_for_every_domain_and_its_slots_are_shared(store, schedule):
    assert (await schedule.take_server("a:25", "x", NOW, 2)).word == "taken"
    assert await schedule.server_good("a:25", NOW, 2) == 2
    assert (await schedule.take_server("a:25", "y", NOW, 2)).word == "taken"
    assert (await schedule.take_server("a:25", "z", NOW, 2)).word == "full"
    assert (await schedule.take_server("a:25", "y", NOW, 2)).word == "taken"
    await schedule.release_server("a:25", "x")
    assert (await schedule.take_server("a:25", "z", NOW, 2)).word == "taken"
    await schedule.server_down("b:25", NOW, RETRY, "connection refused")
    slot = await schedule.take_server("b:25", "x", NOW, 2)
    assert (slot.word, slot.until, slot.why) == ("down", RETRY // MS, "connection refused")
    assert (await schedule.take_server("b:25", "x", RETRY, 2)).word == "taken"


async def taken(schedule, now=NOW, most=10):
    """How many connections a server lets us have."""
    count = 0
    while (await schedule.take_server("a:25", f"c{count}", now, most)).word == "taken":
        count += 1
    return count


async def test_one_connection_opens_a_server_and_each_message_that_it_takes_adds_one_up_to_the_setting(schedule):
    assert await taken(schedule) == 1
    assert [await schedule.server_good("a:25", NOW, 4) for _ in range(5)] == [2, 3, 4, 4, 4]
    assert await taken(schedule, most=4) == 4


async def test_a_server_that_limits_us_gets_half_as_many_and_what_it_took_is_remembered_for_a_while(schedule):
    hour = 3600 * SECOND
    for _ in range(9):
        await schedule.server_good("a:25", NOW, 10)
    assert await taken(schedule) == 10
    # Six are open, and the seventh is told that it is one too many; others are told the same a moment later.
    for number in range(6, 10):
        await schedule.release_server("a:25", f"c{number}")
    assert (await schedule.take_server("a:25", "seventh", NOW, 10)).word == "taken"
    assert await schedule.server_limited("a:25", "seventh", NOW, 10, hour) == 6
    assert await schedule.server_limited("a:25", "", NOW + SECOND // 2, 10, hour) == 6
    assert (await schedule.take_server("a:25", "t", NOW, 10)).width == 5
    assert [await schedule.server_good("a:25", NOW + SECOND, 10) for _ in range(3)] == [6, 6, 6]
    later = NOW + hour + SECOND
    assert [await schedule.server_good("a:25", later, 10) for _ in range(3)] == [7, 8, 9]


async def test_limits_halve_down_to_one_connection_and_not_below(schedule):
    for _ in range(9):
        await schedule.server_good("a:25", NOW, 10)
    assert await taken(schedule) == 10
    widths = []
    for second in range(0, 10, 2):
        assert await schedule.server_limited("a:25", "", NOW + second * SECOND, 10, SECOND) == 10
        widths.append((await schedule.take_server("a:25", "x", NOW + second * SECOND, 10)).width)
    assert widths == [5, 2, 1, 1, 1]


async def test_what_is_said_to_the_only_connection_is_no_limit(schedule):
    for _ in range(9):
        await schedule.server_good("a:25", NOW, 10)
    assert (await schedule.take_server("a:25", "x", NOW, 10)).word == "taken"
    assert await schedule.server_limited("a:25", "x", NOW, 10, SECOND) == 0
    assert await taken(schedule) == 10


async def test_a_server_that_is_back_is_opened_by_one_connection_again(schedule):
    for _ in range(9):
        await schedule.server_good("a:25", NOW, 10)
    await schedule.server_down("a:25", NOW, RETRY, "timed out")
    assert await taken(schedule, now=RETRY) == 1


async def test_messages_a_minute_are_counted_over_all_who_ask_and_a_turn_is_reserved_only_for_who_need_not_wait_long(
    schedule,
):
    waits = [await schedule.server_admit("a:25", NOW, 60) // SECOND for _ in range(6)]
    assert waits == [0, 1, 2, -3, -3, -3]
    assert await schedule.server_admit("a:25", NOW + 3 * SECOND, 60) == 0
    assert await schedule.server_admit("b:25", NOW, 60) == 0
    # In any minute as many as may be, and the one that it begins with.
    at, went = NOW, 0
    while at < NOW + 60 * SECOND:
        wait = await schedule.server_admit("c:25", at, 120)
        went += wait >= 0
        at += max(abs(wait), SECOND // 10)
    assert 100 <= went <= 121


async def test_taking_one_message_is_refused_while_a_deliverer_has_it_in_hand(store, log, schedule):
    (message_id,) = await queue_mail(store, log)
    message = decode_head(await store.redis.hget(keys.head(P, message_id), "m"))
    await claim(schedule, "t1")
    assert not await schedule.take(message, P, NOW)
    after_lease = NOW + (LEASE + 1) * SECOND
    assert await schedule.take(message, P, after_lease)
    await open_route(store)
    await store.redis.hdel(keys.route(P, DOMAIN), "until")
    await store.redis.zadd(keys.due(P), {DOMAIN: NOW // MS})
    assert (await claim(schedule, "t2", now=after_lease)).work == []


async def test_a_head_that_cannot_be_read_comes_as_a_fault_and_not_as_a_crash(store, log, schedule):
    (message_id,) = await queue_mail(store, log)
    await store.redis.hset(keys.head(P, message_id), "m", b"\xc1")
    (work,) = (await claim(schedule, "t1")).work
    assert isinstance(work.message, CorruptError)


async def test_a_message_that_waits_by_itself_can_be_taken_while_others_are_in_hand(store, log, schedule):
    """Its score is the time of its own next attempt, not the end of anybody's lease."""
    first, second = await queue_mail(store, log, 2)
    message = decode_head(await store.redis.hget(keys.head(P, first), "m"))
    await log.commit(message_step(message, [event(Deferred, at=NOW)], now=NOW)[0])
    await store.redis.hdel(keys.route(P, DOMAIN), "until")
    await store.redis.zadd(keys.due(P), {DOMAIN: NOW // MS})
    assert [work.id for work in (await claim(schedule, "t1")).work] == [second]
    heads = [decode_head(await store.redis.hget(keys.head(P, name), "m")) for name in (first, second)]
    assert [await schedule.take(message, P, NOW) for message in heads] == [True, False]
    assert await schedule.take(heads[1], P, NOW + (LEASE + 1) * SECOND)


OTHERS = ("one.test", "two.test", "three.test")


async def queued_for(store, log, *domains, size=9):
    """A message for each of these domains of the partition."""
    for domain in domains:
        message_id = new_id(AT, P)
        await log.commit(received_step(message_id, received(f"a@{domain}", domain=domain), b"x" * size))
        message = decode_head(await store.redis.hget(keys.head(P, message_id), "m"))
        events = [msgspec.structs.replace(event(kind), domain=domain) for kind in (Scanned, Queued)]
        events[1] = msgspec.structs.replace(events[1], recipients=(f"a@{domain}",))
        step, _ = message_step(message, events, now=NOW)
        await log.commit(step)


def claims(schedule, *domains):
    return asyncio.gather(
        *(schedule.claim(P, domain, domain, now=NOW, retry_at=RETRY, more=False) for domain in domains),
        return_exceptions=True,
    )


@pytest.fixture
def calls(monkeypatch):
    """The words of each call of claim.lua."""
    made = []
    call = Script.__call__

    async def counted(self, redis, names, arguments):
        if self.name == "claim":
            made.append(arguments)
        return await call(self, redis, names, arguments)

    monkeypatch.setattr(Script, "__call__", counted)
    return made


async def test_claims_of_many_domains_at_once_are_one_call_and_each_has_its_own_answer(store, log, schedule, calls):
    await queued_for(store, log, *OTHERS)
    found = await claims(schedule, OTHERS[0], "nothing.test", *OTHERS[1:])
    assert [claim.word for claim in found] == ["work", "early", "work", "work"]
    assert [work.message.domain for claim in found for work in claim.work] == list(OTHERS)
    assert len(calls) == 1


async def test_what_is_damaged_for_one_domain_keeps_no_other_from_its_mail(store, log, schedule):
    await queued_for(store, log, *OTHERS)
    await store.redis.delete(keys.slots(P, OTHERS[1]))
    await store.redis.set(keys.slots(P, OTHERS[1]), "no sorted set")
    one, two, three = await claims(schedule, *OTHERS)
    assert (one.word, three.word) == ("work", "work")
    assert isinstance(two, StoreError)
    assert "WRONGTYPE" in str(two)


async def test_however_many_claim_at_once_their_bodies_are_bounded_and_each_gets_one(store, log, schedule, monkeypatch):
    await queued_for(store, log, *OTHERS, *OTHERS, size=1000)
    for domain in OTHERS:
        for effect in opened(P, domain, NOW)[:2]:
            await store.redis.execute_command(*effect)
    monkeypatch.setattr("pipeline.claims.MOST_OCTETS", 2500)
    found = await claims(schedule, *OTHERS)
    assert [len(claim.work) for claim in found] == [2, 1, 1]


async def test_a_claim_that_nobody_waits_for_any_more_is_not_made(store, log, schedule):
    await queued_for(store, log, *OTHERS)
    given_up = asyncio.ensure_future(claims(schedule, OTHERS[0]))
    await asyncio.sleep(0)
    given_up.cancel()
    (found,) = await claims(schedule, OTHERS[1])
    assert found.word == "work"
    assert (await schedule.due(P, NOW, 10))[0] == [OTHERS[0], OTHERS[2]]
