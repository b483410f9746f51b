"""Proving that the archive is what was sealed: nothing missing, changed, doubled or out of order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from pipeline import keys
from pipeline.archive.archive import SealedArchive
from pipeline.archive.chain import Head
from pipeline.archive.seal import GENESIS, Cut, Seal, cuts, day_of, folder, read
from pipeline.archive.segment import counted, file_hash, index_of
from pipeline.archive.writing import contents_of_log
from pipeline.faults import CorruptError
from pipeline.places import place_of
from pipeline.store import Client, faults

NAMED: Final = 100
"""Faults of a partition that are named; one is enough to know, and a lost disk has thousands."""


class Fault(msgspec.Struct, frozen=True):
    """Something that is not as it was sealed."""

    partition: int
    where: str
    """The segment or link, as it is named in the store."""
    what: str


class Progress(msgspec.Struct, frozen=True):
    partition: int
    segments: int
    """Looked at so far, over all partitions, of `total`."""
    total: int


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """Of one partition. Without faults all its entries from `first` to `last` are there, as they were sealed."""

    partition: int
    segments: int
    entries: int
    octets: int
    first: str
    last: str
    seal: str
    """The end of the chain."""
    faults: tuple[Fault, ...] = ()
    """In the order of the chain, the first hundred: the first says where it is not right for the first time."""


async def verify(
    archive: SealedArchive, partitions: Iterable[int], progress: Callable[[Progress], None] | None = None
) -> list[Verified]:
    """Look at every seal, every file and every entry, and compare with the log what is still there. -1 is the directory's log."""
    heads = {partition: await archive.chain.head(partition) for partition in partitions}
    total = sum(at.number - at.through for at in heads.values())
    done = 0
    found = []
    for partition, at in heads.items():

        def told(partition: int = partition) -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(Progress(partition, done, total))

        found.append(await _Walk(archive, partition, at, told).run())
    return found


class _Walk:
    """Along the chain of one partition."""

    def __init__(self, archive: SealedArchive, partition: int, at: Head, told: Callable[[], None]) -> None:
        self._archive = archive
        self._redis: Client = archive.redis
        self._partition = partition
        self._at = at
        self._told = told
        self._faults: list[Fault] = []
        self._segments = self._entries = self._octets = 0

    async def run(self) -> Verified:
        at = self._at
        previous: str | None = await self._cuts()
        by_number = await self._seals()
        reached = ""
        for number in range(at.through + 1, at.number + 1):
            seal = self._choose(by_number.get(number, []), number, by_number.get(number + 1, []))
            if seal is not None:
                if previous is not None and seal.previous != previous:
                    self._fault(seal.stem, "does not follow from the one before it")
                await self._segment(seal, reached)
                reached = seal.last
            previous = seal.seal if seal is not None else None
            self._told()
        if not at.empty and previous is not None and previous != at.seal:
            self._fault(f"segment {at.number}", "is not the end of the chain that Redis knows")
        await self._beyond([seal for number, seals in by_number.items() if number > at.number for seal in seals])
        return Verified(
            partition=self._partition,
            segments=self._segments,
            entries=self._entries,
            octets=self._octets,
            first="" if at.empty else at.first,
            last=at.last,
            seal=at.seal,
            faults=tuple(self._faults),
        )

    def _fault(self, where: str, what: str) -> None:
        if len(self._faults) < NAMED:
            self._faults.append(Fault(self._partition, where, what))

    async def _cuts(self) -> str | None:
        """The seal that the first segment has to name as the one before it; None when that is not known."""
        place = cuts(self._partition)
        names = await self._archive.duck.run(self._archive.objects.names, place)
        by_seal: dict[str, Cut] = {}
        for name in sorted(name for name in names if name.endswith(".json")):
            try:
                data = await self._archive.duck.run(self._archive.objects.get, f"{place}/{name}")
                cut = read(data or b"", Cut, f"{place}/{name}")
            except CorruptError as fault:
                self._fault(f"{place}/{name}", str(fault))
                continue
            if cut.name != f"{place}/{name}":
                self._fault(f"{place}/{name}", f"is another link, {cut.name}")
                continue
            by_seal[cut.seal] = cut
        if not self._at.through:
            return GENESIS
        last = by_seal.get(self._at.link)
        if last is None:
            self._fault(
                place, "the link that says what retention took away is missing, or not the one that Redis knows"
            )
            return None
        self._before(last, by_seal)
        return last.gone

    def _before(self, last: Cut, by_seal: dict[str, Cut]) -> None:
        """The links before the newest. What is not among them counts for nothing: a crash came before Redis was told of it."""
        cut: Cut | None = last
        while cut is not None and cut.previous != GENESIS:
            after, cut = cut, by_seal.get(cut.previous)
            if cut is None or cut.through >= after.through:
                self._fault(after.name, "does not follow from the one before it")
                return

    async def _seals(self) -> dict[int, list[Seal]]:
        """All seals that there are, by their number."""
        found: dict[int, list[Seal]] = {}
        for day in await self._archive.chain.days():
            where = folder(day, self._partition)
            for name in await self._archive.duck.run(self._archive.objects.names, where):
                if not name.endswith(".json"):
                    continue
                try:
                    data = await self._archive.duck.run(self._archive.objects.get, f"{where}/{name}")
                    seal = read(data or b"", Seal, f"{where}/{name}")
                except CorruptError as fault:
                    self._fault(f"{where}/{name}", str(fault))
                    continue
                if f"{seal.stem}.json" != f"{where}/{name}" or seal.partition != self._partition:
                    self._fault(f"{where}/{name}", f"is the seal of another segment, {seal.stem}")
                elif seal.number > self._at.through:
                    found.setdefault(seal.number, []).append(seal)
        return found

    def _choose(self, seals: list[Seal], number: int, behind: list[Seal]) -> Seal | None:
        """The one that the chain goes through."""
        if not seals:
            self._fault(f"segment {number}", "is missing")
            return None
        named = {seal.previous for seal in behind} | {self._at.seal}
        chosen = next((seal for seal in seals if seal.seal in named), seals[0])
        for other in seals:
            if other is not chosen:
                self._fault(other.stem, f"is a second segment {number}, and the chain does not go through it")
        return chosen

    async def _segment(self, seal: Seal, reached: str) -> None:
        self._segments += 1
        self._entries += seal.count
        self._octets += seal.octets
        if reached and place_of(seal.first) <= place_of(reached):
            self._fault(seal.stem, "begins before the end of the one before it")
        if not day_of(place_of(seal.first)[0]) == seal.date == day_of(place_of(seal.last)[0]):
            self._fault(seal.stem, "is not of the day that its seal says")
        for what in await self._archive.duck.run(lambda: list(self._files(seal))):
            self._fault(seal.stem, what)
        if place_of(seal.first)[0] >= self._at.floor:
            contents = await contents_of_log(self._redis, self._partition, seal.first, seal.last)
            if contents != seal.contents and await self._still_there(seal):
                self._fault(seal.stem, "does not hold what the log has in its place")

    async def _still_there(self, seal: Seal) -> bool:
        """The log may have been trimmed meanwhile."""
        return place_of(seal.first)[0] >= (await self._archive.chain.head(self._partition)).floor

    def _files(self, seal: Seal) -> Iterator[str]:
        """What is wrong with the two files. Blocks."""
        try:
            path = self._archive.objects.fetch(f"{seal.stem}.parquet", "", seal.octets)
            index = self._archive.objects.fetch(f"{seal.stem}.terms", "")
        except CorruptError as fault:
            yield str(fault)
            return
        whole = False
        if path is None:
            yield "the file with its entries is missing"
        elif file_hash(path) != seal.sha256 or path.stat().st_size != seal.octets:
            yield "the file with its entries was changed"
        else:
            whole = True
        if index is None:
            yield "its index is missing"
        elif file_hash(index) != seal.index:
            yield "its index was changed"
            index = None
        if path is not None and whole:
            yield from self._contents(seal, path, index)

    def _contents(self, seal: Seal, path: Path, index: Path | None) -> Iterator[str]:
        try:
            if counted(self._archive.duck, path) != (seal.count, seal.contents):
                yield "its entries are not those that were sealed"
            elif index is not None and index.read_bytes() != index_of(self._archive.duck, path):
                yield "its index is not that of its entries"
        except (CorruptError, ValueError) as error:
            yield f"its entries cannot be read: {error}"

    async def _beyond(self, seals: list[Seal]) -> None:
        """What is sealed and not in the chain: an archiver may be just about to put it there."""
        now = await self._archive.chain.head(self._partition)
        with faults():
            busy = bool(await self._redis.exists(keys.archive_lease(self._partition)))
        for seal in seals:
            if seal.number > now.number + (1 if busy else 0):
                self._fault(seal.stem, "is beyond the end of the chain that Redis knows")
