"""Finding messages by what is known of them: the rarest thing that is asked for is followed through the log, the newest place first,
and each message that is met is looked at itself. So the work is bounded by how rare that is, and no answer rests on an index alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from pipeline.events import Recorded
from pipeline.history import History
from pipeline.ids import is_id, partition_for
from pipeline.log import SKEW_MS
from pipeline.places import place_of
from pipeline.store import Client
from projections import trace
from projections.readers.past.finding import Found, Group, Key, Page, Query, cursor, found_of, groups, matches, parsed
from projections.readers.past.hot import BEGINNING, Extent, Hot, behind_of, recorded_of
from projections.readers.past.own import Own, Owns
from projections.readers.past.walk import ARRIVALS, Bounds, Candidate, Walk, candidate

TAIL: Final = 5000
"""Entries of each partition that the view does not know yet and that are looked at: ten times what it is behind under load."""
BUDGET: Final = 20_000
"""Places looked at for one page."""
FIRST: Final = 16
MOST: Final = 256
_NS: Final = 1_000_000


class Search:
    """One page of one search."""

    def __init__(self, redis: Client, hot: Hot, history: History, partitions: int, query: Query) -> None:
        self._redis = redis
        self._hot = hot
        self._history = history
        self._query = query
        self._groups = groups(query)
        self._partitions = [partition_for(query.domain, partitions)] if query.domain else list(range(partitions))
        self._seen: set[str] = set()
        self._whole = bool(query.server)

    async def page(self, limit: int, after: str, budget: int = BUDGET) -> Page:
        """Raises ValueError for an `after` that no page said, and MovedError."""
        chosen, before = parsed(after, self._groups) if after else (None, None)
        extents = await self._hot.extents(self._partitions, trace.NAME)
        tails, complete = await self._tails(extents)
        owns = Owns(self._redis, self._hot, self._history, {one.partition: one for one in extents}, _by_subject(tails))
        lower = max(0, self._query.start // _NS - SKEW_MS)
        if chosen is None:
            chosen = await self._rarest(extents, tails, lower)
        anchor = self._groups[chosen] if self._groups else None
        bounds = Bounds(lower, self._upper(anchor), before)
        walk = Walk(self._hot, self._history, extents, tails, bounds)
        found: list[Found] = []
        examined, size = 0, FIRST
        async for portion in walk.along(anchor) if anchor is not None else walk.arrivals():
            start = 0
            while start < len(portion):
                part = portion[start : start + size]
                for key, one in await self._examine(part, anchor, bounds, owns):
                    found.append(one)
                    if len(found) == limit:
                        return _page(found, cursor(chosen, key), examined + len(part), complete)
                start += len(part)
                examined += len(part)
                size = min(2 * size, MOST)
                if examined >= budget:
                    return _page(found, cursor(chosen, part[-1].key), examined, complete)
        return _page(found, "", examined, complete)

    def _upper(self, anchor: Group | None) -> int:
        return -(-self._query.end // _NS) + SKEW_MS + (anchor.late if anchor is not None else 0)

    async def _tails(self, extents: Sequence[Extent]) -> tuple[list[Recorded], bool]:
        """What the view does not know yet, and whether that is all of it."""
        behind = [one for one in extents if one.first is not None]
        rows = await asyncio.gather(
            *(
                self._hot.newest(one.partition, None, max(one.reached, behind_of(one.first or BEGINNING)), TAIL)
                for one in behind
            )
        )
        tails = [one for extent, its in zip(behind, rows, strict=True) for one in recorded_of(extent.partition, its)]
        return tails, all(len(its) < TAIL for its in rows)

    async def _rarest(self, extents: Sequence[Extent], tails: Sequence[Recorded], lower: int) -> int:
        """Which group has the fewest places in the newest hours; of equals the one that comes first."""
        if len(self._groups) < 2:
            return 0
        counts = []
        for group in self._groups:
            walk = Walk(self._hot, self._history, extents, tails, Bounds(lower, self._upper(group), None))
            hours = [
                hour for portion, _ in zip(walk.portions(len(group.terms)), range(4), strict=False) for hour in portion
            ]
            counts.append(await walk.count(group, hours))
        return counts.index(min(counts))

    async def _examine(
        self, part: Sequence[Candidate], anchor: Group | None, bounds: Bounds, owns: Owns
    ) -> list[tuple[Key, Found]]:
        """Those of some candidates that are what is looked for, in their order."""
        fetched = await self._fetched(part, anchor, bounds)
        fresh = {one.subject: None for _, one in fetched if one.subject not in self._seen}
        own = await owns.read(fresh, whole=self._whole)
        self._seen.update(fresh)
        found = []
        for key, recorded in fetched:
            known = own.pop(recorded.subject, None)
            if known is None or not matches(self._query, self._groups, known.events):
                continue
            if anchor is not None and self._newest(known, anchor, bounds) != key:
                continue  # it was on an earlier page
            one = found_of(recorded.subject, known.events, known.message)
            if one is not None:
                found.append((key, one))
        return found

    def _newest(self, known: Own, anchor: Group, bounds: Bounds) -> Key | None:
        """Where a message is met first on a walk from the newest place."""
        met = [candidate(one).key for one in known.events if anchor.of(one.event)]
        return max((key for key in met if bounds.lower <= key[0] < bounds.upper), default=None)

    async def _fetched(
        self, part: Sequence[Candidate], anchor: Group | None, bounds: Bounds
    ) -> list[tuple[Key, Recorded]]:
        """The events of messages at some places that say what the places are for, the newest first."""
        wanted: dict[int, list[tuple[int, int]]] = {}
        for key, recorded in part:
            if recorded is None:
                wanted.setdefault(key[2], []).append(key[:2])
        answers = await asyncio.gather(*(self._hot.fetch(partition, places) for partition, places in wanted.items()))
        entries = [one for answer in answers for one in answer]
        entries += [one for _, one in part if one is not None]
        kept = [
            (candidate(one).key, one)
            for one in entries
            if is_id(one.subject) and (anchor.of(one.event) if anchor is not None else type(one.event) in ARRIVALS)
        ]
        return sorted([pair for pair in kept if bounds.hold(pair[0])], key=lambda pair: pair[0], reverse=True)


def _page(found: Sequence[Found], following: str, examined: int, complete: bool) -> Page:
    return Page(found=tuple(found), following=following, examined=examined, complete=complete)


def _by_subject(tails: Iterable[Recorded]) -> dict[str, list[Recorded]]:
    found: dict[str, list[Recorded]] = {}
    for one in sorted(tails, key=lambda one: place_of(one.entry)):
        found.setdefault(one.subject, []).append(one)
    return found
