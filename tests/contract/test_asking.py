"""What many messages ask at once goes together, and each gets its own answers."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.asking import MOST, Asking
from pipeline.faults import StoreAwayError, StoreError
from pipeline.store import Store, open_client
from pipeline.topology.spread import is_spread
from tests.support.servers import free_port


@pytest.fixture
async def asking(store: Store) -> Asking:
    for number in range(3):
        await store.redis.hset(f"gp:asked:{number}", mapping={"a": f"a{number}", "b": f"b{number}"})
    await store.redis.set("gp:asked:text", "no hash")
    return Asking(store.redis)


async def test_each_gets_what_it_asked_for_in_its_order(asking):
    async def ask(number):
        return await asking.fields(
            (f"gp:asked:{number}", ["b", "none", "a"]), ("gp:asked:nobody", [b"a"]), (f"gp:asked:{number}", ["a"])
        )

    found = await asyncio.gather(*[ask(number) for number in range(3)])
    assert found == [[[b"b%d" % n, None, b"a%d" % n], [None], [b"a%d" % n]] for n in range(3)]


async def test_what_is_asked_at_once_is_one_call_and_so_is_what_comes_meanwhile(store, asking, monkeypatch):
    if is_spread(store.redis):
        return  # there each asks for itself
    calls = []
    pipeline = store.redis.pipeline
    monkeypatch.setattr(store.redis, "pipeline", lambda **options: calls.append(1) or pipeline(**options))
    first = [asyncio.ensure_future(asking.fields(("gp:asked:1", ["a"]))) for _ in range(MOST)]
    await asyncio.sleep(0)
    later = [asyncio.ensure_future(asking.fields(("gp:asked:2", ["a"]))) for _ in range(3)]
    assert await asyncio.gather(*first, *later) == [[[b"a1"]]] * MOST + [[[b"a2"]]] * 3
    assert len(calls) == 2
    await asking.fields(("gp:asked:1", ["a"]))
    assert len(calls) == 3


async def test_a_question_that_cannot_be_answered_fails_nobody_else(asking):
    good, bad, other = await asyncio.gather(
        asking.fields(("gp:asked:1", ["a"])),
        asking.fields(("gp:asked:1", ["a"]), ("gp:asked:text", ["a"])),
        asking.fields(("gp:asked:2", ["b"])),
        return_exceptions=True,
    )
    assert (good, other) == ([[b"a1"]], [[b"b2"]])
    assert isinstance(bad, StoreError)


async def test_who_loses_patience_takes_no_answer_from_the_others(asking):
    tasks = [asyncio.ensure_future(asking.fields((f"gp:asked:{number}", ["a"]))) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert found[0] == [[b"a0"]]
    assert found[2] == [[b"a2"]]
    assert isinstance(found[1], asyncio.CancelledError)


async def test_of_a_redis_that_is_away_everybody_hears_so_and_the_next_asks_anew():
    redis = open_client(f"redis://127.0.0.1:{free_port()}")
    asking = Asking(redis)
    for _ in range(2):
        failed = await asyncio.gather(*[asking.fields(("gp:asked", ["a"])) for _ in range(3)], return_exceptions=True)
        assert [type(fault) for fault in failed] == [StoreAwayError] * 3
    await redis.aclose()
