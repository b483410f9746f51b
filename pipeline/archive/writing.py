"""Writing segments: read from the log, written, read back and compared, and only then sealed.

A crash between any two steps loses nothing and doubles nothing: what is sealed is said by the chain's end in Redis, which the
last step moves on. A file without a seal is written again; a seal that the chain does not know yet is taken on if its entries
are those of the log. Two archivers at once do no harm: files are named after what is in them, and the script that moves the
chain's end takes only one's.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pipeline import keys, lease
from pipeline.archive.archive import SealedArchive
from pipeline.archive.chain import Head, placed
from pipeline.archive.objects import disk, put_octets, temporary
from pipeline.archive.rows import Contents, Row, row_of
from pipeline.archive.seal import Seal, day_of, folder, number_of, read, sealed, written
from pipeline.archive.segment import Draft, counted, file_hash
from pipeline.faults import CorruptError, LeaseLostError
from pipeline.places import DAY_MS, place_of
from pipeline.store import Client, Script, faults

PAGE: Final = 1000
LEASE: Final = 60.0
"""Seconds."""
_seal = Script.named("seal", beyond_memory=True, replicated=True)


def due(first: int, unsealed: int, now: int, *, size: int, urgent: int, ahead: int = 0) -> int:
    """Up to which millisecond (not included) the entries that are not sealed yet are to be sealed now; 0: not yet.

    `first`: of the first of them. `urgent`: older ones are to leave Redis. A segment is of one day.

    `ahead`: where memory is short or soon will be, how many entries are in the log, so that half of them are sealed and can leave at once.
    Then all that there is goes into one segment: these hold half of what there is room for, however quickly it comes.
    """
    day_ends = (first // DAY_MS + 1) * DAY_MS
    if day_ends <= now or unsealed >= size:
        return day_ends
    if ahead and first < now and (2 * unsealed >= ahead or first < urgent):
        return min(now, day_ends)
    return min(urgent, day_ends) if first < urgent else 0


async def rows_of_log(redis: Client, partition: int, after: str, until: str = "+") -> tuple[list[Row], bool]:
    """The next entries of a log as rows, and whether there may be more."""
    with faults():
        found: Any = await redis.xrange(
            keys.log(partition), min="(" + after if after != "0" else "-", max=until, count=PAGE
        )
    return [row_of(entry, fields) for entry, fields in found], len(found) == PAGE


async def contents_of_log(redis: Client, partition: int, first: str, last: str) -> str:
    """The hash of what the log has from one entry to another."""
    contents = Contents()
    ms, seq = place_of(first)
    after = f"{ms}-{seq - 1}" if seq else f"{ms - 1}-18446744073709551615"
    while True:
        rows, more = await rows_of_log(redis, partition, after, last)
        contents.add(rows)
        if not more:
            return contents.digest()
        after = rows[-1].entry


class Writer:
    """Writes the segments of one partition, while it has the lease."""

    def __init__(self, redis: Client, archive: SealedArchive, partition: int, size: int) -> None:
        """`size`: entries of a segment, at most."""
        self._redis = redis
        self._archive = archive
        self._objects = archive.objects
        self._partition = partition
        self._size = size
        self._token = secrets.token_hex(8)

    async def hold(self) -> bool:
        """Take or keep the right to write; False when another has it."""
        name = keys.archive_lease(self._partition)
        return await lease.hold(self._redis, name, self._token, LEASE, beyond_memory=True)

    async def release(self) -> None:
        await lease.release(self._redis, keys.archive_lease(self._partition), self._token)

    async def settle(self) -> None:
        """Bring in order what a crash left behind the chain's end. Raises CorruptError when the archive knows more than the log."""
        at = await self._archive.chain.head(self._partition)
        await self.there(at)
        # Who lost a race at midnight may have left something in the day before.
        last = day_of(max(0, place_of(at.last)[0] - DAY_MS)) if at.number else ""
        places = [folder(day, self._partition) for day in await self._archive.chain.days() if day >= last]
        await self._archive.duck.run(self._passed_by, places, at)
        for where in places:
            await self._archive.duck.run(self._half, where)
            await self._take_on_all(where)

    async def there(self, at: Head) -> None:
        """Raises CorruptError when what was archived last is not there: nothing is to be written then, and nothing taken out of Redis."""
        if at.empty:
            await self._archive.chain.cut(at, self._partition)
            return
        where = folder(day_of(place_of(at.last)[0]), self._partition)
        if at.seal not in await self._archive.duck.run(self._seals, where, at.number):
            raise CorruptError(
                f"the archive in {self._objects.place} is without its newest segment, number {at.number} in {where}",
                remedy="Is its disk mounted, and is archive_store what it was? Until it is there the log stays in Redis.",
            )

    def _seals(self, where: str, number: int) -> list[str]:
        """The seals that there are of a number. Blocks."""
        names = [name for name in self._objects.names(where) if number_of(name) == number]
        found = [(name, self._objects.get(f"{where}/{name}")) for name in names if name.endswith(".json")]
        return [read(data, Seal, f"{where}/{name}").seal for name, data in found if data is not None]

    def _passed_by(self, places: Sequence[str], at: Head) -> None:
        """Remove segments that the chain does not go through: another archiver wrote the same at the same time. Blocks."""
        by_number: dict[int, list[str]] = {}
        for where in places:
            for name in self._objects.names(where):
                if name.endswith(".json") and at.through < number_of(name) <= at.number:
                    by_number.setdefault(number_of(name), []).append(f"{where}/{name}")
        if all(len(names) == 1 for names in by_number.values()):
            return
        wanted = at.seal
        for number in range(at.number, at.through, -1):
            seals = [read(self._objects.get(name) or b"", Seal, name) for name in by_number.get(number, [])]
            chosen = next((seal for seal in seals if seal.seal == wanted), None)
            if chosen is None:
                return
            for other in seals:
                # Who lost a race began where the winner did; whatever else is there is not ours to remove.
                if other.stem != chosen.stem and (other.previous, other.first) == (chosen.previous, chosen.first):
                    self._remove(other)
            wanted = chosen.previous

    def _remove(self, seal: Seal) -> None:
        """The seal first: files without one are nobody's. Blocks."""
        self._objects.delete([f"{seal.stem}.json"])
        self._objects.delete([f"{seal.stem}.parquet", f"{seal.stem}.terms"])

    def _half(self, where: str) -> None:
        """Remove what has no seal. Blocks."""
        names = [name for name in self._objects.names(where) if number_of(name)]
        stems = {name.removesuffix(".json") for name in names if name.endswith(".json")}
        self._objects.delete([f"{where}/{name}" for name in names if name.partition(".")[0] not in stems])

    async def _take_on_all(self, where: str) -> bool:
        """Take on the seals of a day that are beyond the chain's end; whether there were any."""
        names = await self._archive.duck.run(self._objects.names, where)
        at = await self._archive.chain.head(self._partition)
        beyond = [name for name in names if name.endswith(".json") and number_of(name) > at.number]
        for name in sorted(beyond):
            await self._take_on(
                f"{where}/{name.removesuffix('.json')}", await self._archive.chain.head(self._partition)
            )
        return bool(beyond)

    async def _take_on(self, stem: str, at: Head) -> None:
        """A crash came between the seal and the chain's end: the segment is whole, if the log says the same."""
        data = await self._archive.duck.run(self._objects.get, f"{stem}.json")
        if data is None:
            return
        seal = placed(read(data, Seal, f"{stem}.json"), f"{stem}.json")
        if seal.number <= at.number:
            return
        if (
            seal.number != at.number + 1
            or seal.previous != at.seal
            or await contents_of_log(self._redis, self._partition, seal.first, seal.last) != seal.contents
        ):
            raise CorruptError(
                f"{stem} is in the archive, and is not what comes next according to Redis",
                remedy="Was an older copy of Redis put back? The archive then knows more than the log: keep both, and see docs/archive.md.",
            )
        try:
            await self._archive.duck.run(self._compare, seal)
        except CorruptError:
            # The log has all of it: it is written again.
            await self._archive.duck.run(self._remove, seal)
            return
        await self._append(seal, at)

    async def next(self, now: int, urgent: int = 0, *, ahead: bool = False) -> Seal | None:
        """Seal the next segment if one is due; None when none is. `now`, `urgent`: ms, see `due`. `ahead`: memory is short or soon will be.

        The lease must be held. Raises LeaseLostError, and StoreError, after which it may have happened.
        """
        at = await self._archive.chain.head(self._partition)
        with faults():
            pipe = self._redis.pipeline(transaction=False)
            pipe.xlen(keys.log(self._partition))
            pipe.xrange(keys.log(self._partition), min="(" + at.last if at.number else "-", count=1)
            length, first = await pipe.execute()
        if not first:
            return None
        start = place_of(first[0][0].decode())[0]
        unsealed = length + at.trimmed - at.entries
        end = due(start, unsealed, now, size=self._size, urgent=urgent, ahead=length if ahead else 0)
        if not end:
            return None
        await self.there(at)
        if await self._take_on_all(folder(day_of(start), self._partition)):
            return await self.next(now, urgent, ahead=ahead)  # somebody else died between the seal and the chain's end
        with disk(self._objects.place):
            return await self._write(at, day_of(start), end)

    async def _write(self, at: Head, day: str, end: int) -> Seal | None:
        source, target, index = [
            await self._archive.duck.run(temporary, self._objects, ending) for ending in (".csv", ".parquet", ".terms")
        ]
        draft = Draft(source)
        try:
            await self._gather(draft, at.last, end)
            if not draft.count:
                return None
            seal = await self._archive.duck.run(self._put, draft, target, index, day, at)
            await self._append(seal, at)
            return seal
        finally:
            draft.discard()
            for path in (target, index):
                path.unlink(missing_ok=True)

    async def _gather(self, draft: Draft, after: str, end: int) -> None:
        until = f"{end - 1}-18446744073709551615"
        while draft.count < self._size:
            rows, more = await rows_of_log(self._redis, self._partition, after, until)
            draft.add(rows[: self._size - draft.count])
            if not more:
                return
            after = rows[-1].entry
            if draft.count % (50 * PAGE) == 0 and not await self.hold():
                raise LeaseLostError(f"another archiver writes partition {self._partition}")

    def _put(self, draft: Draft, target: Path, index: Path, day: str, at: Head) -> Seal:
        """The files where they belong, compared with what was gathered, and the seal beside them. Blocks."""
        draft.write(self._archive.duck, target, index)
        seal = sealed(
            Seal(
                partition=self._partition,
                number=at.number + 1,
                date=day,
                first=draft.first,
                last=draft.last,
                count=draft.count,
                octets=target.stat().st_size,
                sha256=file_hash(target),
                index=file_hash(index),
                contents=draft.contents,
                previous=at.seal,
            )
        )
        self._objects.put(f"{seal.stem}.parquet", target)
        self._objects.put(f"{seal.stem}.terms", index)
        self._compare(seal)
        put_octets(self._objects, f"{seal.stem}.json", written(seal))
        return seal

    def _compare(self, seal: Seal) -> None:
        """Read back what is in the store. Blocks. Raises CorruptError when it is not what was to be there."""
        path = self._objects.fetch(f"{seal.stem}.parquet", "", seal.octets)
        if (
            path is None
            or file_hash(path) != seal.sha256
            or counted(self._archive.duck, path) != (seal.count, seal.contents)
        ):
            raise CorruptError(f"{seal.stem}.parquet does not read back as it was written", remedy="Is the disk sound?")
        index = self._objects.fetch(f"{seal.stem}.terms", "")
        if index is None or file_hash(index) != seal.index:
            raise CorruptError(f"{seal.stem}.terms does not read back as it was written", remedy="Is the disk sound?")

    async def _append(self, seal: Seal, at: Head) -> None:
        """Move the chain's end on."""
        with faults():
            done = await _seal(
                self._redis,
                [keys.archive(self._partition), keys.archive_lease(self._partition)],
                [
                    self._token, at.number, at.seal, seal.number, seal.seal, seal.first, seal.last, seal.count, seal.octets,
                ],
            )  # fmt: skip
        if done != 1:
            raise LeaseLostError(f"another archiver writes partition {self._partition}")
