"""A domain's delivery attempts out of the log, of any stretch of time, in constant memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Final

from pipeline.events import Event, Recorded
from pipeline.history import History
from pipeline.log import page_of
from pipeline.places import Place, place_of, written
from projections import outbound
from projections.positions import LAST, hour_of
from projections.readers.past.hot import FETCHED, Extent, Hot, behind_of

DENSE: Final = 4
"""Entries read for each that is wanted, up to which reading all of a stretch costs less than asking for each."""
PAUSES: Final = 16
"""Portions at most until it is tried again whether attempts lie so close together."""
TAIL: Final = 1000


class Attempts:
    def __init__(self, hot: Hot, history: History) -> None:
        self._hot = hot
        self._history = history

    async def read(
        self, partition: int, domain: str, told: Place, until: int, kinds: frozenset[type[Event]]
    ) -> AsyncIterator[Recorded]:
        """Attempts of some kinds behind a place, before `until` (ms), in order; of other domains as well. Raises MovedError."""
        extent = await self._hot.extent(partition, outbound.NAME)
        async for recorded in self._archived(extent, domain, told, until):
            yield recorded
        if extent.first is None:
            return
        start = max(told, behind_of(extent.first))
        numbers = frozenset(outbound.ENDS[kind] for kind in kinds)
        if extent.prefix:
            for hour in range(hour_of(start[0]), hour_of(min(extent.reached[0], until)) + 1):
                tried = await self._hot.attempts(extent, hour, domain)
                places = (one[:2] for one in tried if one.ended in numbers and start < one[:2] and one.ms < until)
                async for recorded in self._each(partition, places):
                    yield recorded
        following: Place | None = max(extent.reached, start)
        while following is not None and following[0] < until:
            rows, following = await self._hot.tail(partition, following, TAIL)
            for entry in page_of(partition, rows, "0", kinds).entries:
                if isinstance(entry, Recorded) and place_of(entry.entry)[0] < until:
                    yield entry

    async def _archived(self, extent: Extent, domain: str, told: Place, until: int) -> AsyncIterator[Recorded]:
        archive, first = self._history.archive, extent.first
        if archive is None or (first is not None and told >= first):
            return
        # The first millisecond is among those that were added for the sake of clocks: whether its first entry is there is all the same.
        after = written((told[0], max(told[1], 0))) if told[0] else "0"
        async for recorded in archive.attempts(
            extent.partition, domain, after, until if first is None else min(until, first[0])
        ):
            where = place_of(recorded.entry)
            if where > told and (first is None or where < first):
                yield recorded

    async def _each(self, partition: int, places: Iterable[Place]) -> AsyncIterator[Recorded]:
        """The entries at many places in order: one by one, or, where they are close together, all that lies between."""
        source = iter(places)
        portion = list(islice(source, FETCHED))
        pauses = left = 0
        while portion:
            if left or portion[-1][1] == LAST or len(portion) < DENSE:
                left = max(0, left - 1)
                found, reached = await self._hot.fetch(partition, portion), None
            else:
                found, reached = await self._hot.stretch(partition, portion, DENSE * len(portion))
                pauses = 0 if reached is None else min(2 * pauses + 1, PAUSES)
                left = pauses
            for recorded in found:
                yield recorded
            portion = [one for one in portion if reached is not None and one > reached]
            portion += islice(source, FETCHED - len(portion))
