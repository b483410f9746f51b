"""A clock that is off is noticed before it makes two workers hold the same work."""

from __future__ import annotations

import time

import pytest

from pipeline.clock import difference, in_words
from pipeline.configuration import load

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
