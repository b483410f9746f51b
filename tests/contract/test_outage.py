"""Redis goes away in the middle: what was acknowledged is there, nothing is there twice, waiting ends when it returns."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from pipeline import keys
from pipeline.faults import StoreAwayError, StoreFullError
from pipeline.ids import new_id
from pipeline.log import Log
from pipeline.steps import received_step
from pipeline.store import Store, dangers, open_client, refuse_unsafe
from tests.support.examples import AT, received

P = 0


def step(body: bytes = b"hello"):
    message_id = new_id(AT, P)
    return received_step(message_id, received(), body)


class LosesReplies:
    """A connection that breaks after the server did what it was asked, and before it could say so."""

    def __init__(self, redis, count=1):
        self._redis = redis
        self.left = count

    def __getattr__(self, name):
        return getattr(self._redis, name)

    async def execute_command(self, *words, **options):
        answer = await self._redis.execute_command(*words, **options)
        if self.left and words[0] in ("EVAL", "EVALSHA"):
            self.left -= 1
            raise RedisConnectionError("connection lost")
        return answer


async def test_a_step_whose_reply_was_lost_happens_once_and_is_acknowledged(redis_server):
    redis = open_client(redis_server.url)
    log = Log(LosesReplies(redis, 2))
    await asyncio.gather(*(log.commit(step()) for _ in range(10)))
    assert len(await log.read(P, "0", 100)) == 10
    await redis.aclose()


async def test_a_server_killed_under_load_has_all_that_was_acknowledged_and_nothing_twice(own_redis):
    redis = open_client(own_redis.url)
    log = Log(redis)
    acknowledged = []

    async def one():
        made = step()
        await log.commit(made)
        acknowledged.append(made.subject)

    writers = [asyncio.create_task(one()) for _ in range(300)]
    while len(acknowledged) < 40:
        await asyncio.sleep(0)
    own_redis.kill()
    own_redis.start()
    await asyncio.wait_for(asyncio.gather(*writers), 20)
    subjects = [recorded.subject for recorded in await log.read(P, "0", 1000)]
    assert sorted(subjects) == sorted(acknowledged)
    assert len(set(subjects)) == 300
    await redis.aclose()


async def test_patience_ends_with_a_fault_and_for_ever_is_for_ever(own_redis):
    redis = open_client(own_redis.url)
    log = Log(redis)
    await log.commit(step())
    own_redis.kill()
    with pytest.raises(StoreAwayError):
        await log.commit(step(), patience=0.3)
    waiting = asyncio.create_task(log.commit(step()))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.5)
    own_redis.start()
    await asyncio.wait_for(waiting, 10)
    assert len(await log.read(P, "0", 10)) == 2
    await redis.aclose()


async def test_a_server_out_of_memory_takes_no_step_and_no_part_of_one(own_redis):
    redis = open_client(own_redis.url)
    log = Log(redis)
    await log.commit(step())
    await redis.config_set("maxmemory", 1_000_000)
    with pytest.raises(StoreFullError):
        for _ in range(20):
            await log.commit(step(b"x" * 200_000))
    before = len(await log.read(P, "0", 100))
    assert before == await redis.zcard(keys.expiry(P)) == await redis.xlen(keys.scan(P))
    await redis.config_set("maxmemory", 0)
    await log.commit(step())
    assert len(await log.read(P, "0", 100)) == before + 1
    await redis.aclose()


async def test_what_would_lose_mail_is_named_with_its_remedy(own_redis):
    store = await Store.connect(own_redis.url, 8)
    await refuse_unsafe(store.redis)
    await store.redis.config_set("maxmemory-policy", "allkeys-lru")
    await store.redis.config_set("appendfsync", "no")
    await store.redis.config_set("appendonly", "no")
    fatal = {danger.remedy for danger in await dangers(store.redis) if danger.fatal}
    assert fatal == {"Set `appendonly yes`.", "Set `maxmemory-policy noeviction`.", "Set `appendfsync always`."}
    await store.close()


async def test_the_number_of_partitions_is_the_stores_own(own_redis):
    first = await Store.connect(own_redis.url, 4)
    second = await Store.connect(own_redis.url, 16)
    assert (first.partitions, second.partitions) == (4, 4)
    await first.close()
    await second.close()
