"""The archiver: copies the log to the archive, and takes out of Redis what is archived and no longer hot.

Any number may run; of each partition one writes at a time. Nothing is kept in memory that Redis does not know.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from pipeline.archive.archive import SealedArchive
from pipeline.archive.model import DIRECTORY
from pipeline.archive.trimming import Space, oldest, space, trim, wanted
from pipeline.archive.writing import Writer
from pipeline.faults import CorruptError, LeaseLostError
from pipeline.store import faults
from workers.duties import every
from workers.notify import notify
from workers.wiring import Wiring

EVERY: Final = 30.0
"""Seconds between two rounds."""
MS: Final = 1_000_000
log = structlog.get_logger("archiver")


class Archiver:
    """One per process."""

    def __init__(self, wiring: Wiring, archive: SealedArchive) -> None:
        self._redis = wiring.store.redis
        self._settings = wiring.settings
        self._partitions = range(wiring.store.partitions)
        self._archive = archive
        self._writers = {
            partition: Writer(self._redis, archive, partition, wiring.settings.archive_segment)
            for partition in (DIRECTORY, *self._partitions)
        }
        self._settled: set[int] = set()

    async def round(self) -> int:
        """Seal what is due, and take out of Redis what is not needed there any more; how many segments were sealed."""
        now = await self._now()
        room = await space(self._redis, self._partitions, self._settings.log_memory)
        count = 0
        for partition, writer in self._writers.items():
            try:
                if await writer.hold():
                    count += await self._partition(partition, writer, now, room)
            except LeaseLostError as fault:
                self._settled.discard(partition)
                log.info("another archiver was first", partition=partition, reason=str(fault))
            except CorruptError as fault:
                self._settled.discard(partition)
                self._stuck(partition, fault)
        return count

    @staticmethod
    def _stuck(partition: int, fault: CorruptError) -> None:
        """The others go on; this one's log stays as it is."""
        log.error("a partition is not archived", partition=partition, reason=str(fault), remedy=fault.remedy)

    async def _partition(self, partition: int, writer: Writer, now: int, room: Space) -> int:
        if partition not in self._settled:
            await writer.settle()
            self._settled.add(partition)
        first = await oldest(self._redis, partition) if partition != DIRECTORY else 0
        begin = wanted(now, self._settings.hot_period // MS, first, room) if first else 0
        count = 0
        while (seal := await writer.next(now, begin)) is not None:
            count += 1
            log.info("sealed", partition=partition, segment=seal.stem, entries=seal.count, octets=seal.octets)
            if not await writer.hold():
                raise LeaseLostError("it was away for too long")
        if first and first < begin:
            floor, taken = await trim(self._redis, partition, begin)
            if taken:
                log.info("trimmed", partition=partition, entries=taken, begins=floor)
        return count

    async def _now(self) -> int:
        """Redis's clock, which gave the entries their ids (ms)."""
        with faults():
            seconds, micros = await self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def release(self) -> None:
        for writer in self._writers.values():
            await writer.release()


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    """Until `stop`."""
    notify("READY=1")
    if wiring.archive is None:
        await stop.wait()
        return
    archiver = Archiver(wiring, wiring.archive)
    await every(EVERY, archiver.round, stop)
    await archiver.release()
