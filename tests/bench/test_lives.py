"""Mail that is put in without SMTP is as mail that came: it waits, is found and can be sent, or is history."""

from __future__ import annotations

import itertools

from bench.crowd import AWAY
from bench.lives import BODY, ColdBodies, lives, put, waiting
from pipeline import keys
from pipeline.ids import partition_for
from pipeline.state import Stage
from tests.workers.conftest import parts

__all__ = ["parts"]


async def test_what_is_put_in_to_wait_is_claimed_with_its_body_and_no_scanner_is_asked(parts):
    wiring = await parts()
    partition = partition_for(AWAY, wiring.store.partitions)
    bodies = ColdBodies(wiring.settings.data / "bodies")
    assert await put(wiring.log, bodies.of(itertools.islice(waiting([AWAY], wiring.store.partitions), 30))) == 90
    assert not await wiring.store.redis.exists(keys.scan(partition))
    assert await wiring.store.redis.zcard(keys.expiry(partition)) == 30
    now = wiring.clock() + 10**9
    found = await wiring.schedule.claim(partition, AWAY, "token", now=now, retry_at=now + 10**9, more=False)
    assert [work.message.stage for work in found.work] == [Stage.QUEUED]
    assert await wiring.bodies.get(found.work[0].id) == BODY


async def test_a_history_is_of_messages_that_are_gone(parts):
    wiring = await parts()
    events = await put(wiring.log, itertools.islice(lives(wiring.store.partitions), 40))
    logs = [await wiring.store.redis.xlen(keys.log(number)) for number in range(wiring.store.partitions)]
    assert sum(logs) == events >= 160
    assert min(logs) > 0
    for number in range(wiring.store.partitions):
        assert not await wiring.store.redis.exists(keys.expiry(number), keys.scan(number), keys.due(number))
