"""Holding the records of an export against the seals of the archive's segments: an export of everything has all entries of a segment."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.archive.rows import Contents
from pipeline.archive.seal import Seal, read, written
from pipeline.audit.entries import Entry
from pipeline.audit.manifest import Manifest
from pipeline.faults import CorruptError
from pipeline.places import place_of


def broken(seals: list[Seal]) -> Iterator[str]:
    """Seals that were changed, or do not follow from one another, in words."""
    before: Seal | None = None
    for seal in seals:
        try:
            read(written(seal), Seal, seal.stem)
        except CorruptError:
            yield f"the seal of {seal.stem} was changed"
        follows = before is not None and before.partition == seal.partition
        if follows and (seal.previous, seal.number) != (before.seal, before.number + 1):  # type: ignore[union-attr]
            yield f"the seal of {seal.stem} does not follow from the one before it"
        before = seal


class Seals:
    """Takes the entries of one log in order, then `finish`."""

    def __init__(self, manifest: Manifest, partition: int) -> None:
        piece = manifest.piece(partition)
        begin, end = place_of(piece.begin), place_of(piece.end)
        whole = [] if manifest.asked.domain else manifest.seals
        self._left = [
            seal
            for seal in whole
            if seal.partition == partition and begin < place_of(seal.first) and place_of(seal.last) <= end
        ]
        self._left.reverse()
        self._start()

    def _start(self) -> None:
        self._contents, self._count, self._readable = Contents(), 0, True

    def take(self, entry: Entry) -> str:
        """What is wrong with a segment that ended before this entry, in words; empty when nothing is."""
        place, wrong = place_of(entry.id), ""
        while self._left and place > place_of(self._left[-1].last):
            wrong = self._end() or wrong
        if self._left and place >= place_of(self._left[-1].first):
            self._count += 1
            self._readable = self._readable and entry.version > 0
            self._contents.add([(*place, entry.subject, entry.version, entry.data)])
        return wrong

    def finish(self) -> str:
        wrong = ""
        while self._left:
            wrong = wrong or self._end()
        return wrong

    def _end(self) -> str:
        seal = self._left.pop()
        # The archive keeps what is no proper entry in another form.
        same = self._count == seal.count and (not self._readable or self._contents.digest() == seal.contents)
        self._start()
        return (
            ""
            if same
            else f"the records from {seal.first} to {seal.last} are not those that the archive has sealed in {seal.stem}"
        )
