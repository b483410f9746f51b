"""What a dead process left behind: bodies without a message, drafts of this machine without a session, consumers without a process.

A million bodies may wait for their messages' turn. They are looked through some hundred at a time, in a small part of the time, and
nothing is asked of the disk about one whose message lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final

from pipeline import keys
from pipeline.bodies import sweep_drafts
from pipeline.pause import pause
from pipeline.store import faults
from projections.rebuild import Share
from workers.consume import ensure_groups
from workers.wiring import Wiring

SWEEP_EVERY: Final = 3600.0
ORPHAN_AGE: Final = 6 * 3600.0
"""Seconds after which a file that no message speaks of is nobody's: far longer than any transaction lasts."""
CONSUMER_AGE_MS: Final = 24 * 3600 * 1000
SHARE: Final = 0.05
"""Of the time, in which it works; the rest is the mail's."""


class Sweeper:
    def __init__(self, wiring: Wiring, stop: asyncio.Event) -> None:
        self._wiring = wiring
        self._store = wiring.store
        self._stop = stop

    async def sweep(self) -> int:
        """All of it once, or until `stop`; how many files went."""
        before = time.time() - ORPHAN_AGE
        swept = sweep_drafts(self._wiring.bodies.drafts, before)
        for partition in range(self._store.partitions):
            swept += await self._sweep_bodies(partition, before)
            await self._forget_consumers(partition)
        return swept

    async def _sweep_bodies(self, partition: int, before: float) -> int:
        cold, swept = self._wiring.bodies.cold, 0
        pace = Share(SHARE, sleep=self._rest)
        async with contextlib.aclosing(cold.listed(partition, before)) as portions:
            async for names in portions:
                nobodys = await self._nobodys(partition, names)
                swept += await cold.drop_older(nobodys, before) if nobodys else 0
                await pace.rest()
                if self._stop.is_set():
                    break
        return swept

    async def _rest(self, seconds: float) -> None:
        await pause(self._stop, seconds)

    async def _nobodys(self, partition: int, names: Sequence[str]) -> list[str]:
        """Those that no message speaks of. Nearly all are told by one question: what lives has a moment when it ends."""
        if not names:
            return []
        with faults():
            ends: Any = await self._store.redis.zmscore(keys.expiry(partition), names)
        doubtful = [name for name, end in zip(names, ends, strict=True) if end is None]
        # Looked at before the heads: what is no longer promised has had one.
        promised = await self._promised(doubtful) if doubtful else set()
        doubtful = [name for name in doubtful if name not in promised]
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for name in doubtful:
                pipe.exists(keys.head(partition, name))
            alive = await pipe.execute() if doubtful else []
        return [name for name, there in zip(doubtful, alive, strict=True) if not there]

    async def _promised(self, names: Sequence[str]) -> set[str]:
        """Those of which a message is to be made. They stand beside what promised them, in any partition."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for partition in range(self._store.partitions):
                pipe.smismember(keys.promised(partition), names)
            answers = await pipe.execute()
        return {name for answer in answers for name, there in zip(names, answer, strict=True) if there}

    async def _forget_consumers(self, partition: int) -> None:
        for stream, group in ((keys.scan(partition), keys.SCANNERS), (keys.outbox(partition), keys.JANITORS)):
            with faults():
                await ensure_groups(self._store.redis, [stream], group)
                for consumer in await self._store.redis.xinfo_consumers(stream, group):
                    if not consumer["pending"] and consumer["idle"] > CONSUMER_AGE_MS:
                        await self._store.redis.xgroup_delconsumer(stream, group, consumer["name"])
