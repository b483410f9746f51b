"""What happens when the time of a hold is over: mail flows again, or meets the end that somebody planned for it.

A duty of the janitor, safe to run in any number of processes at once: each step carries the version of what it was decided on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from pipeline import bounces, keys, steering
from pipeline.bodies import Buffer
from pipeline.directory import Domain
from pipeline.faults import CorruptError, NotFoundError, StoreAwayError, StoreError
from pipeline.rerouting import follow, ways
from pipeline.state import Message
from pipeline.steps import MS
from pipeline.store import faults
from pipeline.topology.spread import each
from workers.bounces import conclude
from workers.steering import retry_server
from workers.wiring import Wiring

log = structlog.get_logger()

EVERY: Final = 1.0
"""Seconds between two looks."""
OVER: Final = "the time of the hold is over"
BATCH: Final = 500
POSTPONE: Final = 60 * 1000
"""ms until what could not be ended is looked at again."""
TOGETHER: Final = 64
"""Messages ended at once: their steps share calls and fsyncs."""


class Steward:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._store = wiring.store
        self._domains: Mapping[str, Domain] = {}
        self._ends: dict[str, int] = {}
        """Domains whose hold ends by itself, and when; of `_domains`."""

    async def end_directory_holds(self) -> int:
        """Let the mail of domains and servers flow whose hold is over; how many of them."""
        directory = self._wiring.directory
        await directory.refresh()
        if directory.domains() is not self._domains:
            self._domains = directory.domains()
            held = {name: domain.hold for name, domain in self._domains.items() if domain.hold is not None}
            self._ends = {name: hold.until for name, hold in held.items() if hold.until}
        now = self._wiring.clock()
        over = [name for name, until in self._ends.items() if until <= now]
        for name in over:
            await self._resume_domain(name, now)
        servers = [server for server, hold in directory.held_servers().items() if not hold.holds(now)]
        for server in servers:
            if await directory.resume_server(server, by=steering.OURSELVES, now=now, note=OVER):
                await retry_server(self._wiring, server)
        return len(over) + len(servers)

    async def _resume_domain(self, name: str, now: int) -> None:
        wiring = self._wiring
        before = ways(wiring.directory.domains())
        try:
            await wiring.directory.resume(name, by=steering.OURSELVES, now=now, note=OVER)
        except NotFoundError:  # removed a moment ago
            return
        await follow(before, ways(wiring.directory.domains()), wiring.schedule, wiring.store.partitions, now)

    async def end_holds(self) -> int:
        """Carry out what is due; how many messages."""
        return await each(self._store.redis, self._store.partitions, self._end_holds_in)

    async def _end_holds_in(self, partition: int) -> int:
        ended = 0
        now = self._wiring.clock()
        with faults():
            rows = await self._store.redis.zrangebyscore(keys.ends(partition), "-inf", now // MS, start=0, num=BATCH)
        names = [name.decode() for name in rows]
        for start in range(0, len(names), TOGETHER):
            some = names[start : start + TOGETHER]
            heads = await self._wiring.schedule.heads(partition, some)
            done = await asyncio.gather(
                *(self._end_or_postpone(partition, name, head) for name, head in zip(some, heads, strict=True))
            )
            ended += sum(done)
        return ended

    async def _end_or_postpone(self, partition: int, message_id: str, message: Message | None) -> bool:
        """One message's trouble must not stop the others: it is looked at again a minute later."""
        try:
            return await self._end(partition, message_id, message)
        except StoreAwayError:  # its body's store, or Redis, which then raises here again
            await self._postpone(partition, message_id)
            return False
        except StoreError:
            raise
        except Exception:
            log.exception("the end of a hold failed, will be tried again", message=message_id)
            await self._postpone(partition, message_id)
            return False

    async def _end(self, partition: int, message_id: str, message: Message | None) -> bool:
        if message is None or message.hold is None:
            await self._forget_or_postpone(partition, message_id)
            return False
        now = self._wiring.clock()
        content = await self._content(message)
        route = await self._wiring.schedule.route(partition, message.domain)
        events = steering.carried_out(
            message,
            now=now,
            route=route.attempts[-1] if route.attempts else None,
            unsent=bounces.unsent(message, content),
            partition_of_sender=bounces.sender_partition(message, self._store.partitions),
        )
        if not events:
            return False
        return await conclude(self._wiring, message, events, content, tried=route.at)

    async def _content(self, message: Message) -> Buffer:
        """The message, for its header, where it is to be returned."""
        if message.hold is None or message.hold.then != steering.BOUNCE:
            return b""
        try:
            return await self._wiring.bodies.get(message.id)
        except CorruptError:
            log.error("body is gone, its bounce has no header", message=message.id)  # noqa: TRY400 - the fault says all
            return b""

    async def _postpone(self, partition: int, message_id: str) -> None:
        later = self._wiring.clock() // MS + POSTPONE
        with faults():
            await self._store.redis.zadd(keys.ends(partition), {message_id: later}, xx=True)

    async def _forget_or_postpone(self, partition: int, message_id: str) -> None:
        """No head that can be read: finished meanwhile, or damaged and for an operator to look at."""
        with faults():
            there = await self._store.redis.exists(keys.head(partition, message_id))
        if there:
            log.error("the head of a message cannot be read", message=message_id)
            await self._postpone(partition, message_id)
            return
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            pipe.zrem(keys.ends(partition), message_id)
            pipe.zrem(keys.held(partition), message_id)
            await pipe.execute()
