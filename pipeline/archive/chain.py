"""Which segments there are: the end of each partition's chain as Redis has it, and the seals behind it, a day at a time.

What Redis says is the truth about where the chain ends: a seal that is in the store and not reached from there is what a crash
left, or what somebody put there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.archive.duck import Duck
from pipeline.archive.objects import Objects
from pipeline.archive.seal import GENESIS, Cut, Seal, cuts, day_of, folder, number_of, read
from pipeline.faults import CorruptError
from pipeline.places import place_of
from pipeline.store import Client, faults

_COMPLETE: Final = 1 << 62
_DAY: Final = 10
"""Characters of YYYY-MM-DD."""
CACHED: Final = 1024
"""Days of partitions whose seals are kept in memory: 50 segments a day are some 25 KiB."""


class Head(msgspec.Struct, frozen=True):
    """Where a partition's chain ends, and where it begins."""

    number: int = 0
    seal: str = GENESIS
    first: str = ""
    last: str = "0"
    count: int = 0
    """Entries in the segments that are still there; `octets` are those of their files."""
    octets: int = 0
    entries: int = 0
    """That were ever sealed; `trimmed` of them are no longer in the log."""
    trimmed: int = 0
    through: int = 0
    """The number of the last segment that retention took away."""
    link: str = ""
    """Of the newest cut, its seal."""
    floor: int = 0
    """The log is whole from this millisecond on."""

    @property
    def empty(self) -> bool:
        return self.number == self.through


async def head(redis: Client, partition: int) -> Head:
    with faults():
        stored: Any = await redis.hgetall(keys.archive(partition))
    return msgspec.convert({name.decode(): value.decode() for name, value in stored.items()}, Head, strict=False)


class Chain:
    """The seals of all partitions. What was read once is kept: a seal never changes."""

    def __init__(self, redis: Client, objects: Objects, duck: Duck) -> None:
        self._redis = redis
        self._objects = objects
        self._duck = duck
        self._days: dict[tuple[str, int], tuple[int, tuple[Seal, ...]]] = {}
        """With the number of the chain's end when it was read."""

    async def head(self, partition: int) -> Head:
        return await head(self._redis, partition)

    async def days(self) -> tuple[str, ...]:
        """The days that have a folder, in order."""
        names = await self._duck.run(self._objects.names, "")
        return tuple(sorted(name for name in names if len(name) == _DAY and name[:1].isdigit()))

    async def cut(self, at: Head, partition: int) -> Cut | None:
        """The newest cut. Raises CorruptError when it is missing or is another than Redis says."""
        if not at.through:
            return None
        name = f"{cuts(partition)}/{at.through:08d}.json"
        data = await self._duck.run(self._objects.get, name)
        if data is None:
            raise CorruptError(f"{name} is missing: the link that says what retention took away")
        cut = read(data, Cut, name)
        if cut.seal != at.link:
            raise CorruptError(f"{name} is not the link that Redis knows")
        return cut

    async def segments(self, partition: int, start: int, at: Head) -> AsyncGenerator[Seal]:
        """The segments that hold entries from `start` (ms) on, in order, up to the end that `at` says.

        Raises CorruptError at the first that is missing or does not follow from the one before it.
        """
        if at.empty:
            return
        days, before = await self._from(day_of(max(start, place_of(at.first)[0])), partition, at)
        begun = False
        for day in days:
            for seal in await self.of_day(day, partition, at):
                _follows(seal, before, at)
                before = seal
                if begun or place_of(seal.last)[0] >= start:
                    begun = True
                    yield seal
        _ends(before, partition, at)

    async def newest(self, partition: int, end: int, at: Head) -> AsyncGenerator[Seal]:
        """The segments that hold entries before `end` (ms), the newest first. Raises CorruptError."""
        if at.empty:
            return
        after: Seal | None = None
        first, last = place_of(at.first)[0], place_of(at.last)[0]
        for day in reversed([day for day in await self.days() if day_of(first) <= day <= day_of(min(end, last))]):
            for seal in reversed(await self.of_day(day, partition, at)):
                if after is not None:
                    _follows(after, seal, at)
                elif end > last:
                    _ends(seal, partition, at)
                after = seal
                if place_of(seal.first)[0] < end:
                    yield seal
        if after is None and end > first:
            raise CorruptError(_missing(partition, at.number))
        if after is not None:
            _follows(after, None, at)

    async def _from(self, day: str, partition: int, at: Head) -> tuple[Sequence[str], Seal | None]:
        """The days from this one on, and the last segment before them, if there is any."""
        days = await self.days()
        for one in reversed([one for one in days if one < day]):
            if earlier := await self.of_day(one, partition, at):
                return [later for later in days if later >= day], earlier[-1]
        return [one for one in days if one >= day], None

    async def of_day(self, day: str, partition: int, at: Head) -> tuple[Seal, ...]:
        """The sealed segments of a day, in order. Raises CorruptError."""
        known, found = self._days.get((day, partition), (-1, ()))
        if known < at.number:
            found = await self._read(day, partition, at)
            # Nothing is added to a day once the chain has gone beyond it.
            known = _COMPLETE if day < day_of(place_of(at.last)[0]) else at.number
            if len(self._days) >= CACHED:
                self._days.pop(next(iter(self._days)))
            self._days[day, partition] = known, found
        return tuple(seal for seal in found if at.through < seal.number <= at.number)

    async def _read(self, day: str, partition: int, at: Head) -> tuple[Seal, ...]:
        def load() -> list[Seal]:
            where = folder(day, partition)
            found = []
            for name in self._objects.names(where):
                if name.endswith(".json") and 0 < number_of(name) <= at.number:
                    data = self._objects.get(f"{where}/{name}")
                    if data is not None:
                        found.append(placed(read(data, Seal, f"{where}/{name}"), f"{where}/{name}"))
            return found

        seals = await self._duck.run(load)
        return tuple(_chosen(seals, at))


def placed(seal: Seal, where: str) -> Seal:
    """Raises CorruptError where it speaks of another file than it stands beside."""
    if seal.stem + ".json" != where:
        raise CorruptError(f"{where} is the seal of another segment: {seal.stem}")
    return seal


def _chosen(seals: list[Seal], at: Head) -> list[Seal]:
    """One for each number. Of two archivers at once both may have written one; the chain says whose it was."""
    by_number: dict[int, list[Seal]] = {}
    for seal in seals:
        by_number.setdefault(seal.number, []).append(seal)
    named = {seal.previous for seal in seals} | {at.seal}
    found = []
    for number in sorted(by_number):
        several = by_number[number]
        found.append(next((seal for seal in several if seal.seal in named), several[0]))
    return found


def _follows(seal: Seal, before: Seal | None, at: Head) -> None:
    """Raises CorruptError unless `seal` comes right behind `before`, or is the first."""
    number = before.number + 1 if before is not None else at.through + 1
    if seal.number != number:
        raise CorruptError(_missing(seal.partition, number if before is not None else seal.number - 1))
    if before is not None and seal.previous != before.seal:
        raise CorruptError(f"{seal.stem} does not follow from the segment before it, {before.stem}")


def _ends(last: Seal | None, partition: int, at: Head) -> None:
    if last is None or last.number != at.number:
        raise CorruptError(_missing(partition, last.number + 1 if last is not None else at.through + 1))
    if last.seal != at.seal:
        raise CorruptError(f"{last.stem} is not the end of the chain that Redis knows")


def _missing(partition: int, number: int) -> str:
    return f"segment {number} of partition {partition} is missing"
