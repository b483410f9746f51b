"""The archive as those see it who read it: `model.Archive` over sealed Parquet segments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.archive.chain import Chain
from pipeline.archive.duck import Duck
from pipeline.archive.objects import Objects
from pipeline.archive.rows import entry_of
from pipeline.archive.seal import Seal
from pipeline.archive.segment import PART, Tuple, file_hash, parts_of, rows_behind, rows_of, rows_with
from pipeline.events import (
    ALL_EVENTS,
    Deferred,
    Delivered,
    Event,
    Failed,
    Recorded,
    RouteDeferred,
    Undeliverable,
)
from pipeline.faults import CorruptError
from pipeline.kinds import tag_of
from pipeline.log import Damaged, Page
from pipeline.places import place_of
from pipeline.store import Client

if TYPE_CHECKING:
    import duckdb

ATTEMPTS: Final = tuple(tag_of(event) for event in (Deferred, Delivered, Failed, Undeliverable, RouteDeferred))
CURSORS: Final = 8
"""Readings that are under way and remembered: replays of several views, a follower, a report."""
TOGETHER: Final = 4
"""Segments that are looked through in one query for a report: 400,000 entries, some 0.1 s."""
UNREAD: Final = ""
"""The kind, in a segment, of an entry that could not be read."""
_END: Final = 1 << 62
_Kinds = tuple[str, ...] | None


class _Cursor:
    """A reading that is under way: who asks for the next entries gets them without looking for the place again."""

    def __init__(self, segments: AsyncGenerator[Seal], after: tuple[int, int], end: tuple[int, int]) -> None:
        self.segments = segments
        self.at = after
        """The last entry that was given out."""
        self.end = end
        """Where the chain ended when it was begun."""
        self.done = False
        """All that was in the chain when it was begun has been looked at."""
        self.rows: Sequence[Tuple] = ()
        self.used = 0
        self.open: duckdb.DuckDBPyConnection | None = None
        self.last = after
        """Of the segment that is open."""
        self.left = 0
        """Entries of it that were not read, wanted or not; 0 where reading began in its middle."""
        self.passed = 0
        """Entries of segments that are done with which were not wanted."""


class SealedArchive:
    """One per process. See `model.Archive` for what each call promises."""

    def __init__(self, redis: Client, objects: Objects, duck: Duck | None = None) -> None:
        self.redis = redis
        self.objects = objects
        self.duck = duck or Duck()
        self.chain = Chain(redis, objects, self.duck)
        self._cursors: dict[tuple[int, _Kinds], _Cursor] = {}
        self._checked: set[str] = set()
        self._lock = asyncio.Lock()

    async def first(self, partition: int) -> str:
        at = await self.chain.head(partition)
        return "" if at.empty else at.first

    async def last(self, partition: int) -> str:
        return (await self.chain.head(partition)).last

    async def read(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> list[Recorded | Damaged]:
        rows, _, _ = await self._rows(partition, after, count, until, _names(kinds))
        return [entry_of(partition, row) for row in rows]

    async def page(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> Page:
        names = _names(kinds)
        wanted = None if names is None else (*names, UNREAD)
        rows, reached, passed = await self._rows(partition, after, count, until, wanted)
        entries = [entry_of(partition, row) for row in rows]
        if kinds is not None:
            entries = [one for one in entries if isinstance(one, Recorded) or one.kind is None or one.kind in kinds]
        if reached <= place_of(after):
            return Page([], 0, after)
        return Page(entries, max(1, len(rows) + passed), f"{reached[0]}-{reached[1]}")

    async def _rows(
        self, partition: int, after: str, count: int, until: str | None, names: _Kinds
    ) -> tuple[list[Tuple], tuple[int, int], int]:
        """The next rows, up to where there are no others, and how many that nobody wants were passed over to get there."""
        place, limit = place_of(after), _limit(until)
        if place >= limit:
            return [], place, 0
        passed = 0
        async with self._lock:
            cursor = self._cursors.pop((partition, names), None)
            if cursor is not None and cursor.at != place:
                await cursor.segments.aclose()
                cursor = None
            while True:
                fresh = cursor is None
                if cursor is None:
                    at = await self.chain.head(partition)
                    cursor = _Cursor(self.chain.segments(partition, place[0], at), place, place_of(at.last))
                found = await self._take(cursor, count, limit, names)
                passed += cursor.passed
                cursor.passed = 0
                if not cursor.done:
                    await self._remember((partition, names), cursor)
                if found or fresh or not cursor.done:
                    break
                # It ended where the chain ended when it was begun.
                cursor = None
        if len(found) == count:
            return found, found[-1][:2], passed
        return found, max(place, min(limit, cursor.end)), passed

    async def _remember(self, key: tuple[int, _Kinds], cursor: _Cursor) -> None:
        while len(self._cursors) >= CURSORS:
            await self._cursors.pop(next(iter(self._cursors))).segments.aclose()
        self._cursors[key] = cursor

    async def _take(self, cursor: _Cursor, count: int, limit: tuple[int, int], kinds: _Kinds) -> list[Tuple]:
        """The next rows of a cursor, none behind the limit."""
        found: list[Tuple] = []
        while len(found) < count:
            if cursor.used == len(cursor.rows) and not await self._fill(cursor, limit, kinds):
                break
            chosen = cursor.rows[cursor.used : cursor.used + count - len(found)]
            if chosen[-1][:2] > limit:
                chosen = [row for row in chosen if row[:2] <= limit]
            found += chosen
            cursor.used += len(chosen)
            if cursor.used < len(cursor.rows) and cursor.rows[cursor.used][:2] > limit:
                break
        if found:
            cursor.at = found[-1][0], found[-1][1]
        return found

    async def _fill(self, cursor: _Cursor, limit: tuple[int, int], kinds: _Kinds) -> bool:
        """The next part of the segment that is open, or of the next one; False at the end, or beyond the limit."""
        while True:
            if cursor.open is not None:
                cursor.rows = await self.duck.run(cursor.open.fetchmany, PART)
                cursor.used = 0
                cursor.left -= len(cursor.rows)
                if cursor.rows:
                    return True
                cursor.open = None
                if cursor.last <= limit:
                    cursor.passed += max(0, cursor.left)
            if cursor.last >= limit:
                return False
            seal = await anext(cursor.segments, None)
            if seal is None:
                cursor.done = True
                return False
            cursor.last = place_of(seal.last)
            cursor.left = seal.count if place_of(seal.first) > cursor.at else 0
            if cursor.last > cursor.at:
                cursor.open = await self.duck.run(self._open, seal, cursor.at, kinds)

    def _open(self, seal: Seal, after: tuple[int, int], kinds: _Kinds) -> duckdb.DuckDBPyConnection:
        """Blocks. Raises CorruptError."""
        path = self._file(seal)
        if seal.seal not in self._checked:
            if file_hash(path) != seal.sha256:
                raise CorruptError(f"{seal.stem}.parquet was changed: its hash is not that of its seal")
            self._checked.add(seal.seal)
        return rows_behind(self.duck, path, after, kinds)

    def _file(self, seal: Seal) -> Path:
        """Blocks. Raises CorruptError when it is missing or of another size than its seal says."""
        path = self.objects.fetch(f"{seal.stem}.parquet", seal.sha256, seal.octets)
        if path is None:
            raise CorruptError(f"{seal.stem}.parquet is missing")
        if path.stat().st_size != seal.octets:
            raise CorruptError(f"{seal.stem}.parquet was changed: it is of another size than its seal says")
        return path

    async def find(self, partition: int, term: int, start: int, end: int) -> AsyncIterator[Recorded]:
        at = await self.chain.head(partition)
        async for seal in self.chain.newest(partition, end, at):
            if place_of(seal.last)[0] < start:
                return
            for part in reversed(await self.duck.run(self._parts, seal, term)):
                rows = await self.duck.run(self._with, seal, part, term, start, end)
                for row in reversed(rows):
                    entry = entry_of(partition, row)
                    if isinstance(entry, Recorded):
                        yield entry

    def _parts(self, seal: Seal, term: int) -> list[int]:
        """Blocks."""
        index = self.objects.fetch(f"{seal.stem}.terms", seal.index)
        if index is None:
            raise CorruptError(f"{seal.stem}.terms is missing")
        try:
            return parts_of(index, term)
        except ValueError as error:
            raise CorruptError(f"{seal.stem}.terms was changed: {error}") from error

    def _with(self, seal: Seal, part: int, term: int, start: int, end: int) -> list[Tuple]:
        return rows_with(self.duck, self._file(seal), part, term, start, end)

    async def attempts(self, partition: int, domain: str, after: str, end: int) -> AsyncIterator[Recorded]:
        place = place_of(after)
        at = await self.chain.head(partition)
        batch: list[Seal] = []
        async for seal in self.chain.segments(partition, place[0], at):
            if place_of(seal.first)[0] >= end:
                break
            batch.append(seal)
            if len(batch) == TOGETHER:
                for entry in await self._attempts(partition, batch, domain, place, end):
                    yield entry
                batch = []
        if batch:
            for entry in await self._attempts(partition, batch, domain, place, end):
                yield entry

    async def _attempts(
        self, partition: int, seals: Sequence[Seal], domain: str, after: tuple[int, int], end: int
    ) -> list[Recorded]:
        def look() -> list[Tuple]:
            return rows_of(self.duck, [self._file(seal) for seal in seals], domain, ATTEMPTS, after, end)

        entries = [entry_of(partition, row) for row in await self.duck.run(look)]
        return [entry for entry in entries if isinstance(entry, Recorded)]

    async def close(self) -> None:
        async with self._lock:
            for cursor in self._cursors.values():
                await cursor.segments.aclose()
            self._cursors.clear()
        self.duck.close()


def _names(kinds: Container[type[Event]] | None) -> _Kinds:
    return None if kinds is None else tuple(tag_of(event) for event in ALL_EVENTS if event in kinds)


def _limit(until: str | None) -> tuple[int, int]:
    """The last place that is wanted; a millisecond alone is all of it."""
    if until is None:
        return _END, 0
    ms, seq = place_of(until)
    return ms, seq if "-" in until else _END
