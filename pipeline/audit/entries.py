"""The log as it lies there, octet for octet: what is proved of it must not depend on how we read an event."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.archive.model import DIRECTORY, Archive
from pipeline.events import AnyEvent, Recorded, decode, encode
from pipeline.log import Damaged
from pipeline.store import Client, faults

FIRST: Final = "0"
"""In front of every entry."""
_ENTRY: Final = re.compile(r"[0-9]{1,14}-[0-9]{1,20}")
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


def order(entry: str) -> tuple[int, int]:
    """An entry's place in its log."""
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence or 0)


def milliseconds(entry: str) -> int:
    """When it was written down, by Redis's clock."""
    return order(entry)[0]


def log_key(partition: int) -> str:
    return keys.DIRECTORY_LOG if partition == DIRECTORY else keys.log(partition)


class Entries:
    """Reads the logs as they lie there, from the archive, and behind its end from Redis."""

    def __init__(self, redis: Client, archive: Archive | None = None) -> None:
        self._redis = redis
        self._archive = archive

    async def read(self, partition: int, after: str, count: int, until: str | None = None) -> list[Entry]:
        """Up to `count` entries of a log behind `after`, in order, none behind `until`.

        Raises CorruptError for a segment of the archive that is missing or is not what its seal says.
        """
        while self._archive is not None:
            end = await self._archive.last(partition)
            if order(after) < order(end):
                rows = await self._archive.read(partition, after, count, until)
                if rows:
                    return [_archived(partition, one) for one in rows]
            entries = await self._hot(partition, max(after, end, key=order), count, until)
            # What was sealed and trimmed between the two looks is in the archive now.
            if await self._archive.last(partition) == end:
                return entries
        return await self._hot(partition, after, count, until)

    async def _hot(self, partition: int, after: str, count: int, until: str | None) -> list[Entry]:
        with faults():
            rows: Any = await self._redis.xrange(
                log_key(partition), min="-" if after == FIRST else "(" + after, max=until or "+", count=count
            )
        return [hot_entry(partition, entry, fields) for entry, fields in rows]

    async def all(self, partition: int, after: str = FIRST, until: str | None = None) -> AsyncIterator[list[Entry]]:
        """All of them, in batches."""
        while True:
            entries = await self.read(partition, after, BATCH, until)
            if not entries:
                return
            yield entries
            after = entries[-1].id

    async def last(self, partition: int) -> str:
        """The newest entry of a log; FIRST when there is none."""
        with faults():
            rows: Any = await self._redis.xrevrange(log_key(partition), count=1)
        if rows:
            return str(rows[0][0].decode())
        return await self._archive.last(partition) if self._archive is not None else FIRST


def hot_entry(partition: int, entry: bytes, fields: dict[bytes, bytes]) -> Entry:
    """An entry as Redis gives it, whatever is in it."""
    subject = fields.get(b"s", b"").decode("utf-8", "backslashreplace")
    data = fields.get(b"e", b"")
    fault = ""
    version, event = 0, None
    try:
        version = int(fields.get(b"v", b""))
        event = decode(data)
    except (ValueError, msgspec.DecodeError) as error:
        fault = f"{type(error).__name__}: {error}"[:200]
    return Entry(partition, entry.decode("ascii", "replace"), subject, version, data, event, fault)


def _archived(partition: int, one: Recorded | Damaged) -> Entry:
    if isinstance(one, Damaged):
        return Entry(partition, one.entry, one.subject, 0, b"", None, one.reason)
    return Entry(partition, one.entry, one.subject, one.version, encode(one.event), one.event)
