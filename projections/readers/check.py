"""Whether the books agree with the messages that are really there, id by id.

The view follows the log by a moment, and mail moves on meanwhile, so a difference at first sight means nothing. Each one is
looked at again until it is certain: the message is read, the view awaited until it has seen all that had happened by then, its
row read, and the message once more. Only if that has not moved in between is the row bound to be the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from pipeline import keys
from pipeline.places import place_of
from pipeline.state import Message, Stage
from pipeline.store import Client, faults
from projections.base import OURS, START
from projections.books import LIVE, NAME, QUARANTINED, WAITING, decode_row
from projections.builds import live_prefixes
from projections.readers.common import CHUNK, chunks, text

_PLACES: Final = {
    Stage.RECEIVED: WAITING,
    Stage.SCANNED: WAITING,
    Stage.QUEUED: WAITING,
    Stage.HELD: WAITING,
    Stage.QUARANTINED: QUARANTINED,
}
POLL: Final = 0.05


class Named(Protocol):
    """Messages, as workers see them."""

    async def read(self, message_ids: Sequence[str]) -> list[Message]:
        """Those of them that are live."""


class Heads(Named, Protocol):
    """All of them."""

    def live(self, partition: int) -> AsyncIterator[Message]: ...


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    domain: str
    message: Mapping[str, str]
    """Recipient -> waiting or quarantined, as the message itself says."""
    books: Mapping[str, str]
    """As the books say."""
    certain: bool
    """False when it kept moving, or the view did not catch up, until the time was over."""


async def check_books(redis: Client, partitions: int, heads: Heads, *, patience: float = 10.0) -> list[Mismatch]:
    """Messages of which the books say something else than they do themselves. `patience`: seconds for all that is in doubt."""
    deadline = time.monotonic() + patience
    found = []
    for partition in range(partitions):
        comparison = Comparison(redis, heads, partition)
        found += await comparison.settle(await comparison.doubtful(heads), deadline)
    return found


class Comparison:
    """Of the messages of one partition."""

    def __init__(self, redis: Client, heads: Named, partition: int) -> None:
        self._redis = redis
        self._heads = heads
        self._partition = partition
        self._prefix = ""

    async def open(self) -> str:
        """Look where the books are just now; empty: there are none yet."""
        prefixes = await live_prefixes(self._redis, [self._partition], NAME)
        self._prefix = prefixes.get(self._partition, "")
        return self._prefix

    async def doubtful(self, heads: Heads) -> list[str]:
        """Ids where message and books differ at first sight."""
        await self.open()
        doubtful: list[str] = []
        seen: set[str] = set()
        some: list[Message] = []
        async for message in heads.live(self._partition):
            seen.add(message.id)
            some.append(message)
            if len(some) == CHUNK:
                doubtful += await self.differing(some)
                some = []
        doubtful += await self.differing(some)
        if self._prefix:
            with faults():
                async for found, _ in self._redis.hscan_iter(self._prefix + LIVE, count=CHUNK):
                    name = text(found)
                    if name not in seen and not name.startswith(OURS):
                        doubtful.append(name)
        return doubtful

    async def differing(self, messages: Sequence[Message]) -> list[str]:
        """Ids of those of which the books say something else, at first sight."""
        if not messages:
            return []
        rows = await self._rows([message.id for message in messages])
        return [message.id for message, row in zip(messages, rows, strict=True) if _places(message) != row]

    async def settle(self, message_ids: Sequence[str], deadline: float) -> list[Mismatch]:
        """Those that really differ; and, not certain, those still in doubt at the deadline (monotonic)."""
        found: list[Mismatch] = []
        doubtful = list(message_ids)
        while doubtful:
            before = await self._read(doubtful)
            caught_up = await self._catch_up(deadline)
            rows = await self._rows(doubtful)
            after = await self._read(doubtful)
            late = time.monotonic() > deadline
            moving: list[str] = []
            for name, row in zip(doubtful, rows, strict=True):
                message = after.get(name)
                places = _places(message)
                certain = caught_up and _version(before.get(name)) == _version(message)
                if places == row:
                    continue
                if not certain and not late:
                    moving.append(name)
                    continue
                domain = message.domain if message else ""
                found.append(
                    Mismatch(id=name, domain=domain, message=_words(places), books=_words(row), certain=certain)
                )
            doubtful = moving
            if doubtful:
                await asyncio.sleep(POLL)
        return found

    async def _read(self, message_ids: Sequence[str]) -> dict[str, Message]:
        found: dict[str, Message] = {}
        for some in chunks(message_ids):
            found |= {message.id: message for message in await self._heads.read(some)}
        return found

    async def _catch_up(self, deadline: float) -> bool:
        """Wait until the view has seen what is in the log now; False when the time is over."""
        with faults():
            last: Any = await self._redis.xrevrange(keys.log(self._partition), count=1)
        end = place_of(last[0][0].decode()) if last else place_of(START)
        while True:
            with faults():
                stored: Any = await self._redis.get(self._prefix + "checkpoint") if self._prefix else None
            if place_of(stored.decode() if stored else START) >= end:
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL)

    async def _rows(self, ids: Sequence[str]) -> list[dict[str, str]]:
        if not self._prefix:
            return [{} for _ in ids]
        found: list[dict[str, str]] = []
        for some in chunks(ids):
            with faults():
                rows: Any = await self._redis.hmget(self._prefix + LIVE, some)
            found += [_decoded(row) for row in rows]
        return found


def _decoded(row: bytes | None) -> dict[str, str]:
    try:
        return decode_row(row).places if row else {}
    except msgspec.DecodeError:
        return {"": "unreadable"}


def _places(message: Message | None) -> dict[str, str]:
    recipients = message.recipients if message else ()
    return {one.address: _PLACES[one.stage] for one in recipients if one.stage in _PLACES}


def _version(message: Message | None) -> int | None:
    return message.version if message else None


def _words(places: Mapping[str, str]) -> dict[str, str]:
    words = {WAITING: "waiting", QUARANTINED: "quarantined"}
    return {address: words.get(place, place) for address, place in places.items()}
