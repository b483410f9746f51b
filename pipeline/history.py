"""The log of record as one: what is archived, and behind it what is in Redis."""

from __future__ import annotations

from collections.abc import Container

from pipeline.archive.model import Archive
from pipeline.events import Event, Recorded
from pipeline.log import Damaged, Log, Page


class History:
    """Reads; appending is `Log`'s."""

    def __init__(self, log: Log, archive: Archive | None = None) -> None:
        """`archive` None: nothing was ever archived, all is in Redis."""
        self.log = log
        self.archive = archive

    async def read(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> list[Recorded | Damaged]:
        """Up to `count` entries of a partition behind `after` ("0": from the first), in order, none behind `until`.

        `kinds`: only events of these; fewer than `count`, or even none, does not mean the end then, see `Recorded.entry` of the last.
        """
        entries = await self.log.read(partition, after, count, until)
        if kinds is None:
            return entries
        return [entry for entry in entries if isinstance(entry, Recorded) and type(entry.event) in kinds]

    async def page(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> Page:
        """As `Log.page`: what a view is folded from. Entries that cannot be read are in it, as a view counts them."""
        if self.archive is not None:
            entries = await self.archive.read(partition, after, count, until)
            if entries:
                wanted = [entry for entry in entries if kinds is None or _wanted(entry, kinds)]
                return Page(wanted, len(entries), entries[-1].entry)
        return await self.log.page(partition, after, count, until, kinds)


def _wanted(entry: Recorded | Damaged, kinds: Container[type[Event]]) -> bool:
    if isinstance(entry, Recorded):
        return type(entry.event) in kinds
    return entry.kind is None or entry.kind in kinds
