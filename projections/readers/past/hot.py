"""The part of the log that is in Redis, by the index views: where something is spoken of, and the entries there.

Reading goes on while the log is trimmed and views are built anew. Each look at a view therefore ends with a look whether it still is
the live one and the log still begins where it did; if not, what was found may be too little, and `MovedError` says so. Who meets it
begins again behind what it had: all of it is in the archive, or in the other build.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from pipeline import keys
from pipeline.events import Event, Recorded
from pipeline.faults import StoreAwayError
from pipeline.log import XRANGE, page_of
from pipeline.places import Place, place_of, written
from pipeline.store import Client, faults
from projections import outbound, trace
from projections.builds import live_prefixes
from projections.positions import LAST

Row: TypeAlias = tuple[bytes, Sequence[bytes]]
"""An entry as Redis gives it: its id, and its fields and their values in turn."""

BEGINNING: Final[Place] = (0, 0)
FOREVER: Final = 1 << 62
FETCHED: Final = 500
"""Places that are fetched in one round trip: some milliseconds of the server's time."""
_NEAR: Final = 8
"""Numbers of one millisecond that may lie between two places which are read as one range."""
XREVRANGE: Final = b"XREVRANGE"
"""In octets for the same reason as `XRANGE`."""
_END: Final = "18446744073709551615"


class MovedError(StoreAwayError):
    """The log was trimmed or the view replaced while it was being read."""


class Extent(NamedTuple):
    """Which part of a partition's log is in Redis, and which part of that an index view knows."""

    partition: int
    first: Place | None
    """The first entry, or, while what is before it is being taken out, where the log is to begin; None: there is none."""
    prefix: str
    """Of the view's keys; empty: there is no view yet."""
    reached: Place
    """The last entry that is in the view."""

    def knows(self, where: Place) -> bool:
        """Whether a place that the view says is in both: it may say some that are before the first entry."""
        return self.first is not None and self.first <= where <= self.reached


def behind_of(where: Place) -> Place:
    """The place right before one."""
    return where[0], where[1] - 1


def behind(where: Place) -> str:
    """Where a range begins that has all behind a place; behind (ms, -1) is the whole millisecond."""
    return f"{where[0]}" if where[1] < 0 else "(" + written(where)


class Hot:
    """Stateless."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis

    async def extents(self, partitions: Sequence[int], view: str) -> list[Extent]:
        prefixes = await live_prefixes(self._redis, partitions, view)
        pipe = self._redis.pipeline(transaction=False)
        for partition in partitions:
            _first(pipe, partition)
            pipe.get(prefixes.get(partition, keys.view(partition, view, 0)) + "checkpoint")
        with faults():
            answers: Any = await pipe.execute()
        found = []
        for number, partition in enumerate(partitions):
            rows, floor, checkpoint = answers[3 * number : 3 * number + 3]
            prefix = prefixes.get(partition, "") if checkpoint else ""
            reached = place_of(checkpoint.decode()) if checkpoint else BEGINNING
            found.append(Extent(partition, _place_of(rows, floor), prefix, reached))
        return found

    async def extent(self, partition: int, view: str) -> Extent:
        (found,) = await self.extents([partition], view)
        return found

    async def strings(self, wanted: Sequence[tuple[Extent, str]]) -> list[bytes]:
        """Keys of views, each of the view of an extent; empty where there is none. Raises MovedError."""
        extents = list({extent.partition: extent for extent, _ in wanted}.values())
        pipe = self._redis.pipeline(transaction=False)
        for extent, name in wanted:
            pipe.get(extent.prefix + name)
        for extent in extents:  # a build that is replaced loses its checkpoint before its keys
            pipe.get(extent.prefix + "checkpoint")
            _first(pipe, extent.partition)
        with faults():
            answers: Any = await pipe.execute()
        for number, extent in enumerate(extents):
            checkpoint, rows, floor = answers[len(wanted) + 3 * number : len(wanted) + 3 * number + 3]
            if checkpoint is None or _place_of(rows, floor) != extent.first:
                raise MovedError("the log was trimmed, or a view replaced, meanwhile", remedy="Try again.")
        return [answer or b"" for answer in answers[: len(wanted)]]

    async def postings(self, extent: Extent, hours: Iterable[int], term: int) -> list[Place]:
        """Where a term is in the part that the view knows, in some hours. Raises MovedError."""
        hours = list(hours)
        if not extent.prefix or not hours:
            return []
        stored = await self.strings([(extent, trace.key(hour, term)) for hour in hours])
        return [
            where
            for hour, one in zip(hours, stored, strict=True)
            for where in trace.places(one, hour, term)
            if extent.knows(where)
        ]

    async def attempts(self, extent: Extent, hour: int, domain: str) -> Iterator[outbound.Tried]:
        """A domain's attempts of an hour that the view knows. Raises MovedError."""
        if not extent.prefix:
            return iter(())
        (stored,) = await self.strings([(extent, outbound.key(hour, domain))])
        return (one for one in outbound.attempts(stored, hour) if extent.knows((one.ms, one.number)))

    async def fetch(self, partition: int, places: Iterable[Place]) -> list[Recorded]:
        """The entries at some places, in the order of the log, without what cannot be read. Of a place whose number is `LAST` all
        that there is from it to the end of its millisecond. Raises MovedError when one is not there any more.
        """
        ordered = sorted(set(places))
        found = []
        for start in range(0, len(ordered), FETCHED):
            found += await self._fetched(partition, ordered[start : start + FETCHED])
        return found

    async def _fetched(self, partition: int, places: Sequence[Place]) -> list[Recorded]:
        pipe = self._redis.pipeline(transaction=False)
        log = keys.log(partition)
        for (ms, first), (_, last) in _runs(places):
            pipe.execute_command(XRANGE, log, f"{ms}-{first}", f"{ms}-{_END if last == LAST else last}")
        with faults():
            answers: Any = await pipe.execute()
        rows = [row for answer in answers for row in answer]
        here = _wanted(rows, set(places))
        if len(here) < len(places):
            await self._explain(partition, places[0])
        return recorded_of(partition, here)

    async def _explain(self, partition: int, where: Place) -> None:
        extent = await self.extent(partition, trace.NAME)
        if extent.first is None or where < extent.first:
            raise MovedError("the log was trimmed meanwhile", remedy="Try again.")

    async def stretch(self, partition: int, places: Sequence[Place], count: int) -> tuple[list[Recorded], Place | None]:
        """As `fetch`, by reading all that is between the first and the last of some places, up to `count` entries; and how far that
        reached, None when to the last. For places that are close together, none of which is `LAST`.
        """
        first, last = places[0], places[-1]
        with faults():
            rows: Any = await self._redis.execute_command(
                XRANGE, keys.log(partition), written(first), written(last), "COUNT", count
            )
        reached = place_of(rows[-1][0].decode()) if len(rows) == count else None
        here = _wanted(rows, set(places))
        if len(here) < len(places if reached is None else [one for one in places if one <= reached]):
            await self._explain(partition, first)
        return recorded_of(partition, here), reached

    async def newest(self, partition: int, before: Place | None, behind_: Place, count: int) -> list[Row]:
        """Up to `count` of the entries behind one place and before another (None: the end), as they are, the newest first."""
        end = "+" if before is None else "(" + written(before)
        with faults():
            rows: Any = await self._redis.execute_command(
                XREVRANGE, keys.log(partition), end, behind(behind_), "COUNT", count
            )
        return list(rows)

    async def tail(self, partition: int, after: Place, count: int) -> tuple[list[Row], Place | None]:
        """Up to `count` entries behind a place, as they are; and where to go on, None at the end."""
        with faults():
            rows: Any = await self._redis.execute_command(
                XRANGE, keys.log(partition), behind(after), "+", "COUNT", count
            )
        return rows, place_of(rows[-1][0].decode()) if len(rows) == count else None


def subject_of(row: Row) -> bytes:
    """Whom an entry speaks of; read before it is decoded, which most of a tail never is."""
    fields = row[1]
    return fields[1] if fields[0] == b"s" else dict(zip(fields[::2], fields[1::2], strict=True)).get(b"s", b"")


def recorded_of(partition: int, rows: Sequence[Row], kinds: Container[type[Event]] | None = None) -> list[Recorded]:
    return [one for one in page_of(partition, rows, "0", kinds).entries if isinstance(one, Recorded)]


def _wanted(rows: Iterable[Row], places: Container[Place]) -> list[Row]:
    """Of rows that were read in ranges those that are meant."""
    wanted = []
    for row in rows:
        ms, number = place_of(row[0].decode())
        if (ms, min(number, LAST)) in places:
            wanted.append(row)
    return wanted


def _runs(places: Sequence[Place]) -> Iterator[tuple[Place, Place]]:
    """Neighbours as one range."""
    first = last = places[0]
    for one in places[1:]:
        if one[0] == last[0] and one[1] - last[1] <= _NEAR:
            last = one
        else:
            yield first, last
            first = last = one
    yield first, last


def _first(pipe: Any, partition: int) -> None:
    pipe.execute_command(XRANGE, keys.log(partition), "-", "+", "COUNT", 1)
    pipe.hget(keys.archive(partition), "floor")


def _place_of(rows: Any, floor: bytes | None) -> Place | None:
    """Where the log begins. It is trimmed in pieces: the floor is raised, and the index cut, before the first is gone."""
    return max(place_of(rows[0][0].decode()), (int(floor or 0), 0)) if rows else None
