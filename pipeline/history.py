"""The log of record as one: what is archived, and behind it what is in Redis."""

from __future__ import annotations

from collections.abc import Container, Sequence

from pipeline.archive.duck import missing
from pipeline.archive.model import Archive
from pipeline.archive.rows import order
from pipeline.events import Event, Recorded
from pipeline.log import Damaged, Log


class History:
    """Reads; appending is `Log`'s."""

    def __init__(self, log: Log, archive: Archive | None = None) -> None:
        """`archive` None: it cannot be read here."""
        self.log = log
        self.archive = archive
        self._floors: dict[int, int] = {}
        """From which millisecond on each log is whole, when it was last looked at: it only rises."""

    async def read(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> list[Recorded | Damaged]:
        """Up to `count` entries of a partition behind `after` ("0": from the first), in order, none behind `until`.

        `kinds`: only events of these. None at all means that there are no more. Raises CorruptError when the archive is not what it
        should be, and ConfigurationError when it cannot be read here.
        """
        while True:
            archived, entries = await self._next(partition, after, count, until, kinds)
            if archived or kinds is None:
                return entries
            found = _of(kinds, entries)
            if found or len(entries) < count:
                return found
            after = entries[-1].entry

    async def _next(
        self, partition: int, after: str, count: int, until: str | None, kinds: Container[type[Event]] | None
    ) -> tuple[bool, list[Recorded | Damaged]]:
        """The next entries, and whether they are from the archive, which has looked for the kinds already."""
        if self.archive is None:
            entries, floor = await self.log.read_above(partition, after, count, until)
            if order(after)[0] < floor:
                raise missing()
            return False, entries
        while True:
            floor = self._floors.get(partition, 0)
            if order(after)[0] < floor:
                archived = await self.archive.read(partition, after, count, until, kinds)
                if archived:
                    return True, archived
            entries, floor_now = await self.log.read_above(partition, after, count, until)
            if order(after)[0] >= floor_now or floor_now == floor:
                return False, entries
            # It was trimmed since we last looked: what comes behind `after` may be in the archive only.
            self._floors[partition] = floor_now


def _of(kinds: Container[type[Event]], entries: Sequence[Recorded | Damaged]) -> list[Recorded | Damaged]:
    return [entry for entry in entries if isinstance(entry, Recorded) and type(entry.event) in kinds]
