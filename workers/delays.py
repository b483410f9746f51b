"""Telling senders that their mail still waits: a duty of the janitor, safe to run in any number of processes at once.

What is due is found in a sorted set that only holds mail of which somebody has to be told (see `pipeline/delays.py`). Whether it is
worth telling is looked at now: of a list, a machine or a forged sender nobody is told, and nothing is recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from pipeline import bounces, decide, delays, keys
from pipeline.bodies import Buffer
from pipeline.events import MessageEvent
from pipeline.faults import ConflictError, CorruptError, StoreAwayError
from pipeline.state import Message, Stage
from pipeline.steps import MS, message_step
from pipeline.store import faults
from pipeline.topology.spread import each
from pipeline.unsent import unwarned
from workers.bounces import promise
from workers.wiring import Wiring

BATCH: Final = 500
TOGETHER: Final = 64
"""Messages in hand at once: their steps go in one call, with one fsync."""
AWAY_LATER: Final = 60 * 1000
"""ms until a message is looked at again whose body cannot be reached."""
WARN_LATER: Final = 3600 * 1000
"""ms until somebody who was told enough in this hour may be told of a delay."""


class Delays:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    async def warn(self) -> int:
        """Tell senders that their mail still waits, where they are to be told; how many messages that was."""
        return await each(self._wiring.store.redis, self._wiring.store.partitions, self._warn_in)

    async def _warn_in(self, partition: int) -> int:
        warned = 0
        now = self._wiring.clock()
        with faults():
            ids = await self._wiring.store.redis.zrangebyscore(
                keys.warn(partition), "-inf", now // MS, start=0, num=BATCH
            )
        names = [name.decode() for name in ids]
        heads = list(zip(names, await self._wiring.schedule.heads(partition, names), strict=True))
        for start in range(0, len(heads), TOGETHER):
            some = [self._warn(partition, *row) for row in heads[start : start + TOGETHER]]
            done = await asyncio.gather(*some, return_exceptions=True)
            for trouble in done:
                if isinstance(trouble, BaseException):
                    raise trouble
            warned += sum(outcome is True for outcome in done)
        return warned

    async def _warn(self, partition: int, message_id: str, message: Message | None) -> bool:
        """Who has it in hand meanwhile is not disturbed."""
        wiring, now = self._wiring, self._wiring.clock()
        try:
            events, content, tried = await self._delayed(partition, message, now)
        except StoreAwayError:  # its body's store, or Redis, which then raises here again
            with faults():
                await wiring.store.redis.zadd(keys.warn(partition), {message_id: now // MS + AWAY_LATER}, xx=True)
            return False
        if message is None or not events:
            with faults():
                await self._wiring.store.redis.zrem(keys.warn(partition), message_id)
            return False
        if not await wiring.allowance.take(message.sender, now):
            with faults():
                await self._wiring.store.redis.zadd(keys.warn(partition), {message_id: now // MS + WARN_LATER}, xx=True)
            return False
        also = promise(wiring, message, events, content, tried=tried)
        try:
            await wiring.log.commit(message_step(message, events, now=now, also=also)[0])
        except ConflictError:
            return False  # it moved on, and is looked at again if it waits still
        return True

    async def _delayed(
        self, partition: int, message: Message | None, now: int
    ) -> tuple[tuple[MessageEvent, ...], Buffer, int]:
        """What is to be said of a message that waits, its content, and when its route was tried last; nothing to a machine."""
        content: Buffer = b""
        if message is None or not message.addresses(Stage.QUEUED):
            return (), content, 0
        with contextlib.suppress(CorruptError):
            content = await self._wiring.bodies.get(message.id)
        if unwarned(message, bounces.header_of(content)):
            return (), content, 0
        route = await self._wiring.schedule.route(partition, message.domain)
        events = decide.delayed(
            message,
            now=now,
            route=route.attempts[-1] if route.attempts else None,
            wanted=lambda recipient: delays.wants(recipient, self._wiring.settings.delay_warnings),
            partition_of_sender=bounces.sender_partition(message, self._wiring.store.partitions),
        )
        return events, content, route.at
