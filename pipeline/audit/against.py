"""Whether the store still says what an export says: the same entries, octet for octet, and no other."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

from pipeline.archive.model import DIRECTORY
from pipeline.audit import chain
from pipeline.audit.concern import Concern
from pipeline.audit.entries import FIRST, Entries, Entry, milliseconds
from pipeline.audit.manifest import Manifest
from pipeline.audit.verify import Problems, Row
from pipeline.events import Exported
from pipeline.log import SKEW_MS
from pipeline.places import place_of


async def expected(entries: Entries, manifest: Manifest) -> AsyncIterator[Entry]:
    """The entries that the export has to have, in its order. What retention has taken away since cannot be asked for any more."""
    asked = manifest.asked
    concern, start = Concern(asked.domain), chain.moment(asked.start)
    for partition in asked.logs:
        piece = manifest.piece(partition)
        whole = partition == DIRECTORY and bool(asked.domain)
        async for batch in entries.all(partition, FIRST if whole else piece.begin, piece.end):
            for entry in batch:
                if concern.of(entry.event) and milliseconds(entry.id) >= start:
                    yield entry


class Comparison:
    """Takes the records one after the other, then `finish`."""

    def __init__(self, entries: Entries, manifest: Manifest, problems: Problems) -> None:
        self._entries = entries
        self._manifest = manifest
        self._problems = problems
        self._logs = {partition: place for place, partition in enumerate(manifest.asked.logs)}
        self._stored = expected(entries, manifest)
        self._next: Entry | None = None
        self._line = 0
        self._dropped: dict[int, int] = {}
        self.skipped = 0
        """Records of a time of which the store has nothing left."""

    async def begin(self) -> None:
        self._dropped = {partition: await self._entries.first(partition) for partition in self._logs}
        self._next = await anext(self._stored, None)

    async def take(self, row: Row) -> None:
        self._line += 1
        if milliseconds(row.entry) < self._dropped.get(row.partition, 0):
            self.skipped += 1
            return
        place = self._place(row.partition, row.entry)
        while self._next is not None and self._place(self._next.partition, self._next.id) < place:
            self._missing(self._next)
            self._next = await anext(self._stored, None)
        stored = self._next
        if stored is None or self._place(stored.partition, stored.id) != place:
            self._problems.add(
                "the store has no such entry any more", line=self._line, partition=row.partition, entry=row.entry
            )
            return
        raw = base64.b64encode(stored.data).decode()
        if (stored.subject, stored.version, raw) != (row.subject, row.version, row.raw):
            self._problems.add(
                "the store says something else there", line=self._line, partition=row.partition, entry=row.entry
            )
        self._next = await anext(self._stored, None)

    def _place(self, partition: int, entry: str) -> tuple[int, int, int]:
        return (self._logs.get(partition, -1), *place_of(entry))

    def _missing(self, entry: Entry) -> None:
        text = "the store has this entry, and the export has not"
        self._problems.add(text, line=self._line, partition=entry.partition, entry=entry.id)

    async def finish(self, home: int) -> None:
        """`home`: the partition in whose log it stands that something of this domain was exported."""
        while self._next is not None:
            self._missing(self._next)
            self._next = await anext(self._stored, None)
        digest, made = self._manifest.file.sha256, chain.moment(self._manifest.made.at)
        async for batch in self._entries.all(home, f"{max(0, made - SKEW_MS)}-0", f"{made + SKEW_MS}"):
            for entry in batch:
                if isinstance(entry.event, Exported) and entry.event.digest == digest:
                    return
        self._problems.add("no event in the log says that this file was exported", partition=home)
