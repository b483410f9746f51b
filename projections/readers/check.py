"""Whether the books agree with the messages that are really there, id by id.

The view follows the log by a moment, and mail moves on meanwhile, so a difference at first sight means nothing. Each one is
looked at again until it is certain: the message is read, the view awaited until it has seen all that had happened by then, its
row read, and the message once more. Only if that has not moved in between is the row bound to be the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

import msgspec

from pipeline import keys
from pipeline.state import Message, Stage
from pipeline.store import Client, faults
from projections.base import START
from projections.books import LIVE, NAME, QUARANTINED, WAITING, decode_row
from projections.builds import live_prefixes
from projections.compare import order
from projections.readers.common import CHUNK, text

_PLACES: Final = {
    Stage.RECEIVED: WAITING,
    Stage.SCANNED: WAITING,
    Stage.QUEUED: WAITING,
    Stage.HELD: WAITING,
    Stage.QUARANTINED: QUARANTINED,
}
POLL: Final = 0.05


class Heads(Protocol):
    """The live messages, as workers see them."""

    def live(self, partition: int) -> AsyncIterator[Message]: ...

    async def load(self, message_id: str) -> Message | None:
        """None when it is finished."""


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
        check = _Check(redis, heads, partition, deadline)
        for message_id in await check.doubtful():
            mismatch = await check.settle(message_id)
            if mismatch is not None:
                found.append(mismatch)
    return found


class _Check:
    def __init__(self, redis: Client, heads: Heads, partition: int, deadline: float) -> None:
        self._redis = redis
        self._heads = heads
        self._partition = partition
        self._deadline = deadline
        self._prefix = ""

    async def doubtful(self) -> list[str]:
        """Ids where message and books differ at first sight."""
        prefixes = await live_prefixes(self._redis, [self._partition], NAME)
        self._prefix = prefixes.get(self._partition, "")
        doubtful: list[str] = []
        seen: set[str] = set()
        some: list[Message] = []
        async for message in self._heads.live(self._partition):
            seen.add(message.id)
            some.append(message)
            if len(some) == CHUNK:
                doubtful += await self._differing(some)
                some = []
        doubtful += await self._differing(some)
        if self._prefix:
            with faults():
                async for name, _ in self._redis.hscan_iter(self._prefix + LIVE, count=CHUNK):
                    if text(name) not in seen:
                        doubtful.append(text(name))
        return doubtful

    async def _differing(self, messages: list[Message]) -> list[str]:
        if not messages:
            return []
        rows = await self._rows([message.id for message in messages])
        return [message.id for message, row in zip(messages, rows, strict=True) if _places(message) != row]

    async def settle(self, message_id: str) -> Mismatch | None:
        while True:
            before = await self._heads.load(message_id)
            caught_up = await self._catch_up()
            (row,) = await self._rows([message_id])
            after = await self._heads.load(message_id)
            places = _places(after)
            if places == row:
                return None
            certain = caught_up and _version(before) == _version(after)
            if certain or time.monotonic() > self._deadline:
                domain = after.domain if after else ""
                return Mismatch(
                    id=message_id, domain=domain, message=_words(places), books=_words(row), certain=certain
                )
            await asyncio.sleep(POLL)

    async def _catch_up(self) -> bool:
        """Wait until the view has seen what is in the log now; False when the time is over."""
        with faults():
            last: Any = await self._redis.xrevrange(keys.log(self._partition), count=1)
        end = order(last[0][0].decode()) if last else order(START)
        while True:
            with faults():
                stored: Any = await self._redis.get(self._prefix + "checkpoint") if self._prefix else None
            if order(stored.decode() if stored else START) >= end:
                return True
            if time.monotonic() > self._deadline:
                return False
            await asyncio.sleep(POLL)

    async def _rows(self, ids: list[str]) -> list[dict[str, str]]:
        if not self._prefix:
            return [{} for _ in ids]
        with faults():
            rows: Any = await self._redis.hmget(self._prefix + LIVE, ids)
        return [_decoded(row) for row in rows]


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
