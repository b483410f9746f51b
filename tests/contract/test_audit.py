"""Walking along a log, on fakeredis and on a real server: what is doubled is found, what moves meanwhile is not taken for a fault."""

from __future__ import annotations

import pytest

from pipeline import keys
from pipeline.audit import live
from pipeline.audit.entries import Entries
from pipeline.audit.live import Walk
from pipeline.audit.subjects import Filter
from pipeline.audit.verify import Problems
from pipeline.events import Delivered, Queued, Scanned, encode
from pipeline.ids import new_id
from pipeline.state import decode_head
from pipeline.steps import message_step, received_step
from tests.support.examples import AT, SECOND, event, received

P = 3


async def walked(store, **more) -> tuple[Walk, Problems]:
    problems = Problems()
    entries = Entries(store.redis)
    walk = Walk(entries, P, problems, Filter(1 << 12), **more)
    await walk.read(await entries.last(P))
    await live.heads(store.redis, {P: walk})
    return walk, problems


async def put(store, subject: str, *events) -> None:
    for version, one in enumerate(events, 1):
        await store.redis.xadd(keys.log(P), {"s": subject, "v": version, "e": encode(one)})


async def test_a_history_that_comes_twice_is_found_where_it_begins_again(store):
    name = new_id(AT, P)
    whole = (received(), event(Scanned), event(Queued), event(Delivered))
    await put(store, name, *whole)
    assert (await walked(store))[1].named == []
    await put(store, name, *whole)
    (problem,) = (await walked(store))[1].named
    entries = [entry.decode() for entry, _ in await store.redis.xrange(keys.log(P))]
    assert (problem.entry, problem.text) == (entries[4], f"{name} was there already, in entry {entries[0]}")


async def test_a_filter_that_is_full_makes_nobody_a_liar(store):
    """All that it knows is "maybe"; the log says what was."""
    for number in range(60):
        await put(store, new_id(AT, P, number), received(), event(Scanned), event(Queued), event(Delivered))
    problems = Problems()
    entries = Entries(store.redis)
    walk = Walk(entries, P, problems, Filter(8))
    await walk.read(await entries.last(P))
    assert problems.named == []


async def test_a_head_that_moves_while_it_is_looked_at_is_no_fault(store, log):
    name = new_id(AT, P)
    await log.commit(received_step(name, received(), b"x"))
    problems, entries = Problems(), Entries(store.redis)
    walk = Walk(entries, P, problems, Filter(1 << 12))
    await walk.read(await entries.last(P))
    assert walk.subjects.live[name].version == 1
    step, _ = message_step(await head(store, name), [event(Scanned), event(Queued)], now=AT + SECOND)
    await log.commit(step)
    await live.heads(store.redis, {P: walk})
    assert problems.named == []
    assert walk.subjects.live[name].version == 3


async def head(store, name):
    return decode_head(await store.redis.hget(keys.head(P, name), "m"))


@pytest.mark.parametrize("begin", [0, 1])
async def test_a_log_is_looked_at_from_a_moment_on(store, begin):
    name = new_id(AT, P)
    await put(store, name, received(), event(Scanned), event(Queued), event(Delivered))
    rows = await store.redis.xrange(keys.log(P))
    at = int(rows[0][0].split(b"-")[0])
    _, problems = await walked(store, begin=(at + 3_600_000) * begin)
    assert problems.named == []
