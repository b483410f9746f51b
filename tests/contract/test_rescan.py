"""Messages that wait for an engine: never in no place at all, whoever dies when."""

from __future__ import annotations

import pytest

from pipeline import keys
from pipeline.events import Postponed, Scanned
from pipeline.ids import new_id
from pipeline.rescan import AT_ONCE, Rescans, waiting_step
from pipeline.state import decode_head
from pipeline.steps import MS, acknowledged, message_step, received_step
from tests.support.examples import AT, DOMAIN, received

AWAY = ("clamav (cannot be reached)",)
MINUTE = 60_000_000_000


@pytest.fixture
async def waiting(store, log):
    """A message whose scan was acknowledged because it has to wait."""
    message_id = new_id(AT, 3)
    await log.commit(received_step(message_id, received(), b"Subject: x\r\n\r\n"))
    await store.redis.xgroup_create(keys.scan(3), keys.SCANNERS, id="0")
    await _wait(store, log, message_id)
    return message_id


async def _take(store):
    """The entries that a scanner gets."""
    rows = await store.redis.xreadgroup(keys.SCANNERS, "me", {keys.scan(3): ">"}, count=10)
    return [(entry.decode(), fields[b"id"].decode()) for _, entries in rows for entry, fields in entries]


async def _wait(store, log, message_id, *, again=AT + MINUTE, first=True):
    ((entry, found),) = await _take(store)
    assert found == message_id
    message = decode_head(await store.redis.hget(keys.head(3, message_id), "m"))
    events = (Postponed(at=AT, domain=DOMAIN, missing=AWAY, until=AT + 240 * MINUTE),) if first else ()
    done = acknowledged(keys.scan(3), keys.SCANNERS, entry)
    await log.commit(waiting_step(message, events, now=AT, again=again, also=done))


async def test_it_is_in_no_stream_and_in_the_set_with_what_it_waits_for_in_its_head(store, waiting):
    assert await store.redis.xlen(keys.scan(3)) == 0
    assert await store.redis.zrange(keys.rescan(3), 0, -1, withscores=True) == [(waiting.encode(), (AT + MINUTE) // MS)]
    message = decode_head(await store.redis.hget(keys.head(3, waiting), "m"))
    assert (message.stage, message.missing, message.waits_since) == ("received", AWAY, AT)
    found = await Rescans(store).waiting()
    assert (found.messages, found.engines) == (1, AWAY[0])


async def test_when_it_is_time_it_is_given_to_the_scanners_and_not_before_and_not_twice(store, waiting):
    rescans = Rescans(store)
    assert await rescans.put_back(AT + MINUTE - MS) == 0
    assert await rescans.put_back(AT + MINUTE) == 1
    assert await rescans.put_back(AT + MINUTE) == 0
    ((_, found),) = await _take(store)
    assert found == waiting
    assert await store.redis.zcard(keys.rescan(3)) == 0
    assert (await rescans.waiting()).engines == "an engine"


async def test_it_may_wait_again_without_a_word_in_the_log(store, log, waiting):
    await Rescans(store).put_back(AT + MINUTE)
    before = await store.redis.xlen(keys.log(3))
    await _wait(store, log, waiting, again=AT + 2 * MINUTE, first=False)
    assert await store.redis.xlen(keys.log(3)) == before
    assert await store.redis.zscore(keys.rescan(3), waiting) == (AT + 2 * MINUTE) // MS
    assert await store.redis.xlen(keys.scan(3)) == 0


async def test_once_it_is_scanned_it_waits_no_more_and_its_head_says_who_did_not_look(store, log, waiting):
    await Rescans(store).put_back(AT + MINUTE)
    message = decode_head(await store.redis.hget(keys.head(3, waiting), "m"))
    scanned = Scanned(at=AT, domain=DOMAIN, verdict="clean", score=0.0, missing=("rspamd (x)",))
    _, after = message_step(message, (scanned,), now=AT)
    assert (after.missing, after.waits_since) == (("rspamd (x)",), 0)


async def test_of_many_some_come_back_at_once_and_the_rest_after_them(store):
    ids = {new_id(AT + number, 3): number for number in range(AT_ONCE + 7)}
    await store.redis.zadd(keys.rescan(3), ids)
    assert [await Rescans(store).put_back(AT) for _ in range(3)] == [AT_ONCE, 7, 0]
    assert await store.redis.xlen(keys.scan(3)) == len(ids)
