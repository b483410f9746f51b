"""What people did, over all logs, the newest first: changes of the directory, and of the partitions what is found by who did it.

Each log is a stream that ends where nothing is left, and the newest of their heads is next. A stream that looks through much and finds
nothing says so now and then, so that the work for one page is bounded whatever is asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from pipeline import keys
from pipeline.archive.model import DIRECTORY
from pipeline.events import Event, Recorded
from pipeline.history import History
from pipeline.ids import partition_for
from pipeline.log import decode_entry
from pipeline.places import Place, place_of, written
from pipeline.store import Client, faults
from pipeline.terms import ACTOR, ITSELF, term
from projections import trace
from projections.positions import hour_of
from projections.readers.past.hot import FOREVER, Extent, Hot, MovedError, behind

PAGE: Final = 500
"""Entries that are read together."""
HOURS: Final = 24
LOOKED: Final = 20_000
"""Entries and hours that are looked at for one page."""
TRIES: Final = 20
Key = tuple[int, int, int]
"""(milliseconds, number, partition)."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    by: str = ""
    """Who; empty: anybody but Gatepost itself."""
    domain: str = ""
    kinds: frozenset[type[Event]] | None = None
    start: int = 0
    """ms; both inside."""
    end: int = FOREVER


class Page(msgspec.Struct, frozen=True):
    actions: tuple[Recorded, ...]
    following: str
    """Where the next page begins; empty: there is none."""


class _Seen(NamedTuple):
    key: Key
    recorded: Recorded | None
    """None: it was looked up to here, and nothing was found."""
    looked: int = 1


class Actions:
    def __init__(self, redis: Client, history: History, partitions: int) -> None:
        self._redis = redis
        self._hot = Hot(redis)
        self._history = history
        self._partitions = partitions

    async def page(self, query: Query, limit: int, after: str = "") -> Page:
        """Up to `limit` of them behind where another page ended. Fewer does not mean that there are no more: `following` says it.

        Raises ValueError for an `after` that no page said, StoreError.
        """
        before = read_key(after) if after else (min(query.end, FOREVER) + 1, 0, -2)
        found: list[Recorded] = []
        looked, left = 0, TRIES
        while True:
            try:
                async for seen in self._merged(query, before):
                    before, left = seen.key, TRIES
                    looked += seen.looked
                    if seen.recorded is not None and _wanted(seen.recorded, query):
                        found.append(seen.recorded)
                    if len(found) == limit or looked >= LOOKED:
                        return Page(tuple(found), written_key(before))
                return Page(tuple(found), "")
            except MovedError:
                left -= 1
                if not left:
                    raise

    async def _merged(self, query: Query, before: Key) -> AsyncIterator[_Seen]:
        wanted = [partition_for(query.domain, self._partitions)] if query.domain else list(range(self._partitions))
        extents = await self._hot.extents(wanted, trace.NAME)
        streams = [self._directory(query, before), *(self._partition(one, query, before) for one in extents)]
        heads = [await anext(stream, None) for stream in streams]
        while any(heads):
            number = max(range(len(heads)), key=lambda at: head.key if (head := heads[at]) is not None else (-1, 0, 0))
            head = heads[number]
            if head is None:
                return
            yield head
            heads[number] = await anext(streams[number], None)

    async def _directory(self, query: Query, before: Key) -> AsyncIterator[_Seen]:
        async for seen in self._backwards(DIRECTORY, _upper(DIRECTORY, before), (query.start, -1)):
            yield seen

    async def _partition(self, extent: Extent, query: Query, before: Key) -> AsyncIterator[_Seen]:
        """What the view does not know yet, then what it knows, then what is in the archive only."""
        upper, lower = _upper(extent.partition, before), (query.start, -1)
        sought = term(ACTOR, query.by)
        known = extent.reached if extent.prefix else (0, 0)
        async for seen in self._backwards(extent.partition, upper, max(lower, known)):
            yield seen
        if extent.prefix and extent.first is not None:
            async for seen in self._indexed(extent, sought, upper, lower):
                yield seen
        end = min(upper[0] + 1, extent.first[0] if extent.first is not None else FOREVER)
        if end <= query.start:
            return
        archive = await self._history.older(extent.partition, written(lower))
        if archive is not None:
            async for recorded in archive.find(extent.partition, sought, query.start, end):
                if place_of(recorded.entry) < upper:
                    yield _Seen((*place_of(recorded.entry), extent.partition), recorded)

    async def _backwards(self, partition: int, upper: Place, lower: Place) -> AsyncIterator[_Seen]:
        """The entries of a log in Redis before one place and behind another."""
        end = _before(upper)
        while True:
            with faults():
                rows: Any = await self._redis.xrevrange(keys.log(partition), max=end, min=behind(lower), count=PAGE)
            for entry, fields in rows:
                recorded = decode_entry(partition, entry, fields)
                if isinstance(recorded, Recorded) and hasattr(recorded.event, "by"):
                    yield _Seen((*place_of(recorded.entry), partition), recorded)
            if len(rows) < PAGE:
                return
            last = rows[-1][0].decode()
            yield _Seen((*place_of(last), partition), None, PAGE)
            end = "(" + last

    async def _indexed(self, extent: Extent, sought: int, upper: Place, lower: Place) -> AsyncIterator[_Seen]:
        assert extent.first is not None
        highest = hour_of(min(extent.reached, upper)[0])
        lowest = hour_of(max(extent.first, lower)[0])
        while highest >= lowest:
            hours = range(max(lowest, highest - HOURS + 1), highest + 1)
            places = [one for one in await self._hot.postings(extent, hours, sought) if lower < one < upper]
            places.sort()
            while places:
                chosen, places = places[-PAGE:], places[:-PAGE]
                for recorded in reversed(await self._hot.fetch(extent.partition, chosen)):
                    if place_of(recorded.entry) < upper:
                        yield _Seen((*place_of(recorded.entry), extent.partition), recorded)
            highest = hours.start - 1


def _upper(partition: int, before: Key) -> Place:
    """All keys of a partition that are smaller than `before` are before this place."""
    ms, number, other = before
    return (ms, number) if partition >= other else (ms, number + 1)


def _before(upper: Place) -> str:
    """The end of a range with all before a place."""
    return f"({upper[0]}-{upper[1]}"


def _wanted(recorded: Recorded, query: Query) -> bool:
    event: Any = recorded.event
    by = getattr(event, "by", "")
    if not by or (by != query.by if query.by else by == ITSELF):
        return False
    return (
        query.domain in ("", event.domain)
        and (query.kinds is None or type(event) in query.kinds)
        and query.start <= place_of(recorded.entry)[0] <= query.end
    )


def written_key(key: Key) -> str:
    return f"{key[0]}-{key[1]}-{key[2] + 1}"


def read_key(text: str) -> Key:
    """Raises ValueError."""
    ms, number, partition = text.split("-")
    return int(ms), int(number), int(partition) - 1


def of_kinds(names: Sequence[str], kinds: Sequence[type[Event]]) -> frozenset[type[Event]]:
    """Those whose tags are named. Raises KeyError for a name that is none."""
    known = {str(kind.__struct_config__.tag): kind for kind in kinds if "by" in kind.__struct_fields__}
    return frozenset(known[name] for name in names)
