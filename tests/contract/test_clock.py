"""A clock that is off is noticed before it makes two workers hold the same work."""

from __future__ import annotations

import time

import pytest

from pipeline.clock import Clock, difference, in_words, put_right
from pipeline.configuration import load
from pipeline.schedule import Schedule, new_token

SETTINGS = load(environ={"GATEPOST_LEASE": "80s"})


@pytest.mark.parametrize(("off", "said"), [(0, ""), (9, ""), (-9, ""), (30, "30 s ahead of"), (-3600, "3600 s behind")])
async def test_a_clock_that_is_off_by_more_than_an_eighth_of_the_lease_is_noticed(store, off, said):
    ahead = await difference(store.redis, SETTINGS, lambda: time.time_ns() + off * 1_000_000_000)
    assert bool(ahead) is bool(said)
    if said:
        assert said in in_words(ahead)


async def test_a_slow_answer_is_not_taken_for_a_clock_that_is_off(store):
    times = iter([time.time_ns(), time.time_ns() + 60_000_000_000])
    assert not await difference(store.redis, SETTINGS, lambda: next(times))


async def test_a_clock_that_is_off_goes_by_redis_and_one_that_is_not_is_left_alone(store):
    for off in (9, 3600, -3600):
        clock = Clock(lambda off=off: time.time_ns() + off * 1_000_000_000)
        corrected = await put_right(clock, store.redis, SETTINGS)
        assert abs(corrected - (off if off != 9 else 0)) < 2
        assert abs(clock() - time.time_ns()) < 11_000_000_000
        assert not await put_right(clock, store.redis, SETTINGS)


async def test_a_clock_that_is_set_right_needs_no_correction_any_more(store):
    own = [time.time_ns() + 3600 * 1_000_000_000]
    clock = Clock(lambda: own[0])
    await put_right(clock, store.redis, SETTINGS)
    own[0] = time.time_ns()
    assert await put_right(clock, store.redis, SETTINGS) < 0
    assert abs(clock.correction) < 10_000_000_000


async def test_a_worker_whose_clock_was_ahead_takes_no_slot_of_another_that_lives(store):
    ahead = Clock(lambda: time.time_ns() + 3600 * 1_000_000_000)
    await put_right(ahead, store.redis, SETTINGS)
    schedule, mine, other = Schedule(store, SETTINGS), new_token(), new_token()
    server = "192.0.2.1:25"
    assert (await schedule.take_server(server, mine, time.time_ns(), 1)).word == "taken"
    assert (await schedule.take_server(server, other, ahead(), 1)).word == "full"
