"""The janitor: what time does to messages, and tidying up.

Several duties, each safe to run in any number of processes at once: ending what has waited or been kept long enough, telling senders
that their mail still waits (`delays.py`), turning promised bounces into messages, moving the bodies of waiting mail out of Redis, bringing
back what a clock that was ahead had scheduled, sweeping up what a dead process left behind (`sweeping.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from pipeline import bounces, decide, keys
from pipeline.backing_off import each_backing_off
from pipeline.bodies import Buffer
from pipeline.events import Received, decode
from pipeline.faults import ConflictError, CorruptError, StoreAwayError
from pipeline.portions import by_score
from pipeline.redate import Redate
from pipeline.state import LEAVING, Message
from pipeline.steps import MS, acknowledged, promised_step
from pipeline.store import faults
from pipeline.topology.spread import each
from workers.bounces import conclude
from workers.consume import Consumer, Entry, streams
from workers.delays import Delays
from workers.duties import every
from workers.notify import notify
from workers.segments import SEGMENTS_EVERY, Segments
from workers.spare import SPARE_EVERY, Spare
from workers.steward import EVERY, Steward
from workers.sweeping import SWEEP_EVERY, Sweeper
from workers.wiring import Wiring

log = structlog.get_logger()

EXPIRY_EVERY: Final = 5.0
COOL_EVERY: Final = 10.0
REDATE_EVERY: Final = 10.0
BATCH: Final = 500
COOL_BATCH: Final = 64
WALKS: Final = 50_000
"""Queues of which it is remembered up to where they were looked through."""
POSTPONE: Final = 60 * 1000
"""ms until something that is in a worker's hands, or parked, is looked at again."""


class Janitor:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._store = wiring.store
        self._cooled: dict[tuple[int, str], int] = {}
        """Per waiting domain, the score up to which its queue was looked through."""

    # Ending

    async def expire(self) -> int:
        """Return or discard what has reached its end; how many."""
        return await each(self._store.redis, self._store.partitions, self._expire_in)

    async def _expire_in(self, partition: int) -> int:
        ended = 0
        now = self._wiring.clock()
        with faults():
            ids = await self._store.redis.zrangebyscore(keys.expiry(partition), "-inf", now // MS, start=0, num=BATCH)
        names = [name.decode() for name in ids]
        for message_id, message in zip(names, await self._wiring.schedule.heads(partition, names), strict=True):
            ended += await self._end(partition, message_id, message)
        return ended

    async def _end(self, partition: int, message_id: str, message: Message | None) -> bool:
        now = self._wiring.clock()
        if message is None:
            await self._forget_or_postpone(partition, message_id, now)
            return False
        queued = bool(message.addresses(*LEAVING)) and now >= message.expires
        if queued and not await self._wiring.schedule.take(message, partition, now):
            await self._postpone(partition, message_id, now)
            return False
        content: Buffer = b""
        if queued:
            try:
                content = await self._wiring.bodies.get(message_id)
            except CorruptError:
                log.error("body is gone, its bounce has no header", message=message_id)  # noqa: TRY400 - the fault says all
            except StoreAwayError:  # the others need not wait for it
                await self._postpone(partition, message_id, now)
                return False
        route = await self._wiring.schedule.route(partition, message.domain)
        events = decide.expired(
            message,
            now=now,
            route=route.attempts[-1] if route.attempts else None,
            unsent=bounces.unsent(message, content),
            partition_of_sender=bounces.sender_partition(message, self._store.partitions),
            retention=self._wiring.retention_of(message.domain),
        )
        if not events:
            await self._postpone(partition, message_id, now)
            return False
        return await conclude(self._wiring, message, events, content, tried=route.at)

    async def _postpone(self, partition: int, message_id: str, now: int) -> None:
        with faults():
            await self._store.redis.zadd(keys.expiry(partition), {message_id: now // MS + POSTPONE}, xx=True)

    async def _forget_or_postpone(self, partition: int, message_id: str, now: int) -> None:
        """No head that can be read: finished meanwhile, or damaged and for an operator to look at."""
        with faults():
            if await self._store.redis.exists(keys.head(partition, message_id)):
                log.error("the head of a message cannot be read", message=message_id)
                await self._postpone(partition, message_id, now)
            else:
                await self._store.redis.zrem(keys.expiry(partition), message_id)

    # Bounces

    async def send_bounces(self, entries: Sequence[Entry]) -> Mapping[str, Exception]:
        """Make a message of each promised bounce. Its id is derived from the failure, so it is made once."""
        failed: dict[str, Exception] = {}
        for entry in entries:
            try:
                await self._send_bounce(entry)
            except Exception as error:  # noqa: BLE001 - one bounce's trouble must not stop the others: it is tried again, then parked
                failed[entry.id] = error
        return failed

    async def _send_bounce(self, entry: Entry) -> None:
        bounce_id, body = entry.fields[b"id"].decode(), entry.fields[b"b"]
        event = decode(entry.fields[b"e"])
        if not isinstance(event, Received):
            raise CorruptError("the outbox holds something that is not a message")
        if not (entry.again and await self._wiring.past.holds(bounce_id)):
            hot = None
            if b"c" not in entry.fields:  # with it, the body is on disk under this id already
                draft = self._wiring.bodies.draft()
                draft.write(body)
                hot = await self._wiring.bodies.settle(draft, [bounce_id])
            try:
                await self._wiring.log.commit(promised_step(bounce_id, event, hot))
            except ConflictError:
                log.info("bounce was made before", message=bounce_id)
        with faults():
            pipe = self._store.redis.pipeline(transaction=True)
            for effect in acknowledged(entry.stream, keys.JANITORS, entry.id):
                pipe.execute_command(*effect)
            pipe.srem(keys.promised(entry.partition), bounce_id)
            await pipe.execute()

    # Bodies

    async def cool(self) -> int:
        """Move the bodies of mail that has to wait to the cold store; how many moved. (What waits for something else: `segments.py`.)

        What has to wait: the queues of domains that are backing off, what somebody holds or waits for an engine, and the quarantine. Queues are walked by score, from
        where the last walk ended, so a long queue is read once and not every time.
        """
        return await each(self._store.redis, self._store.partitions, self._cool_in)

    async def _cool_in(self, partition: int) -> int:
        moved = 0
        now = self._wiring.clock() // MS
        # Its scores are when a message is scanned again.
        later = now + int(self._wiring.settings.engines_retry) // MS
        wholes = ((keys.kept(partition), now), (keys.held(partition), now), (keys.rescan(partition), later))
        async for some in each_backing_off(self._store.redis, partition, now):
            # One all of whose slots are busy does not back off: its server was not found away, and it is not held.
            for domain in [domain for domain, failed in some if failed or self._is_held(domain)]:
                moved += await self._cool_walk(partition, keys.queue(partition, domain), now)
        for name, most in wholes:
            moved += await self._cool_walk(partition, name, most)
        return moved

    def _is_held(self, domain: str) -> bool:
        home = self._wiring.directory.home(domain)
        return home is not None and home.hold is not None

    async def _cool_walk(self, partition: int, name: str, most: int) -> int:
        """Look through the part of a sorted set that is new since the last walk, up to the score `most`."""
        moved = 0
        if len(self._cooled) >= WALKS:
            self._cooled.clear()
        last = self._cooled.get((partition, name), 0)
        async for rows in by_score(self._store.redis, name, last, most, COOL_BATCH):
            last = rows[-1][1]
            moved += await self._wiring.bodies.cool([message_id for message_id, _ in rows])
        # What is given back by a worker gets the time of its failed attempt as score, so the last leases' worth of the set is looked at
        # again.
        self._cooled[partition, name] = min(last, most - 2 * int(self._wiring.settings.lease) // MS)
        return moved

    # Clocks

    async def redate(self) -> int:
        """Mail that waits for a time that nothing is scheduled for, as the clock was put back; how much of it."""
        settings, directory = self._wiring.settings, self._wiring.directory
        intervals = (domain.retry_interval for domain in directory.domains().values())
        longest = max(int(settings.retry_interval), *intervals, 0)
        redate = Redate(self._store, settings, clock=self._wiring.right_clock, beyond_memory=True)

        async def of_one(partition: int) -> int:
            return await redate.partition(partition, longest)

        return await each(self._store.redis, self._store.partitions, of_one)


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    janitor, steward = Janitor(wiring), Steward(wiring)
    # The end of a short lifetime or retention is met as precisely as it was asked for.
    shortest = min(wiring.settings.queue_lifetime, wiring.settings.quarantine_retention) / 1e9
    expiry_every = min(EXPIRY_EVERY, max(0.2, shortest / 10))
    warn_every = min(EXPIRY_EVERY, max(0.2, wiring.settings.delay_warning_after.seconds / 10))
    notify("READY=1")
    outbox = streams(wiring.store.partitions, keys.outbox)
    embedded = not wiring.settings.redis_url
    await asyncio.gather(
        Consumer(wiring, "outbox", keys.JANITORS, outbox, janitor.send_bounces, stop).run(),
        every(expiry_every, janitor.expire, stop),
        every(warn_every, Delays(wiring).warn, stop),
        every(COOL_EVERY, janitor.cool, stop),
        every(REDATE_EVERY, janitor.redate, stop),
        every(SEGMENTS_EVERY, Segments(wiring.bodies).collect, stop, name="segments"),
        every(EVERY, steward.end_holds, stop),
        every(EVERY, steward.end_directory_holds, stop),
        every(SWEEP_EVERY, Sweeper(wiring, stop).sweep, stop),
        *([every(SPARE_EVERY, Spare(wiring.store.redis).give_back, stop)] if embedded else []),
    )
