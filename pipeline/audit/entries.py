"""The log as it lies there, octet for octet: what is proved of it must not depend on how we read an event."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.archive import duck
from pipeline.archive.archive import SealedArchive
from pipeline.archive.segment import Tuple
from pipeline.audit import segments
from pipeline.events import AnyEvent, decode
from pipeline.places import place_of
from pipeline.store import Client, faults

FIELDS: Final = frozenset({b"s", b"v", b"e"})
FIRST: Final = "0"
"""In front of every entry."""
_ENTRY: Final = re.compile(r"[0-9]{1,14}-[0-9]{1,20}")
END: Final = 1 << 62
"""A millisecond behind all others."""
BATCH: Final = 2000
"""Entries per read: some MiB, and about 10 ms of the server's time."""


class Entry(msgspec.Struct, frozen=True):
    """`event` None: it cannot be read, and `fault` says why. `version` 0: it says none."""

    partition: int
    id: str
    subject: str
    version: int
    data: bytes
    event: AnyEvent | None
    fault: str = ""

    @property
    def kind(self) -> str:
        """The event's tag; empty for what cannot be read."""
        return str(self.event.__struct_config__.tag) if self.event is not None else ""

    @property
    def domain(self) -> str:
        return self.event.domain if self.event is not None else ""


def is_entry(text: str) -> bool:
    """Whether it is an entry's id, and of a year that has a date."""
    return _ENTRY.fullmatch(text) is not None


def milliseconds(entry: str) -> int:
    """When it was written down, by Redis's clock."""
    return place_of(entry)[0]


class Entries:
    """Reads the logs as they lie there, from the archive, and behind its end from Redis."""

    def __init__(self, redis: Client, archive: SealedArchive | None = None) -> None:
        self._redis = redis
        self._archive = archive

    async def all(self, partition: int, after: str = FIRST, until: str | None = None) -> AsyncIterator[list[Entry]]:
        """All entries of a log behind `after`, in order, none behind `until`, in batches.

        Raises CorruptError where the archive is not what its seals say, ConfigurationError where it is needed and cannot be read.
        """
        read_to = 0
        while True:
            entries, floor = await self._hot(partition, after, until)
            if place_of(after)[0] < floor != read_to:
                # Entries before the floor are in the archive only.
                async for batch in self._archived(partition, after, until):
                    yield batch
                    after = batch[-1].id
                read_to = floor
                continue
            if not entries:
                return
            yield entries
            after = entries[-1].id

    async def _hot(self, partition: int, after: str, until: str | None) -> tuple[list[Entry], int]:
        """The next that are in Redis, and before which millisecond none is, both at one moment."""
        with faults():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hget(keys.archive(partition), "floor")
            pipe.xrange(keys.log(partition), min="-" if after == FIRST else "(" + after, max=until or "+", count=BATCH)
            floor, rows = await pipe.execute()
        return [hot_entry(partition, entry, fields) for entry, fields in rows], int(floor or 0)

    async def _archived(self, partition: int, after: str, until: str | None) -> AsyncIterator[list[Entry]]:
        if self._archive is None:
            raise duck.missing()
        limit = place_of(until) if until else (END, 0)
        async for rows in segments.rows(self._archive, partition, place_of(after), limit):
            yield [_archived(partition, row) for row in rows]

    async def first(self, partition: int) -> int:
        """Before which millisecond entries are gone, as their retention was over; 0 when all that ever were are there."""
        return await segments.whole_from(self._archive, partition) if self._archive is not None else 0

    async def last(self, partition: int) -> str:
        """The newest entry of a log; FIRST when there is none."""
        with faults():
            rows: Any = await self._redis.xrevrange(keys.log(partition), count=1)
            sealed: Any = await self._redis.hget(keys.archive(partition), "last")
        if rows:
            return str(rows[0][0].decode())
        return sealed.decode() if sealed else FIRST


def hot_entry(partition: int, entry: bytes, fields: dict[bytes, bytes]) -> Entry:
    """An entry as Redis gives it, whatever is in it."""
    subject = fields.get(b"s", b"").decode("utf-8", "replace")
    data = fields.get(b"e", b"")
    place = entry.decode("ascii", "replace")
    if fields.keys() != FIELDS:
        return Entry(partition, place, subject, 0, data, None, "it has other fields than an entry has")
    try:
        version = int(fields[b"v"])
    except ValueError:
        return Entry(partition, place, subject, 0, data, None, "its version is no number")
    return _entry(partition, place, subject, version, data)


def _archived(partition: int, row: Tuple) -> Entry:
    ms, seq, subject, version, data = row
    if version >= 0:
        return _entry(partition, f"{ms}-{seq}", subject, version, data)
    # The archive keeps all fields of what is not as an entry is.
    fields: dict[bytes, bytes] = dict(msgspec.msgpack.decode(data, type=list[tuple[bytes, bytes]]))
    return hot_entry(partition, f"{ms}-{seq}".encode(), fields)


def _entry(partition: int, place: str, subject: str, version: int, data: bytes) -> Entry:
    try:
        return Entry(partition, place, subject, version, data, decode(data))
    except (ValueError, msgspec.DecodeError) as error:
        return Entry(partition, place, subject, version, data, None, f"{type(error).__name__}: {error}"[:200])
