"""The log of record as one: what is archived, and behind it what is in Redis."""

from __future__ import annotations

from collections.abc import Container, Sequence

from pipeline.archive.duck import missing
from pipeline.archive.model import Archive
from pipeline.events import Event, Recorded
from pipeline.log import Damaged, Edge, Log, Page


class History:
    """Reads; appending is `Log`'s."""

    def __init__(self, log: Log, archive: Archive | None = None) -> None:
        """`archive` None: it cannot be read here."""
        self.log = log
        self.archive = archive
        self._edges: dict[int, Edge] = {}
        """Where each log began when it was last looked at: it only moves forward."""

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
            page, edge = await self.log.page_above(partition, after, count, until, kinds)
            if edge.hides(after):
                raise missing()
            return page
        while True:
            edge = self._edges.get(partition, Edge())
            if edge.hides(after):
                archived = await self.archive.page(partition, after, count, until, kinds)
                if archived.count:
                    return archived
            page, now = await self.log.page_above(partition, after, count, until, kinds)
            if now == edge or not now.hides(after):
                return page
            # It was trimmed since we last looked: what comes behind `after` may be in the archive only.
            self._edges[partition] = now

    async def edge(self, partition: int) -> Edge:
        """Where the log in Redis begins: what is before that may be in the archive only."""
        return await self.log.edge(partition)

    async def older(self, partition: int, after: str) -> Archive | None:
        """The archive, for who looks behind an entry for what is not in Redis any more; None: nothing of that was ever taken out.

        Raises ConfigurationError when something was, and the archive cannot be read here.
        """
        if self.archive is None and (await self.log.edge(partition)).hides(after):
            raise missing()
        return self.archive


def _known(entries: Sequence[Recorded | Damaged]) -> list[Recorded | Damaged]:
    return [entry for entry in entries if isinstance(entry, Recorded)]
