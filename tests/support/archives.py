"""A log with a past, and an archive for it: entries get the time that a test says."""

from __future__ import annotations

import random
from pathlib import Path

from pipeline import keys
from pipeline.archive.archive import SealedArchive
from pipeline.archive.objects import LocalObjects, Objects
from pipeline.archive.seal import Seal
from pipeline.archive.trimming import trim
from pipeline.archive.writing import Writer
from pipeline.events import Recorded, encode
from pipeline.history import History
from pipeline.log import Damaged, Log
from pipeline.places import DAY_MS, HOUR_MS, place_of
from pipeline.store import Client
from tests.support.histories import legal

DAY = 20_000 * DAY_MS
"""The first millisecond of a day, 2024-10-04."""
P = 0


class Ground:
    def __init__(self, redis: Client, root: Path, *, size: int = 100_000, objects: Objects | None = None) -> None:
        self.redis = redis
        self.root = root
        self.log = Log(redis)
        self.archive = SealedArchive(redis, objects or LocalObjects(root))
        self.history = History(self.log, self.archive)
        self.writer = Writer(redis, self.archive, P, size)
        self._events, _ = legal(random.Random(1), 100, 400)

    def fresh(self) -> SealedArchive:
        """Another process's view of the archive: nothing is remembered."""
        return SealedArchive(self.redis, self.archive.objects, self.archive.duck)

    async def append(self, *times: int, partition: int = P) -> list[str]:
        """An entry at each of these times (ms)."""
        entries = []
        for ms in times:
            recorded = self._events[len(entries) % len(self._events)]
            fields = {"s": recorded.subject, "v": recorded.version, "e": encode(recorded.event)}
            entries.append(await self.put(ms, fields, partition))
        return entries

    async def put(self, ms: int, fields: dict, partition: int = P) -> str:
        return (await self.redis.xadd(keys.log(partition), fields, id=f"{ms}-*")).decode()

    async def seal(self, now: int, urgent: int = 0) -> list[Seal]:
        """All that is due at `now` (ms)."""
        assert await self.writer.hold()
        await self.writer.settle()
        found = []
        while (seal := await self.writer.next(now, urgent)) is not None:
            found.append(seal)
        return found

    async def see(self, entry: str, view: str = "queue", build: int = 1, partition: int = P) -> None:
        """A view has seen the log up to here."""
        await self.redis.hset(keys.builds(partition), f"live:{view}", f"{build} 1")
        await self.redis.set(keys.view(partition, view, build) + "checkpoint", entry)

    async def trim(self, begin: int, unit: int = HOUR_MS) -> int:
        """From which hour on the log is whole now, in hours since the first day."""
        floor, _ = await trim(self.redis, P, begin, unit)
        return (floor - DAY) // HOUR_MS

    async def whole(self, partition: int = P) -> list[Recorded | Damaged]:
        """The log, from Redis alone."""
        return await self.log.read(partition, "0", 1_000_000)

    async def read(self, count: int = 1000, **more) -> list[Recorded | Damaged]:
        """All of the history, in portions."""
        found: list[Recorded | Damaged] = []
        history = History(self.log, self.fresh())
        while entries := await history.read(P, found[-1].entry if found else "0", count, **more):
            assert [place_of(one.entry) for one in entries] == sorted(place_of(one.entry) for one in entries)
            found += entries
        return found

    def files(self, ending: str = "") -> list[Path]:
        return sorted(path for path in self.root.rglob(f"*{ending}") if path.is_file())

    async def close(self) -> None:
        await self.archive.close()
