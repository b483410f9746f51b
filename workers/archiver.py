"""The archiver: copies the log to the archive, and takes out of Redis what is archived and no longer hot.

Any number may run; of each partition one writes at a time. Nothing is kept in memory that Redis does not know.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec
import structlog

from pipeline import keys
from pipeline.archive.archive import SealedArchive
from pipeline.archive.dropping import drop, first_kept, sweep
from pipeline.archive.model import DIRECTORY
from pipeline.archive.objects import tidy
from pipeline.archive.seal import start_of
from pipeline.archive.trimming import AMPLE, KEPT_MS, Space, oldest, space, trim, wanted
from pipeline.archive.writing import Writer
from pipeline.faults import (
    ConfigurationError,
    ConflictError,
    GatepostError,
    LeaseLostError,
    StoreAwayError,
    StoreFullError,
)
from pipeline.places import HOUR_MS
from pipeline.store import faults
from pipeline.topology.spread import time_ms
from projections.cutting import cut
from workers.duties import every
from workers.notify import notify
from workers.wiring import Wiring

EVERY: Final = 30.0
"""Seconds between two rounds."""
LOOK: Final = 5.0
"""Seconds between two looks whether Redis is, or soon will be, short of room: then a round is due at once."""
PASSES: Final = 64
"""Of a round while Redis is short of room, at most. Each takes out a part of the time that is left in the logs, which of one that was
quiet for days and is busy now are few entries at first.
"""
ABANDONED: Final = 86_400.0
"""Seconds after which a file that is being made is nobody's any more."""
MS: Final = 1_000_000
log = structlog.get_logger("archiver")


class Done(msgspec.Struct):
    """What a round did."""

    sealed: int = 0
    trimmed: int = 0
    dropped: int = 0
    faults: list[str] = msgspec.field(default_factory=list)
    """Why a partition could not go on."""


def _nothing(_: str, **__: object) -> None:
    pass


class Archiver:
    """One per process."""

    def __init__(self, wiring: Wiring, archive: SealedArchive, *, quiet: bool = False) -> None:
        """`quiet`: what is done is told by the result alone, not logged."""
        self._told = _nothing if quiet else log.info
        self._complained = _nothing if quiet else log.error
        self._redis = wiring.store.redis
        self._settings = wiring.settings
        self._log = wiring.log
        self._clock = wiring.clock
        self._partitions = range(wiring.store.partitions)
        self._archive = archive
        self._writers = {
            partition: Writer(self._redis, archive, partition, wiring.settings.archive_segment)
            for partition in (DIRECTORY, *self._partitions)
        }
        self._settled: set[int] = set()

    async def room(self) -> Space:
        """How much of Redis the logs use, and may use."""
        return await space(self._redis, self._partitions, self._settings.log_memory)

    async def round(self) -> Done:
        """Seal what is due, take out of Redis what is not needed there any more, and drop what is too old."""
        done = Done()
        await self._archive.duck.run(tidy, self._archive.objects, time.time() - ABANDONED)
        wrong: set[int] = set()
        passes = 1
        while await self._pass(await self.room(), done, wrong) and passes < PASSES and (await self.room()).short:
            passes += 1
        return done

    async def _pass(self, room: Space, done: Done, wrong: set[int]) -> bool:
        """Whether another one may take out more. `wrong`: partitions that could not go on."""
        now, more = await self._now(), False
        for partition, writer in self._writers.items():
            if partition in wrong:
                continue
            try:
                if await writer.hold():
                    try:
                        more = await self._partition(partition, writer, now, room, done) or more
                    finally:
                        await writer.release()
            except (LeaseLostError, ConflictError) as fault:
                self._settled.discard(partition)
                self._told("another archiver was first", partition=partition, reason=str(fault))
            except GatepostError as fault:
                # What it was doing may have happened or not.
                self._settled.discard(partition)
                if isinstance(fault, StoreAwayError | StoreFullError | ConfigurationError):
                    raise
                self._stuck(partition, fault)
                wrong.add(partition)
                done.faults.append(f"partition {partition}: {fault}")
        return more

    def _stuck(self, partition: int, fault: GatepostError) -> None:
        """The others go on; this one's log stays as it is."""
        self._complained("a partition is not archived", partition=partition, reason=str(fault), remedy=fault.remedy)

    async def _partition(self, partition: int, writer: Writer, now: int, room: Space, done: Done) -> bool:
        """Whether more could be taken out if there still is too little room."""
        if partition not in self._settled:
            await writer.settle()
            await sweep(self._archive, partition)
            self._settled.add(partition)
        first = await oldest(self._redis, partition) if partition != DIRECTORY else 0
        if not room.counts(partition):
            room = AMPLE
        begin = wanted(now, self._settings.hot_period // MS, first, room) if first else 0
        before, more = done.sealed, False
        if room.short:
            # What is sealed already leaves first: sealing takes longer.
            more = await self._trim(partition, writer, first, begin, room, done)
        while (seal := await writer.next(now, begin, ahead=room.tight)) is not None:
            done.sealed += 1
            self._told("sealed", partition=partition, segment=seal.stem, entries=seal.count, octets=seal.octets)
            if not await writer.hold():
                raise LeaseLostError("it was away for too long")
        if not room.short or done.sealed > before:
            more = await self._trim(partition, writer, first, begin, room, done)
        await self._retain(partition, now, done)
        return more and room.short and begin < now - KEPT_MS

    async def _trim(self, partition: int, writer: Writer, first: int, begin: int, room: Space, done: Done) -> bool:
        """Whether all that was to go has gone. `first`: of the log's first entry (ms), 0 where there is none."""
        if not first or first >= begin:
            return False
        await writer.there(await self._archive.chain.head(partition))
        floor, taken = await trim(self._redis, partition, begin, 1 if room.short else HOUR_MS)
        if floor % HOUR_MS:
            await cut(self._redis, partition, floor)
        done.trimmed += taken
        if taken:
            self._told("trimmed", partition=partition, entries=taken, begins=floor)
        return floor >= begin

    async def _retain(self, partition: int, now: int, done: Done) -> None:
        """Drop the days whose time is over."""
        at = await self._archive.chain.head(partition)
        day = first_kept(at, now, self._settings.archive_retention // MS)
        if not day or partition == DIRECTORY or start_of(day) > at.floor:
            return
        dropped = await drop(self._redis, self._archive, self._log, partition, day, now=self._clock(), by="gatepost")
        if dropped is not None:
            done.dropped += dropped.segments
            self._told(
                "dropped", partition=partition, days=f"{dropped.start} to {dropped.end}", entries=dropped.entries
            )

    async def _now(self) -> int:
        """Redis's clock, which gave the entries their ids (ms)."""
        with faults():
            return await time_ms(self._redis, keys.log(0))


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    """Until `stop`."""
    notify("READY=1")
    if wiring.archive is None:
        await stop.wait()
        return
    archiver = Archiver(wiring, wiring.archive)
    due = 0.0

    async def archive() -> int:
        nonlocal due
        if time.monotonic() >= due or (await archiver.room()).tight:
            due = time.monotonic() + EVERY
            await archiver.round()
        return 0

    await every(LOOK, archive, stop)
