"""Places of the log at which something is spoken of, over all partitions, the newest first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from pipeline.events import Event, Received, Recorded, Refused
from pipeline.history import History
from pipeline.places import HOUR_MS, Place, place_of
from projections import trace
from projections.positions import hour_of
from projections.readers.past.finding import Group, Key
from projections.readers.past.hot import BEGINNING, Extent, Hot, behind_of, recorded_of

KEYS: Final = 512
"""Of the view, read in one round trip."""
WIDEST: Final = 16
"""Hours in one portion: a megabyte or two where there is a lot of mail."""
MERGED: Final = 64
PAGE: Final = 500
ARRIVALS: Final[frozenset[type[Event]]] = frozenset({Received, Refused})


class Candidate(NamedTuple):
    key: Key
    recorded: Recorded | None
    """None: it has still to be fetched."""


class Bounds(msgspec.Struct, frozen=True):
    """ms; what is outside is not looked at."""

    lower: int
    upper: int
    before: Key | None
    """Where the page before ended."""

    def hold(self, key: Key) -> bool:
        return self.lower <= key[0] < self.upper and (self.before is None or key < self.before)


class _Stream:
    """Candidates of one source, the newest first, of which the next can be looked at."""

    def __init__(self, source: AsyncIterator[Candidate]) -> None:
        self._source = source
        self.head: Candidate | None = None

    async def advance(self) -> Candidate | None:
        """Take the next one."""
        taken, self.head = self.head, await anext(self._source, None)
        return taken


class Walk:
    def __init__(
        self, hot: Hot, history: History, extents: Sequence[Extent], tails: Sequence[Recorded], bounds: Bounds
    ) -> None:
        """`tails`: what the view does not know yet, as far as it is to be looked at."""
        self._hot = hot
        self._history = history
        self._extents = extents
        self._tails = sorted(tails, key=lambda one: place_of(one.entry), reverse=True)
        self._bounds = bounds

    async def along(self, group: Group) -> AsyncIterator[list[Candidate]]:
        """Where the facts of a group may be said, in portions."""
        tails = (candidate(one) for one in self._tails if group.of(one.event))
        sources = [_listed(tails), *(self._archived(extent, group) for extent in self._extents)]
        streams = await self._opened(sources)
        for hours in self.portions(len(group.terms)):
            pulled: list[Candidate] = []
            for stream in streams:
                while stream.head is not None and stream.head.key[0] >= hours[0] * HOUR_MS:
                    taken = await stream.advance()
                    pulled += [taken] if taken is not None else []
            runs = [*await self._runs(group, hours), sorted(pulled, key=_key, reverse=True)]
            merged = (one for one in merge(*runs, key=_key, reverse=True) if self._bounds.hold(one.key))
            while portion := list(islice(merged, MERGED)):
                yield portion
        async for portion in self._merged(streams):
            yield portion

    async def arrivals(self) -> AsyncIterator[list[Candidate]]:
        """Whatever came in, where nothing more is asked for: the logs themselves, backwards."""
        streams = await self._opened([self._backwards(extent) for extent in self._extents])
        async for portion in self._merged(streams):
            yield portion

    async def count(self, group: Group, hours: Sequence[int]) -> int:
        """About how many places the view knows at most in some hours. Raises MovedError."""
        found = await self._stored(group, hours)
        return min(
            (sum(trace.count(postings, term) for _, _, postings in stored) for term, stored in found.items()), default=0
        )

    async def _runs(self, group: Group, hours: Sequence[int]) -> list[Iterable[Candidate]]:
        """Where the view knows the facts of a group in some hours: where it knows all of them; several rows, each with the newest first."""
        found = await self._stored(group, hours)
        if len(found) == 1:
            ((term, stored),) = found.items()
            by_extent: dict[int, list[tuple[Extent, int, bytes]]] = {}
            for one in stored:
                by_extent.setdefault(one[0].partition, []).append(one)
            return [_newest_of(its, term) for its in by_extent.values()]
        keys = [set(_keys(stored, term)) for term, stored in found.items()]
        return [[Candidate(key, None) for key in sorted(set.intersection(*keys), reverse=True)]] if keys else []

    async def _stored(self, group: Group, hours: Sequence[int]) -> dict[int, list[tuple[Extent, int, bytes]]]:
        """By term: the extent, the hour, and the postings of the term's bucket."""
        known = [extent for extent in self._extents if extent.prefix and extent.first is not None]
        wanted = [(term, extent, hour) for term in group.terms for extent in known for hour in hours]
        if not wanted:
            return {}
        stored = await self._hot.strings([(extent, trace.key(hour, term)) for term, extent, hour in wanted])
        found: dict[int, list[tuple[Extent, int, bytes]]] = {}
        for (term, extent, hour), postings in zip(wanted, stored, strict=True):
            found.setdefault(term, []).append((extent, hour, postings))
        return found

    def portions(self, terms: int) -> Iterator[range]:
        """The hours that the view knows within the bounds, the newest first, in growing portions."""
        known = [extent for extent in self._extents if extent.prefix and extent.first is not None]
        if not known:
            return
        highest = min(max(hour_of(extent.reached[0]) for extent in known), hour_of(self._bounds.upper - 1))
        lowest = max(
            min(hour_of(extent.first[0]) for extent in known if extent.first is not None), hour_of(self._bounds.lower)
        )
        if self._bounds.before is not None:
            highest = min(highest, hour_of(self._bounds.before[0]))
        size = 1
        widest = max(1, min(WIDEST, KEYS // (len(known) * terms)))
        while highest >= lowest:
            yield range(max(lowest, highest - size + 1), highest + 1)
            highest -= size
            size = min(2 * size, widest)

    # Sources

    async def _opened(self, sources: Iterable[AsyncIterator[Candidate]]) -> list[_Stream]:
        streams = [_Stream(source) for source in sources]
        for stream in streams:
            await stream.advance()
        return streams

    async def _merged(self, streams: Sequence[_Stream]) -> AsyncIterator[list[Candidate]]:
        portion: list[Candidate] = []
        while left := [stream for stream in streams if stream.head is not None]:
            newest = max(left, key=lambda stream: stream.head.key if stream.head is not None else (0, 0, 0))
            taken = await newest.advance()
            if taken is not None and self._bounds.hold(taken.key):
                portion.append(taken)
                if len(portion) == MERGED:
                    yield portion
                    portion = []
        if portion:
            yield portion

    def _before(self, extent: Extent) -> int:
        """The end (ms) of what of a partition is to be taken out of the archive."""
        bounds = [self._bounds.upper]
        if extent.first is not None:
            bounds.append(extent.first[0])
        if self._bounds.before is not None:
            bounds.append(self._bounds.before[0] + 1)
        return min(bounds)

    async def _archived(self, extent: Extent, group: Group) -> AsyncIterator[Candidate]:
        end = self._before(extent)
        if end <= self._bounds.lower:
            return
        archive = await self._history.older(extent.partition, str(self._bounds.lower))
        if archive is None:
            return
        async for recorded in archive.find(extent.partition, group.telling, self._bounds.lower, end):
            if group.of(recorded.event):
                yield candidate(recorded)

    async def _backwards(self, extent: Extent) -> AsyncIterator[Candidate]:
        """Arrivals of a partition, the newest first."""
        before: Place | None = (self._bounds.upper, 0)
        if self._bounds.before is not None:
            before = min((self._bounds.before[0] + 1, 0), (self._bounds.upper, 0))
        if extent.first is None:
            before = None
        lower = max((self._bounds.lower, -1), behind_of(extent.first or BEGINNING))
        while before is not None:
            rows = await self._hot.newest(extent.partition, before, lower, PAGE)
            before = place_of(rows[-1][0].decode()) if len(rows) == PAGE else None
            for recorded in recorded_of(extent.partition, rows, ARRIVALS):
                yield candidate(recorded)
        archive = await self._history.older(extent.partition, str(self._bounds.lower))
        if archive is None:
            return
        first = await archive.first(extent.partition)
        end = min(self._before(extent), place_of(await archive.last(extent.partition))[0] + 1)
        lowest = max(self._bounds.lower, place_of(first)[0]) if first else end
        while end > lowest:
            start = max(lowest, (end - 1) // HOUR_MS * HOUR_MS)
            for recorded in reversed(await self._hour(extent.partition, start, end)):
                yield candidate(recorded)
            end = start

    async def _hour(self, partition: int, start: int, end: int) -> list[Recorded]:
        """The arrivals of an hour at most out of the archive."""
        archive = self._history.archive
        found: list[Recorded] = []
        after, until = f"{start - 1}-{1 << 62}", f"{end - 1}-{1 << 62}"
        while archive is not None and (entries := await archive.read(partition, after, PAGE, until, ARRIVALS)):
            found += [one for one in entries if isinstance(one, Recorded) and type(one.event) in ARRIVALS]
            after = entries[-1].entry
        return found


def candidate(recorded: Recorded) -> Candidate:
    return Candidate((*place_of(recorded.entry), recorded.partition), recorded)


def _key(one: Candidate) -> Key:
    return one.key


def _keys(stored: Iterable[tuple[Extent, int, bytes]], term: int) -> Iterator[Key]:
    for extent, hour, postings in stored:
        for where in trace.places(postings, hour, term):
            if extent.knows(where):
                yield (*where, extent.partition)


def _newest_of(stored: Sequence[tuple[Extent, int, bytes]], term: int) -> Iterator[Candidate]:
    """Of one partition, whose hours come in order."""
    for extent, hour, postings in reversed(stored):
        for where in trace.newest_places(postings, hour, term):
            if extent.knows(where):
                yield Candidate((*where, extent.partition), None)


async def _listed(candidates: Iterable[Candidate]) -> AsyncIterator[Candidate]:
    for one in candidates:
        yield one
