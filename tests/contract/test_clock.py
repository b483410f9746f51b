"""A clock that is off is noticed before it makes two workers hold the same work."""

from __future__ import annotations

import time

import msgspec
import pytest

from pipeline import keys
from pipeline.clients import Limit
from pipeline.clock import Clock, difference, put_right
from pipeline.configuration import load
from pipeline.faults import ClockError
from pipeline.ids import new_id
from pipeline.limits import Limiter
from pipeline.redate import Redate
from pipeline.schedule import Schedule, new_token
from pipeline.state import decode_head
from pipeline.steps import MS, received_step
from pipeline.topology.spread import is_spread, masters
from pipeline.units import SECOND
from tests.support.examples import DOMAIN, received
from tests.support.topologies import all_keys

SETTINGS = load(environ={"GATEPOST_LEASE": "80s"})
HOUR = 3600 * SECOND
LEASE = 80 * SECOND
P = 3
SERVER = "192.0.2.1:25"


class Stepped(Clock):
    """A worker's, on a machine whose clock somebody sets."""

    __slots__ = ("off",)

    def __init__(self) -> None:
        super().__init__(lambda: time.time_ns() + self.off)
        self.wrong(0)

    def wrong(self, off: int) -> None:
        """It is so far ahead, and nobody has noticed yet."""
        self.off, self.correction = off, 0
        self.compare(SETTINGS)
        self.keep()


class Worker:
    """What judges leases, on a machine of its own."""

    def __init__(self, store) -> None:
        self.store = store
        self.clock = Stepped()
        self.schedule = Schedule(store, SETTINGS, clock=self.clock)
        self.token = new_token()

    async def claim(self, *, more: bool = False) -> tuple[str, list[str]]:
        now = self.clock()
        found = await self.schedule.claim(P, DOMAIN, self.token, now=now, retry_at=now + HOUR, more=more)
        return found.word, [work.id for work in found.work]


@pytest.fixture
def worker(store) -> Worker:
    return Worker(store)


@pytest.fixture
def other(store) -> Worker:
    return Worker(store)


async def waiting(store, log):
    """A message that waits to leave, of a domain whose server works."""
    message_id = new_id(time.time_ns(), P)
    await log.commit(received_step(message_id, received(), b"body"))
    now = time.time_ns() // MS
    await store.redis.zadd(keys.queue(P, DOMAIN), {message_id: now})
    await store.redis.zadd(keys.due(P), {DOMAIN: now})
    await store.redis.hset(keys.route(P, DOMAIN), "open", 1)
    return decode_head(await store.redis.hget(keys.head(P, message_id), "m"))


async def contents(redis) -> dict:
    """Of all that is sorted by time, and what is known of servers and clients."""
    found = {}
    for key in await all_keys(redis, "*"):
        kind = await redis.type(key)
        if kind == b"zset":
            found[key] = await redis.zrange(key, 0, -1, withscores=True)
        elif kind == b"hash":
            found[key] = await redis.hgetall(key)
    return found


@pytest.mark.parametrize(("off", "said"), [(0, ""), (9, ""), (-9, ""), (30, "30 s ahead of"), (-3600, "3600 s behind")])
async def test_a_clock_that_is_off_by_more_than_an_eighth_of_the_lease_is_noticed(store, off, said):
    ahead = await difference(store.redis, SETTINGS, lambda: time.time_ns() + off * 1_000_000_000)
    assert bool(ahead) is bool(said)
    if said:
        assert said in str(ClockError(ahead))


async def test_a_slow_answer_is_not_taken_for_a_clock_that_is_off(store):
    times = iter([time.time_ns(), time.time_ns() + 60_000_000_000])
    assert not await difference(store.redis, SETTINGS, lambda: next(times))


async def test_a_clock_that_is_off_goes_by_redis_and_one_that_is_not_is_left_alone(store):
    for off in (9, 3600, -3600):
        told = []
        clock = Clock(lambda off=off: time.time_ns() + off * 1_000_000_000)
        clock.told = told.append
        corrected = await put_right(clock, store.redis, SETTINGS)
        assert abs(corrected - (off if off != 9 else 0)) < 2
        assert abs(clock() - time.time_ns()) < 11_000_000_000
        assert not await put_right(clock, store.redis, SETTINGS)
        assert [round(seconds) for seconds in told] == ([off] if off != 9 else [])


async def test_a_clock_that_is_set_right_needs_no_correction_any_more(store):
    own = [time.time_ns() + 3600 * 1_000_000_000]
    clock = Clock(lambda: own[0])
    await put_right(clock, store.redis, SETTINGS)
    told = []
    clock.told = told.append
    own[0] = time.time_ns()
    assert await put_right(clock, store.redis, SETTINGS) < 0
    assert clock.correction == 0
    assert told == [0]


@pytest.mark.parametrize("off", [HOUR, -HOUR])
async def test_a_worker_goes_on_as_if_nothing_had_happened_when_the_clock_of_its_machine_is_set(
    store, log, worker, other, off
):
    message = await waiting(store, log)
    assert await other.claim() == ("work", [message.id])
    worker.clock.off = off
    assert worker.clock.stepped
    assert abs(worker.clock() - time.time_ns()) < SECOND
    assert (await worker.claim())[1] == []
    told = []
    worker.clock.told = told.append
    assert not await put_right(worker.clock, store.redis, SETTINGS)
    assert [round(seconds) for seconds in told] == [off // SECOND]
    assert not worker.clock.stepped
    assert abs(worker.clock() - time.time_ns()) < SECOND
    worker.clock.off = 0
    assert abs(worker.clock() - time.time_ns()) < SECOND
    await put_right(worker.clock, store.redis, SETTINGS)
    assert worker.clock.correction == 0
    assert told[1:] == [0]


@pytest.mark.parametrize("off", [HOUR, -HOUR])
async def test_a_clock_that_was_set_together_with_redis_counts_from_the_first_question_on(store, log, worker, off):
    message = await waiting(store, log)
    worker.clock.wrong(-off)
    worker.clock.off = 0
    with pytest.raises(ClockError):
        await worker.claim()
    assert worker.clock.correction == 0
    assert abs(worker.clock() - time.time_ns()) < SECOND
    assert await worker.claim() == ("work", [message.id])


@pytest.mark.parametrize("off", [HOUR, -HOUR])
async def test_a_clock_that_is_off_takes_nobodys_lease_and_gives_none_that_others_take(store, log, worker, other, off):
    message = await waiting(store, log)
    assert await other.claim() == ("work", [message.id])
    before = await contents(store.redis)
    worker.clock.wrong(off)
    with pytest.raises(ClockError, match="3600 s"):
        await worker.claim()
    assert await contents(store.redis) == before
    # Asked anew it goes by the right time: the other one's slot and message are the other's.
    assert abs(worker.clock() - time.time_ns()) < SECOND
    assert (await worker.claim())[1] == []
    assert await other.schedule.renew(P, DOMAIN, other.token, [message.id], other.clock())


@pytest.mark.parametrize("off", [HOUR, -HOUR])
async def test_nothing_that_judges_a_lease_changes_anything_by_a_clock_that_is_off(store, log, worker, other, off):
    message = await waiting(store, log)
    await other.claim()
    await other.schedule.take_server(SERVER, other.token, other.clock(), 1)
    limiter = Limiter(store.redis, SETTINGS, clock=other.clock)
    await limiter.enter("192.0.2.9")
    before = await contents(store.redis)

    async def redate() -> None:
        await Redate(store, SETTINGS, clock=worker.clock).partition(P, 900 * SECOND)

    schedule, clock = worker.schedule, worker.clock
    for call in (
        worker.claim,
        lambda: worker.claim(more=True),
        lambda: schedule.renew(P, DOMAIN, other.token, [message.id], clock()),
        lambda: schedule.take(message, P, clock()),
        lambda: schedule.take_server(SERVER, worker.token, clock(), 9),
        lambda: schedule.renew_server(SERVER, other.token, clock()),
        redate,
    ):
        worker.clock.wrong(off)
        with pytest.raises(ClockError):
            await call()
        assert await contents(store.redis) == before
    for call in (
        lambda: schedule.server_good(SERVER, clock(), 1),
        lambda: schedule.server_admit(SERVER, clock(), 60),
        lambda: schedule.server_limited(SERVER, "", clock(), 1, HOUR),
    ):
        worker.clock.wrong(off)
        await call()
        assert await store.redis.zscore(keys.server_slots(SERVER), other.token)


async def test_a_slot_that_is_given_back_by_a_clock_that_is_off_is_free_at_the_right_time(store, log, worker):
    message = await waiting(store, log)
    for off in (HOUR, -HOUR):
        worker.clock.wrong(0)
        assert await worker.claim() == ("work", [message.id])
        worker.clock.wrong(off)
        now = worker.clock()
        await worker.schedule.release(P, DOMAIN, worker.token, [message.id], now, at=now + SECOND)
        at = await store.redis.zscore(keys.queue(P, DOMAIN), message.id)
        assert abs(at - time.time_ns() // MS - 1000) < 900
        await store.redis.zadd(keys.queue(P, DOMAIN), {message.id: 0})
        await store.redis.zadd(keys.due(P), {DOMAIN: 0})


@pytest.mark.parametrize("off", [HOUR, -HOUR])
async def test_what_is_to_be_tried_at_once_leaves_alone_what_is_in_a_workers_hands(store, log, worker, other, off):
    held = await waiting(store, log)
    assert (await other.claim())[1] == [held.id]
    later = await waiting(store, log)
    await store.redis.zadd(keys.queue(P, DOMAIN), {later.id: (time.time_ns() + HOUR // 2) // MS})
    lease = await store.redis.zscore(keys.queue(P, DOMAIN), held.id)
    worker.clock.wrong(off)
    assert await worker.schedule.retry_now(P, DOMAIN, worker.clock(), ()) == 2
    assert await store.redis.zscore(keys.queue(P, DOMAIN), held.id) == lease
    assert (await other.schedule.due(P, other.clock(), 9))[0] == [DOMAIN]
    assert abs(await store.redis.zscore(keys.queue(P, DOMAIN), later.id) - time.time_ns() // MS) < 1000


async def test_a_receiver_whose_clock_is_off_does_not_give_away_the_connections_of_the_others(store, worker, other):
    settings = msgspec.structs.replace(SETTINGS, client_connections=2, unlimited_networks=())
    mine, theirs = (Limiter(store.redis, settings, clock=one.clock) for one in (worker, other))
    held = [await theirs.enter("192.0.2.9") for _ in range(2)]
    worker.clock.wrong(HOUR)
    # No limits are in force for a moment, which is what is done when Redis does not answer.
    await mine.enter("192.0.2.9")
    assert abs(worker.clock() - time.time_ns()) < SECOND
    third = Limiter(store.redis, settings, clock=worker.clock)
    assert await third.enter("192.0.2.9") is Limit.CONNECTIONS
    assert len(held) == 2


async def test_a_claim_that_lay_too_long_is_asked_for_anew_and_the_clock_is_left_alone(store, log, worker):
    message = await waiting(store, log)
    now = worker.clock() - LEASE
    with pytest.raises(ClockError):
        await worker.schedule.claim(P, DOMAIN, worker.token, now=now, retry_at=now + HOUR, more=False)
    assert worker.clock.correction == 0
    assert await worker.claim() == ("work", [message.id])


async def test_where_the_nodes_of_a_cluster_disagree_the_first_ones_clock_counts(store, log, worker, monkeypatch):
    if not is_spread(store.redis):
        return
    message = await waiting(store, log)
    _, *others = await masters(store.redis)

    async def later():
        seconds, micros = time.time_ns() // SECOND + 3600, 0
        return seconds, micros

    await put_right(worker.clock, store.redis, SETTINGS)
    assert worker.clock.tolerance
    with monkeypatch.context() as patched:
        patched.setattr(others[0], "time", later)
        await put_right(worker.clock, store.redis, SETTINGS)
        assert not worker.clock.tolerance
        assert worker.clock.correction == 0
    worker.clock.wrong(HOUR)
    assert await worker.claim() == ("work", [message.id])
    await put_right(worker.clock, store.redis, SETTINGS)
    assert worker.clock.tolerance
    assert abs(worker.clock() - time.time_ns()) < SECOND
