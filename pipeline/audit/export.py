"""An export: every event of a stretch of the logs that concerns a domain, record by record, and the manifest of it.

A stretch is of the log's own time: that in the entries' ids, which Redis's clock gave them when they were appended. So an export is one piece of
each log without holes, which what happens at (`at`, by a worker's clock) would not be.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import BinaryIO, Final

from pipeline.archive.model import DIRECTORY
from pipeline.archive.seal import Seal
from pipeline.audit import chain
from pipeline.audit.chain import Form
from pipeline.audit.concern import Concern
from pipeline.audit.entries import FIRST, Entries, Entry, milliseconds
from pipeline.audit.manifest import Asked, Continuity, Fault, File, Made, Manifest, Piece
from pipeline.audit.subjects import Filter, Subjects
from pipeline.places import place_of

NAMED: Final = 20
"""Places that are named one by one."""
LAST: Final = (1 << 64) - 1
"""The last number that an entry can have within its millisecond."""


def subjects_of(asked: Asked, partition: int, piece: Piece, gone: Filter) -> Subjects:
    """Of an export of a domain the directory's events are some of many: their numbers only grow."""
    some = bool(asked.domain) and partition == DIRECTORY
    return Subjects(gone, max(milliseconds(piece.begin), int(some)), gaps=some)


class Export:
    """Writes the records; then it knows the manifest."""

    def __init__(self, asked: Asked, form: Form, out: BinaryIO) -> None:
        self.asked = asked
        self._form = form
        self._out = out
        self._sha = hashlib.sha256()
        self.octets = 0
        self.records = 0
        self.chain = chain.START
        self.kinds: Counter[str] = Counter()
        self.pieces: dict[int, Piece] = {}
        self.continuity = Continuity(named=[])
        self._start = chain.moment(asked.start)
        self._end = f"{chain.moment(asked.end)}-{LAST}"

    async def write(self, entries: Entries) -> AsyncIterator[int]:
        """Everything; says now and then how many entries were read since it last did."""
        concern, gone = Concern(self.asked.domain), Filter()
        for partition in self.asked.logs:
            newest = await entries.last(partition)
            start = max(self._start, await entries.first(partition))
            piece = Piece(begin=f"{start - 1}-{LAST}" if start else FIRST, end=min(newest, self._end, key=place_of))
            self.pieces[partition] = piece
            subjects = subjects_of(self.asked, partition, piece, gone)
            # What a server or a sync was to a domain is known from all that came before.
            whole = partition == DIRECTORY and bool(self.asked.domain)
            async for batch in entries.all(partition, FIRST if whole else piece.begin, piece.end):
                for entry in batch:
                    within = milliseconds(entry.id) >= self._start
                    if concern.of(entry.event) and within:
                        self._record(piece, subjects, entry)
                    elif entry.event is None and within:
                        piece.unreadable += 1
                yield len(batch)
            self.continuity.subjects += subjects.seen

    def _record(self, piece: Piece, subjects: Subjects, entry: Entry) -> None:
        self.records += 1
        content = chain.body(self.records, entry, self._form)
        self.chain = chain.link(self.chain, content)
        line = chain.line(self.chain, content) + b"\n"
        self._sha.update(line)
        self._out.write(line)
        self.octets += len(line)
        self.kinds[entry.kind] += 1
        piece.records += 1
        piece.first = piece.first or entry.id
        piece.last = entry.id
        wrong = subjects.see(entry)
        if wrong:
            self.continuity.faults += 1
            if len(self.continuity.named) < NAMED:
                self.continuity.named.append(
                    Fault(line=self.records, partition=entry.partition, entry=entry.id, text=wrong)
                )

    @property
    def digest(self) -> str:
        """Of the records as JSON lines."""
        return self._sha.hexdigest()

    def manifest(self, made: Made, file: File, seals: list[Seal]) -> Manifest:
        """Not sealed yet."""
        return Manifest(
            asked=self.asked,
            made=made,
            file=file,
            records=self.records,
            chain=self.chain,
            kinds=dict(self.kinds),
            partitions={str(partition): piece for partition, piece in self.pieces.items()},
            continuity=self.continuity,
            seals=seals,
        )
