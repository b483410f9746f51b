"""Work from streams: taken over from the dead, set aside when it always fails, never in the way of the rest."""

from __future__ import annotations

import asyncio

import pytest

from pipeline import keys, parked
from pipeline.configuration import load
from pipeline.faults import NotFoundError, StoreAwayError, StoreFullError
from pipeline.store import Store
from tests.support.servers import eventually
from tests.workers.conftest import PARTITION, Parts, running
from workers import consume
from workers.consume import Consumer, consumer_name, ensure_groups, streams


def consumer(wiring, handle, stop, name=None, ahead=1):
    made = Consumer(wiring, "scan", keys.SCANNERS, streams(8, keys.scan), handle, stop, ahead=ahead)
    if name:
        made._name = name
    return made


class Handler:
    """Remembers what it was given; fails for one id, as often as it comes."""

    def __init__(self, wiring, bad=""):
        self.wiring = wiring
        self.bad = bad
        self.seen = []

    async def __call__(self, entries):
        failed = {}
        for entry in entries:
            message_id = entry.fields[b"id"].decode()
            self.seen.append(message_id)
            if message_id == self.bad:
                failed[entry.id] = ValueError("\x1b[31mcannot be read")
            else:
                await self.wiring.store.redis.xack(entry.stream, keys.SCANNERS, entry.id)
                await self.wiring.store.redis.xdel(entry.stream, entry.id)
        return failed


async def test_work_that_was_there_before_the_first_worker_is_done(parts):
    wiring = await parts()
    message_id = await wiring.accept()
    handler = Handler(wiring)
    async with running(lambda stop: consumer(wiring, handler, stop).run()):
        await eventually(lambda: done(handler, message_id))
    assert await wiring.store.redis.xlen(keys.scan(PARTITION)) == 0


async def done(handler, *ids):
    return set(ids) <= set(handler.seen)


def test_no_two_processes_have_the_same_name_whatever_their_host_calls_itself():
    assert len({consumer_name() for _ in range(100)}) == 100


async def test_work_in_the_hands_of_the_dead_is_taken_over_within_a_lease(parts):
    wiring = await parts(lease="2s")
    message_id = await wiring.accept()
    await ensure_groups(wiring.store.redis, [keys.scan(PARTITION)], keys.SCANNERS)
    taken = await wiring.store.redis.xreadgroup(keys.SCANNERS, "dead", {keys.scan(PARTITION): ">"}, count=1)
    assert taken
    handler = Handler(wiring)
    async with running(lambda stop: consumer(wiring, handler, stop).run()):
        await eventually(lambda: done(handler, message_id))


async def test_what_was_handed_to_us_when_the_connection_broke_is_done_as_soon_as_it_is_back(parts):
    wiring = await parts()
    message_id = await wiring.accept()
    await ensure_groups(wiring.store.redis, [keys.scan(PARTITION)], keys.SCANNERS)
    await wiring.store.redis.xreadgroup(keys.SCANNERS, "mine", {keys.scan(PARTITION): ">"}, count=1)
    handler = Handler(wiring)
    async with running(lambda stop: consumer(wiring, handler, stop, "mine").run()):
        await eventually(lambda: done(handler, message_id), within=5)


async def test_what_always_fails_is_parked_with_its_reason_and_the_rest_goes_on(parts):
    wiring = await parts(lease="2s", max_tries_before_parked=2)
    bad, good = await wiring.accept(), await wiring.accept()
    handler = Handler(wiring, bad)

    async def listed():
        return await parked.listed(wiring.store)

    async with running(lambda stop: consumer(wiring, handler, stop).run()):
        await eventually(lambda: done(handler, good))
        await eventually(listed, within=15)
        (item,) = await listed()
        assert (item.kind, item.message_id, item.tries) == ("scan", bad, 2)
        assert "cannot be read" in item.reason
        assert await wiring.head(bad) is not None
        handler.bad = ""
        handler.seen.clear()
        await parked.retry(wiring.store, wiring.log, item.reference, wiring.clock(), by="test")
        await eventually(lambda: done(handler, bad))
    assert await listed() == []


class Deadly(Handler):
    """One message makes its worker hang, with all that this worker has in hand."""

    def __init__(self, wiring, bad=""):
        super().__init__(wiring, bad)
        self.hung = 0

    async def __call__(self, entries):
        if any(entry.fields[b"id"].decode() == self.bad for entry in entries):
            self.hung += 1
            await asyncio.Event().wait()
        return await super().__call__(entries)


async def test_a_message_that_ends_its_worker_is_set_aside_and_none_that_was_in_its_hands_as_well(parts):
    wiring = await parts(lease="2s", max_tries_before_parked=3)
    messages = [await wiring.accept() for _ in range(7)]
    bad = messages[3]
    handler = Deadly(wiring, bad)
    most = wiring.settings.max_tries_before_parked
    for life in range(most):
        worker = consumer(wiring, handler, asyncio.Event())
        task = asyncio.create_task(worker._run())

        async def hangs(life=life):
            return handler.hung > life

        await eventually(hangs, within=10)
        for one in (task, *worker._batches):  # nothing is put right, as with kill -9
            one.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with running(lambda stop: consumer(wiring, handler, stop).run()):
        await eventually(lambda: parked.listed(wiring.store), within=10)
        (item,) = await parked.listed(wiring.store)
        assert item.message_id == bad
        await eventually(lambda: done(handler, *(message for message in messages if message != bad)))
    assert handler.hung == most


@pytest.mark.parametrize("trouble", [StoreAwayError("away"), StoreFullError("full")])
async def test_trouble_of_the_store_parks_nothing(parts, trouble):
    wiring = await parts(lease="2s", max_tries_before_parked=1)
    message_id = await wiring.accept()
    asked = []

    async def handle(entries):
        asked.extend(entries)
        return {entry.id: trouble for entry in entries}

    async def again():
        return len(asked) > 1

    async with running(lambda stop: consumer(wiring, handle, stop).run()):
        await eventually(again, within=15)
    assert asked[0].fields[b"id"].decode() == message_id
    assert await parked.listed(wiring.store) == []


async def test_only_what_is_parked_can_be_retried(parts):
    wiring = await parts()
    for reference in ("scan:3:1-1", "nonsense", "scan:x:1", ""):
        with pytest.raises(NotFoundError):
            await parked.retry(wiring.store, wiring.log, reference, 1, by="test")


async def test_a_redis_that_goes_and_comes_back_is_waited_for(own_redis, tmp_path):
    wiring = Parts(load(None, {}, {"data": tmp_path}), await Store.connect(own_redis.url, 8))
    handler = Handler(wiring)
    async with running(lambda stop: consumer(wiring, handler, stop).run()):
        first = await wiring.accept()
        await eventually(lambda: done(handler, first))
        own_redis.kill()
        waiting = asyncio.create_task(wiring.accept())
        own_redis.start()
        second = await waiting
        await eventually(lambda: done(handler, second), within=15)
    await wiring.close()


class Slow(Handler):
    """Holds its first batch until it is let go."""

    def __init__(self, wiring):
        super().__init__(wiring)
        self.batches = []
        self.go = asyncio.Event()

    async def __call__(self, entries):
        self.batches.append([entry.fields[b"id"].decode() for entry in entries])
        if len(self.batches) == 1:
            await self.go.wait()
        return await super().__call__(entries)

    async def began(self):
        return self.batches


async def test_one_that_waits_for_somebody_does_not_hold_up_those_that_come_after_it(parts):
    wiring = await parts()
    handler = Slow(wiring)
    async with running(lambda stop: consumer(wiring, handler, stop, ahead=9).run()):
        first = await wiring.accept()
        await eventually(handler.began)
        second = await wiring.accept()
        await eventually(lambda: done(handler, second))
        assert first not in handler.seen
        handler.go.set()
        await eventually(lambda: done(handler, first))


async def test_what_comes_while_a_batch_is_quickly_done_is_one_batch(parts, monkeypatch):
    monkeypatch.setattr(consume, "HEAD_START", 60)
    wiring = await parts()
    handler = Slow(wiring)
    async with running(lambda stop: consumer(wiring, handler, stop, ahead=9).run()):
        first = await wiring.accept()
        await eventually(handler.began)
        after = [await wiring.accept() for _ in range(5)]
        handler.go.set()
        await eventually(lambda: done(handler, *after))
    assert handler.batches == [[first], after]
