"""Limits per client: what several receivers that share a store give out together, at any time, in any order."""

from __future__ import annotations

import asyncio
import os
import random
import signal

import fakeredis
import pytest
from fakeredis import FakeAsyncRedis
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError

from pipeline import keys, limits
from pipeline.clients import BUCKETS, Account, Limit
from pipeline.clock import Clock as Kept
from pipeline.limits import BATCH, FULL, LIFE, MEMORY, SHARE, Limiter
from pipeline.settings import Settings
from pipeline.store import open_client
from pipeline.topology.spread import is_spread
from pipeline.units import SECOND, Duration
from tests.support.examples import AT
from tests.support.topologies import all_keys

CLIENT = "192.0.2.1"
LEASE = 60
OPEN = {
    "client_connections": 0,
    "client_connection_rate": 0,
    "client_message_rate": 0,
    "client_recipient_rate": 0,
    "client_wasted_rate": 0,
    "client_unknown_rate": 0,
}
RATES = {
    Limit.CONNECTION_RATE: ("client_connection_rate", 60),
    Limit.MESSAGES: ("client_message_rate", 60),
    Limit.RECIPIENTS: ("client_recipient_rate", 60),
    Limit.WASTED: ("client_wasted_rate", 3600),
    Limit.UNKNOWN: ("client_unknown_rate", 3600),
}


class Clock:
    """Of all receivers of a test; it stands still unless it is moved."""

    def __init__(self, now: int = AT) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


class Calls:
    """Counts the calls that go to the store, and holds them up while `road` is closed."""

    def __init__(self, redis) -> None:
        self._redis = redis
        self.count = 0
        self.road = asyncio.Event()
        self.road.set()

    def __getattr__(self, name):
        return getattr(self._redis, name)

    async def execute_command(self, *words, **options):
        self.count += words[0] in ("EVAL", "EVALSHA")
        await self.road.wait()
        return await self._redis.execute_command(*words, **options)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def calls(store):
    return Calls(store.redis)


@pytest.fixture
async def receiver(calls, clock, monkeypatch):
    """Makes limiters that share the store and the clock; all limits that are not named are off. None asks any more when the test is over."""
    monkeypatch.setattr(limits, "PATIENCE", 30.0)  # a busy machine is not a store that is away
    made = []

    def make(**limits: object) -> Limiter:
        values = {**OPEN, "unlimited_networks": (), "lease": Duration(LEASE * SECOND), **limits}
        made.append(Limiter(calls, Settings(**values), clock=Kept(clock)))
        return made[-1]

    yield make
    calls.road.set()
    await settle(*made)


async def settle(*limiters: Limiter) -> None:
    """Until nobody waits for the store."""
    for limiter in limiters:
        while limiter._asking is not None:
            await asyncio.wait([limiter._asking])


async def lapse(clock: Clock, *limiters: Limiter) -> None:
    """So much time that nothing that was given out in advance is left."""
    clock.forward(LIFE / SECOND)
    for limiter in limiters:
        limiter.sweep()
    await settle(*limiters)


async def account(limiter: Limiter, client: str = CLIENT) -> Account:
    found = await limiter.enter(client)
    assert isinstance(found, Account)
    return found


async def taken(limiter: Limiter, held: Account, limit: Limit, tries: int = 100) -> int:
    return sum([await limiter.take(held, limit) for _ in range(tries)])


@pytest.mark.parametrize("limit", list(RATES)[1:], ids=lambda limit: limit.name)
@pytest.mark.parametrize("size", [1, 5, 7, 1000])
async def test_receivers_give_out_exactly_the_limit_together(receiver, clock, limit, size):
    name, period = RATES[limit]
    first, second = receiver(**{name: size}), receiver(**{name: size})
    one, two = await account(first), await account(second)
    total = 0
    for _ in range(size + 10):
        total += await first.take(one, limit)
        total += await second.take(two, limit)
    assert total == size
    # Once the period is over it is full again, and not more than full.
    clock.forward(3 * period)
    total = sum([await taken(limiter, held, limit, size + 10) for limiter, held in ((first, one), (second, two))])
    assert total == size


async def test_a_bucket_fills_evenly(receiver, clock):
    limiter = receiver(client_message_rate=60)
    held = await account(limiter)
    assert await taken(limiter, held, Limit.MESSAGES) == 60
    for _ in range(5):
        clock.forward(1)
        assert await taken(limiter, held, Limit.MESSAGES) == 1
    clock.forward(0.999)
    assert await taken(limiter, held, Limit.MESSAGES) == 0
    clock.forward(10.001)
    assert await taken(limiter, held, Limit.MESSAGES) == 11


async def test_connections_in_a_minute_are_counted_over_all_receivers(receiver, clock):
    first, second = receiver(client_connection_rate=5), receiver(client_connection_rate=5)
    answers = [await limiter.enter(CLIENT) for _ in range(5) for limiter in (first, second)]
    assert [isinstance(answer, Account) for answer in answers] == [True] * 5 + [False] * 5
    assert set(answers[5:]) == {Limit.CONNECTION_RATE}
    clock.forward(12)
    assert await second.enter(CLIENT) is not Limit.CONNECTION_RATE
    assert await first.enter(CLIENT) is Limit.CONNECTION_RATE


async def test_a_slot_that_is_given_back_is_free_for_another_receiver_at_once(receiver, clock):
    first, second = receiver(client_connections=5), receiver(client_connections=5)
    accounts = [await account(first) for _ in range(3)] + [await account(second) for _ in range(2)]
    assert await first.enter(CLIENT) is Limit.CONNECTIONS
    assert await second.enter(CLIENT) is Limit.CONNECTIONS
    for _ in range(20):
        first.leave(accounts[0])
        await settle(first)
        clock.forward(FULL / SECOND)
        accounts[0] = await account(second)
        second.leave(accounts[0])
        await settle(second)
        accounts[0] = await account(first)
    assert accounts[0].sessions == 3


async def test_a_client_that_has_all_its_connections_gets_in_again_where_one_ended(receiver):
    limiter = receiver(client_connections=5)
    for _ in range(5):
        held = await account(limiter)
    assert await limiter.enter(CLIENT) is Limit.CONNECTIONS
    limiter.leave(held)
    assert await account(limiter) is held


@pytest.mark.parametrize("limit", [1, 3, 20, 100])
async def test_who_stays_within_the_limit_is_never_refused(receiver, limit):
    """However many come and go while a call is under way."""
    limiter = receiver(client_connections=limit, client_connection_rate=100_000, client_message_rate=100_000)
    chance = random.Random(limit)

    async def come_and_go() -> None:
        for _ in range(40):
            held = await limiter.enter(CLIENT)
            assert isinstance(held, Account)
            for _ in range(chance.randrange(4)):
                assert await limiter.take(held, Limit.MESSAGES)
                await asyncio.sleep(0)
            limiter.leave(held)

    await asyncio.gather(*(come_and_go() for _ in range(limit)))


async def test_who_waited_is_not_refused_because_somebody_came_and_took_what_was_meant_for_it(receiver, calls):
    limiter = receiver(client_connections=100, client_connection_rate=100_000)
    held = await account(limiter)
    while held.sessions < held.slots:
        await account(limiter)
    waiting = asyncio.create_task(limiter.enter(CLIENT))
    await asyncio.sleep(0)
    # It counts on the slot of one that has just left, and asks for no other.
    calls.road.clear()
    limiter.leave(held)
    await asyncio.sleep(0)
    assert await account(limiter) is held
    calls.road.set()
    assert await waiting is held


async def test_who_waited_is_not_refused_when_a_slot_became_free_meanwhile(receiver, calls, clock):
    limiter = receiver(client_connections=3)
    for _ in range(3):
        held = await account(limiter)
    clock.forward(FULL / SECOND)
    calls.road.clear()
    waiting = asyncio.create_task(limiter.enter(CLIENT))
    for _ in range(3):
        await asyncio.sleep(0)
    limiter.leave(held)
    calls.road.set()
    assert await waiting is held
    assert held.sessions == 3


async def test_a_client_is_not_forgotten_while_it_is_asked_about(receiver, calls, clock):
    limiter = receiver(client_connections=5)
    calls.road.clear()
    waiting = asyncio.create_task(limiter.enter(CLIENT))
    for _ in range(3):
        await asyncio.sleep(0)
        clock.forward(1)
        limiter.sweep()
    calls.road.set()
    assert await account(limiter) is await waiting
    assert limiter.clients == 1


async def test_who_finds_no_slot_uses_up_none_of_the_minutes_connections(receiver, clock):
    first, second = [receiver(client_connections=1, client_connection_rate=5) for _ in range(2)]
    held = await account(first)
    for _ in range(10):
        clock.forward(FULL / SECOND)
        assert await first.enter(CLIENT) is Limit.CONNECTIONS
    first.leave(held)
    await settle(first)
    for _ in range(4):
        second.leave(await account(second))
    assert await second.enter(CLIENT) is Limit.CONNECTION_RATE


async def test_in_a_burst_over_several_receivers_exactly_the_limit_gets_in(receiver):
    limiters = [receiver(client_connections=100, client_connection_rate=1000) for _ in range(4)]
    answers = await asyncio.gather(*(limiter.enter(CLIENT) for _ in range(500) for limiter in limiters))
    assert sum(isinstance(answer, Account) for answer in answers) == 100
    assert {answer for answer in answers if not isinstance(answer, Account)} == {Limit.CONNECTIONS}


async def test_of_a_burst_within_a_minute_exactly_the_limit_gets_in(receiver):
    limiters = [receiver(client_connections=0, client_connection_rate=300) for _ in range(4)]
    answers = await asyncio.gather(*(limiter.enter(CLIENT) for _ in range(500) for limiter in limiters))
    assert sum(isinstance(answer, Account) for answer in answers) == 300


async def test_a_flood_costs_a_call_for_all_that_came_meanwhile(receiver, calls):
    limiter = receiver(client_connections=5, client_connection_rate=1000)
    await asyncio.gather(*(limiter.enter(CLIENT) for _ in range(2000)))
    assert calls.count <= 4
    before = calls.count
    for _ in range(2000):
        assert await limiter.enter(CLIENT) is Limit.CONNECTIONS
    assert calls.count == before


async def test_clients_that_come_together_share_a_call(receiver, calls):
    limiter = receiver(client_connections=5, client_connection_rate=10)
    await asyncio.gather(*(limiter.enter(f"198.51.100.{number}") for number in range(200)))
    # The first call leaves with whoever came first; NOSCRIPT on the first one makes a second call of it.
    assert calls.count <= (2 * 200 if is_spread(calls) else 3 + 200 // BATCH)


async def test_messages_of_a_busy_client_cost_next_to_no_calls(receiver, calls):
    limiter = receiver(
        client_connections=100, client_connection_rate=6000, client_message_rate=6000, client_recipient_rate=6000
    )
    for _ in range(1000):
        held = await account(limiter)
        assert await limiter.take(held, Limit.MESSAGES)
        assert await limiter.take(held, Limit.RECIPIENTS)
        limiter.leave(held)
    assert calls.count < 20


async def test_what_was_not_used_goes_back(receiver, clock):
    first, second = receiver(client_message_rate=1600), receiver(client_message_rate=1600)
    one, two = await account(first), await account(second)
    assert await first.take(one, Limit.MESSAGES)
    assert one.tokens[Limit.MESSAGES] > 50
    await lapse(clock, first, second)
    assert one.tokens[Limit.MESSAGES] == 0
    assert await taken(second, two, Limit.MESSAGES, 2000) in (1599, 1600)


async def test_with_little_left_nothing_is_given_out_in_advance(receiver):
    limiter = receiver(client_message_rate=SHARE - 1, client_connection_rate=5, client_connections=5)
    held = await account(limiter)
    assert await limiter.take(held, Limit.MESSAGES)
    assert held.tokens == [0, 0, float("inf"), float("inf"), float("inf")]
    assert (held.slots, held.reserve) == (1, 0)


@pytest.mark.parametrize("limit", [Limit.WASTED, Limit.UNKNOWN])
async def test_a_client_that_used_up_its_patience_does_not_get_in_anywhere(receiver, clock, limit):
    name, period = RATES[limit]
    first, second = receiver(**{name: 10}), receiver(**{name: 10})
    assert await taken(first, await account(first), limit) == 10
    assert await second.enter(CLIENT) is limit
    assert await first.enter(CLIENT) is limit
    assert isinstance(await second.enter("192.0.2.2"), Account)
    clock.forward(period / 10)
    assert isinstance(await second.enter(CLIENT), Account)


async def test_what_happened_already_is_charged_as_far_as_there_is_anything(receiver, clock):
    first, second = receiver(client_wasted_rate=10), receiver(client_wasted_rate=10)
    held = await account(first)
    first.charge(held, Limit.WASTED, 4)
    first.charge(held, Limit.WASTED, 3)
    await settle(first)
    assert await taken(second, await account(second), Limit.WASTED) == 3
    first.charge(held, Limit.WASTED, 5)
    await settle(first)
    assert await first.enter(CLIENT) is Limit.WASTED
    clock.forward(360)
    assert isinstance(await first.enter(CLIENT), Account)


async def test_a_charge_while_a_call_is_under_way_is_not_lost(receiver):
    first = receiver(client_wasted_rate=10)
    held = await account(first)
    for _ in range(10):
        first.charge(held, Limit.WASTED, 1)
        await asyncio.sleep(0)
    await settle(first)
    assert await taken(first, held, Limit.WASTED) == 0


async def test_the_slots_of_a_receiver_that_died_lapse_with_its_lease(receiver, clock):
    dead, alive = receiver(client_connections=5), receiver(client_connections=5)
    for _ in range(5):
        await account(dead)
    clock.forward(LEASE - 1)
    assert await alive.enter(CLIENT) is Limit.CONNECTIONS
    clock.forward(1)
    assert len([await account(alive) for _ in range(5)]) == 5


async def test_slots_that_are_held_are_renewed_and_do_not_lapse(receiver, clock):
    first, second = receiver(client_connections=5), receiver(client_connections=5)
    for _ in range(5):
        await account(first)
    for _ in range(20):
        clock.forward(LEASE / 3)
        first.sweep()
        await settle(first)
        assert await second.enter(CLIENT) is Limit.CONNECTIONS


async def test_leases_are_renewed_in_batches_and_only_when_it_is_time(receiver, clock, calls):
    limiter = receiver(client_connections=5)
    for number in range(BATCH):
        await account(limiter, f"198.51.100.{number}")
    await lapse(clock, limiter)
    before = calls.count
    for _ in range(LEASE // 3):
        clock.forward(1)
        limiter.sweep()
        await settle(limiter)
    assert calls.count == before + (BATCH if is_spread(calls) else 1)


async def test_a_receiver_that_ends_gives_everything_back(receiver):
    first, second = (
        receiver(client_connections=200, client_message_rate=1600),
        receiver(client_connections=200, client_message_rate=1600),
    )
    accounts = [await account(first) for _ in range(150)]
    assert await first.take(accounts[0], Limit.MESSAGES)
    for held in accounts:
        first.leave(held)
    await first.close()
    assert len([await account(second) for _ in range(200)]) == 200
    assert await taken(second, second._accounts[CLIENT], Limit.MESSAGES, 2000) == 1599


async def test_a_receiver_that_ends_while_it_asks_gives_back_what_it_is_given_then(receiver, calls, store):
    limiter = receiver(client_connections=200)
    calls.road.clear()
    waiting = [asyncio.create_task(limiter.enter(CLIENT)) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    ending = asyncio.create_task(limiter.close())
    await asyncio.sleep(0)
    calls.road.set()
    await ending
    assert await all_keys(store.redis, "*slots") == []


async def test_a_client_that_leaves_while_it_waits_costs_nothing(receiver):
    limiter = receiver(client_connections=5)
    waiting = [asyncio.create_task(limiter.enter(CLIENT)) for _ in range(5)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await settle(limiter)
    assert len([await account(limiter) for _ in range(5)]) == 5


async def test_good_mail_is_remembered_by_all_receivers_for_a_week_and_told_once_a_day(receiver, clock, calls, store):
    first, second = receiver(greeting_delay=Duration(SECOND)), receiver(greeting_delay=Duration(SECOND))
    held = await account(first)
    assert not held.good
    first.delivered(held)
    await settle(first)
    told = calls.count
    for _ in range(10):
        first.delivered(held)
    assert (held.good, first._asking) == (True, None)
    assert (await account(second)).good
    assert calls.count == told + 1
    left = await store.redis.pttl(keys.client(CLIENT) + "good")
    assert MEMORY - 60_000 < left <= MEMORY
    clock.forward(86400)
    first.delivered(held)
    await settle(first)
    assert calls.count == told + 2


async def test_without_a_delay_of_the_greeting_nobody_is_remembered(receiver, calls, store):
    limiter = receiver()
    held = await account(limiter)
    before = calls.count
    limiter.delivered(held)
    assert (held.good, calls.count, limiter._asking) == (False, before, None)
    assert await all_keys(store.redis, "*good") == []


async def test_everything_in_the_store_ends_by_itself(receiver, clock, store):
    limiter = receiver(
        client_connections=5, client_connection_rate=5, client_wasted_rate=5, greeting_delay=Duration(SECOND)
    )
    for number in range(20):
        held = await account(limiter, f"198.51.100.{number}")
        assert await limiter.take(held, Limit.WASTED)
        limiter.delivered(held)
    await settle(limiter)
    found = await all_keys(store.redis, "*")
    assert len(found) == 60
    for key in found:
        assert 0 < await store.redis.pttl(key) <= (MEMORY if key.endswith(b"good") else 3_600_000 + 60_000)


async def test_a_bucket_that_is_full_again_is_gone(receiver, store):
    """As far as the wait for it can be seen here: what is kept is kept for as long as it is not full, and a minute."""
    limiter = receiver(client_connection_rate=60)
    await account(limiter)
    assert 0 < await store.redis.pttl(keys.client(CLIENT) + "tokens") <= 60_000 + SHARE * 1000


async def test_clients_that_are_gone_are_forgotten(receiver, clock, store):
    limiter = receiver(client_connections=50, client_connection_rate=100, client_message_rate=100)
    for number in range(200):
        limiter.leave(await account(limiter, f"198.51.100.{number}"))
    assert limiter.clients == 200
    await lapse(clock, limiter)
    await lapse(clock, limiter)
    assert limiter.clients == 0
    assert await all_keys(store.redis, "*slots") == []


async def test_more_clients_than_can_be_remembered_wait_outside(store, clock):
    limiter = Limiter(store.redis, Settings(unlimited_networks=(), max_sessions=1), clock=Kept(clock), clients=3)
    for number in range(3):
        assert isinstance(await limiter.enter(f"198.51.100.{number}"), Account)
    assert await limiter.enter("198.51.100.9") is Limit.CLIENTS
    assert isinstance(await limiter.enter("198.51.100.1"), Account)
    assert limiter.clients == 3


async def test_a_clock_that_is_put_back_closes_nobody_out(receiver, clock):
    limiter = receiver(client_connections=5, client_connection_rate=5, client_message_rate=5)
    held = await account(limiter)
    assert await taken(limiter, held, Limit.MESSAGES) == 5
    limiter.sweep()
    clock.forward(-86400)
    limiter.sweep()
    await settle(limiter)
    clock.forward(60)
    assert await taken(limiter, held, Limit.MESSAGES) == 5
    assert isinstance(await limiter.enter(CLIENT), Account)


async def test_clocks_that_differ_give_out_no_more_than_the_one_ahead_would(store):
    ahead, behind = Clock(AT + 20 * SECOND), Clock(AT)
    settings = Settings(**{**OPEN, "client_message_rate": 60}, unlimited_networks=())
    limiters = [Limiter(store.redis, settings, clock=Kept(clock)) for clock in (ahead, behind)]
    accounts = [await account(limiter) for limiter in limiters]
    total = 0
    for _ in range(30):
        for limiter, held in zip(limiters, accounts, strict=True):
            total += await taken(limiter, held, Limit.MESSAGES, 10)
        ahead.forward(1)
        behind.forward(1)
    assert total <= 60 + 30


async def test_limits_that_are_off_cost_no_call_for_what_they_would_limit(receiver, calls):
    limiter = receiver()
    held = await account(limiter)
    before = calls.count
    for limit in Limit:
        if limit in BUCKETS:
            assert await taken(limiter, held, limit, 1000) == 1000
    assert calls.count == before


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "leave", "take", "charge", "sweep", "forward", "together"]),
        st.integers(0, 2),
        st.integers(1, 40),
    ),
    max_size=60,
)


@given(
    steps=STEPS,
    slots=st.sampled_from([1, 5, 40]),
    rate=st.sampled_from([1, 5, 17, 60, 1000]),
    messages=st.sampled_from([1, 6, 50, 3000]),
)
def test_in_no_order_of_events_is_more_given_out_than_there_was(steps, slots, rate, messages):
    asyncio.run(_in_any_order(steps, slots, rate, messages))


async def _in_any_order(steps, slots, rate, messages) -> None:
    redis = FakeAsyncRedis(server=fakeredis.FakeServer(), version=(7,))
    clock = Clock()
    settings = Settings(
        unlimited_networks=(),
        client_connections=slots,
        client_connection_rate=rate,
        client_message_rate=messages,
        client_wasted_rate=10,
        lease=Duration(3600 * SECOND),
    )
    limiters = [Limiter(redis, settings, clock=Kept(clock)) for _ in range(3)]
    inside: list[tuple[Limiter, Account]] = []
    entered = sent = 0

    async def enter(limiter: Limiter) -> None:
        nonlocal entered
        answer = await limiter.enter(CLIENT)
        if isinstance(answer, Account):
            entered += 1
            inside.append((limiter, answer))

    async def send(limiter: Limiter, held: Account) -> None:
        nonlocal sent
        sent += await limiter.take(held, Limit.MESSAGES)

    for verb, which, count in steps:
        limiter = limiters[which]
        if verb == "enter":
            for _ in range(count):
                await enter(limiter)
        elif verb == "together":
            held = [pair for pair in inside for _ in range(3)]
            await asyncio.gather(*(enter(each) for each in limiters * count), *(send(*pair) for pair in held))
        elif verb == "leave":
            for _ in range(min(count, len(inside))):
                owner, held_one = inside.pop(which % len(inside))
                owner.leave(held_one)
        elif verb == "take":
            for owner, held_one in inside[:count]:
                await send(owner, held_one)
        elif verb == "charge":
            for owner, held_one in inside[:3]:
                owner.charge(held_one, Limit.WASTED, 1)
        elif verb == "sweep":
            limiter.sweep()
        else:
            clock.forward(count / 8)
        passed = (clock.now - AT) / SECOND
        assert len(inside) <= slots
        assert entered <= rate + rate * passed / 60
        assert sent <= messages + messages * passed / 60
    for owner, held_one in inside:
        owner.leave(held_one)
    for limiter in limiters:
        await limiter.close()
    assert await redis.keys("*slots") == []
    await redis.aclose()


# Redis goes away: real servers only.


@pytest.fixture
async def lonely(own_redis, clock):
    """A limiter on a Redis of the test's own."""
    redis = open_client(own_redis.url)
    values = {**OPEN, "client_connections": 3, "client_message_rate": 3, "unlimited_networks": ()}
    yield Limiter(redis, Settings(**values), clock=Kept(clock))
    await redis.aclose()


async def test_while_redis_is_away_there_are_no_limits_and_afterwards_all_is_counted(own_redis, lonely, clock, capsys):
    own_redis.kill()
    held = [await account(lonely) for _ in range(10)][-1]
    assert await taken(lonely, held, Limit.MESSAGES) == 100
    lonely.charge(held, Limit.MESSAGES, 1)
    lonely.sweep()
    await settle(lonely)
    assert held.sessions == 10
    own_redis.start()
    clock.forward(2)
    lonely.sweep()
    await settle(lonely)
    assert await taken(lonely, held, Limit.MESSAGES) == 3
    assert await lonely.enter(CLIENT) is Limit.CONNECTIONS
    for _ in range(8):
        lonely.leave(held)
    assert await account(lonely) is held
    assert await lonely.enter(CLIENT) is Limit.CONNECTIONS
    lines = [line for line in capsys.readouterr().out.splitlines() if "limits" in line]
    assert ["limits_not_in_force" in lines[0], "limits_in_force_again" in lines[1], len(lines)] == [True, True, 2]


async def test_a_redis_that_does_not_answer_holds_up_nobody_for_long(own_redis, lonely, monkeypatch, clock):
    monkeypatch.setattr(limits, "PATIENCE", 0.1)
    await account(lonely)
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    try:
        await asyncio.gather(*(account(lonely, f"198.51.100.{number}") for number in range(2 * BATCH)))
        # Once it is known to be away, nobody waits at all.
        await asyncio.wait_for(account(lonely, "203.0.113.1"), 0.05)
    finally:
        os.kill(own_redis.process.pid, signal.SIGCONT)
    clock.forward(2)
    assert isinstance(await lonely.enter(CLIENT), Account)
    assert isinstance(await lonely.enter(CLIENT), Account)
    assert await lonely.enter(CLIENT) is Limit.CONNECTIONS


async def test_a_full_redis_lets_clients_in(own_redis, lonely):
    await lonely._redis.config_set("maxmemory", 1)
    assert [isinstance(await lonely.enter(CLIENT), Account) for _ in range(5)] == [True] * 5


async def test_a_node_that_is_away_takes_only_its_own_clients_limits_with_it(redis_cluster, clock):
    redis = open_client(redis_cluster.address)
    lost = await redis.node_of(keys.client(CLIENT) + "tokens")

    async def refuse(*_words, **_options):
        raise RedisConnectionError("away")

    lost.execute_command = refuse
    values = {**OPEN, "client_connections": 2, "unlimited_networks": ()}
    limiter = Limiter(redis, Settings(**values), clock=Kept(clock))
    names = [f"198.51.100.{number}" for number in range(20)]
    elsewhere = [name for name in names if await redis.node_of(keys.client(name) + "tokens") is not lost]
    wanted = [*[CLIENT] * 5, *[elsewhere[0]] * 5]
    answers = await asyncio.gather(*(limiter.enter(name) for name in wanted))
    assert [isinstance(answer, Account) for answer in answers] == [True] * 7 + [False] * 3
    await settle(limiter)
    await redis.aclose()
