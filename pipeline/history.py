"""The log of record as one: what is archived, and behind it what is in Redis."""

from __future__ import annotations

from collections.abc import Container, Sequence

from pipeline.archive.duck import missing
from pipeline.archive.model import Archive
from pipeline.events import Event, Recorded
from pipeline.log import Damaged, Log, Page
from pipeline.places import place_of


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
            page = await self.page(partition, after, count, until, kinds)
            entries = page.entries if kinds is None else _known(page.entries)
            if entries or not page.count:
                return entries
            after = page.reached

    async def page(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> Page:
        """As `Log.page`: what a view is folded from. Entries that cannot be read are in it, as a view counts them."""
        if self.archive is None:
            page, floor = await self.log.page_above(partition, after, count, until, kinds)
            if place_of(after)[0] < floor:
                raise missing()
            return page
        while True:
            floor = self._floors.get(partition, 0)
            if place_of(after)[0] < floor:
                archived = await self.archive.page(partition, after, count, until, kinds)
                if archived.count:
                    return archived
            page, floor_now = await self.log.page_above(partition, after, count, until, kinds)
            if place_of(after)[0] >= floor_now or floor_now == floor:
                return page
            # It was trimmed since we last looked: what comes behind `after` may be in the archive only.
            self._floors[partition] = floor_now

    async def floor(self, partition: int) -> int:
        """From which millisecond on the log in Redis is whole: what is before that may be in the archive only."""
        return await self.log.floor(partition)


def _known(entries: Sequence[Recorded | Damaged]) -> list[Recorded | Damaged]:
    return [entry for entry in entries if isinstance(entry, Recorded)]
