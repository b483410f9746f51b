"""The books, checked all the time: twice a minute the sums of every domain, and message by message in small pieces without end.

The walk looks at a few hundred messages at a time, several times a second: a million that wait are walked through in some ten
minutes, at a twentieth of a core, and nobody waits for it. Mail of the last minute is left out, because it moves while it is looked
at; what is stuck is a minute old soon. With the sums it is counted how much came and was delivered: projections/readers/rates.py.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from pipeline import keys, lease
from pipeline.ids import born, is_id
from pipeline.state import Message
from pipeline.store import faults
from projections.base import OWN
from projections.books import LIVE
from projections.readers.books import BooksReport, read_books
from projections.readers.books_check import NAMED, BooksCheck, Unbalanced, last_check
from projections.readers.check import Comparison, Mismatch
from projections.readers.queue import waiting_messages
from projections.readers.rates import DOMAINS_KEPT, TOTALS_KEPT, Counted, Total
from workers.wiring import Wiring

COUNT_EVERY: Final = 30.0
WALK_EVERY: Final = 0.2
PIECE: Final = 500
"""Messages looked at in one go: 2,500 a second at most."""
REST: Final = 60.0
"""Seconds from the beginning of a walk to that of the next, at least."""
YOUNG_MS: Final = 60_000
PATIENCE: Final = 2.0
"""Seconds for those of a piece that are in doubt; who still moves then is looked at on the next walk."""
LEASE: Final = 10.0
"""Seconds after which another watcher goes on when this one is dead."""
RENEW: Final = 3.0
MS: Final = 1_000_000

_encode: Final = msgspec.msgpack.Encoder().encode


class _Heads:
    """The live messages; the walk finds their ids itself."""

    def __init__(self, wiring: Wiring, partition: int) -> None:
        self._wiring = wiring
        self._partition = partition

    async def read(self, message_ids: Sequence[str]) -> list[Message]:
        if not message_ids:
            return []
        heads = await self._wiring.schedule.heads(self._partition, list(message_ids))
        return [message for message in heads if message is not None and message.live]


class Bookkeeper:
    """One per watcher; of several only one works at a time."""

    def __init__(self, wiring: Wiring, *, piece: int = PIECE, rest: float = REST) -> None:
        self._wiring = wiring
        self._redis = wiring.store.redis
        self._piece = piece
        self._rest = rest
        self._token = secrets.token_hex(8)
        self._renewed = float("-inf")
        self._check: BooksCheck | None = None
        """What is known; None until it was read what another watcher knew."""
        self._counted: tuple[int, dict[str, tuple[int, int]]] | None = None
        """When, and domain -> messages received and delivered, ever."""
        self._pieces: AsyncIterator[None] | None = None
        self._begin_at = float("-inf")

    async def count(self) -> int:
        """Look at the sums of all domains, and take down how much came and went."""
        if not await self._mine():
            return 0
        report = await read_books(self._redis, self._wiring.store.partitions)
        now = self._wiring.clock()
        wrong = [one for one in report.domains if not one.balanced]
        await self._note(
            at=now,
            unbalanced=tuple(
                Unbalanced(domain=one.domain, difference=one.difference, odd=one.odd) for one in wrong[:NAMED]
            ),
            unbalanced_count=len(wrong),
        )
        await self._take_down(report, now)
        return 0

    async def walk(self) -> int:
        """Look at the next few messages."""
        if self._pieces is None and time.monotonic() < self._begin_at:
            return 0
        if not await self._mine():
            return 0
        if self._pieces is None:
            self._begin_at = time.monotonic() + self._rest
            self._pieces = self._walk()
        try:
            if await anext(self._pieces, self) is self:
                self._pieces = None
        except BaseException:
            self._pieces = None  # an iterator that failed is over: the next walk begins from the start
            raise
        return 0

    async def _mine(self) -> bool:
        now = time.monotonic()
        if now - self._renewed >= RENEW:
            if not await lease.hold(self._redis, keys.BOOKS_LEASE, self._token, LEASE):
                self._pieces, self._check, self._counted = None, None, None
                return False
            self._renewed = now
        return True

    async def _note(self, **changes: Any) -> None:
        before = self._check or await last_check(self._redis) or BooksCheck(at=0)
        self._check = msgspec.structs.replace(before, **changes)
        with faults():
            await self._redis.set(keys.BOOKS_CHECK, _encode(self._check))

    async def _take_down(self, report: BooksReport, now: int) -> None:
        counts = {one.domain: (one.messages, one.deliveries) for one in report.domains}
        at, before = self._counted or (now, counts)
        moved: dict[str, tuple[int, int]] = {}
        for domain, (arrived, delivered) in counts.items():
            earlier = before.get(domain, (0, 0))
            added = max(0, arrived - earlier[0]), max(0, delivered - earlier[1])  # less after the view was rebuilt
            if any(added):
                moved[domain] = added
        self._counted = now, counts
        waiting = await waiting_messages(self._redis, self._wiring.store.partitions)
        total = Total(
            now, waiting, now - at, sum(one[0] for one in moved.values()), sum(one[1] for one in moved.values())
        )
        moved.pop(OWN, None)
        with faults():
            pipe = self._redis.pipeline(transaction=False)
            pipe.lpush(keys.BOOKS_TOTALS, _encode(total))
            pipe.ltrim(keys.BOOKS_TOTALS, 0, TOTALS_KEPT - 1)
            pipe.lpush(keys.BOOKS_DOMAINS, _encode(Counted(now, now - at, moved)))
            pipe.ltrim(keys.BOOKS_DOMAINS, 0, DOMAINS_KEPT - 1)
            await pipe.execute()

    # Walking

    async def _walk(self) -> AsyncIterator[None]:
        """All messages, then all rows of the books: one piece between two yields."""
        began = self._wiring.clock()
        looked = count = 0
        named: list[Mismatch] = []
        for partition in range(self._wiring.store.partitions):
            comparison = Comparison(self._redis, _Heads(self._wiring, partition), partition)
            if not await comparison.open():
                continue
            async for number, found in _both(self._messages(comparison, partition), self._rows(comparison, partition)):
                looked += number
                count += len(found)
                named += found[: NAMED - len(named)]
                if found:
                    await self._found(named, count)
                yield
        took = self._wiring.clock() - began
        await self._note(
            walked_at=began + took, walk_took=took, messages=looked, mismatches=tuple(named), mismatch_count=count
        )

    async def _found(self, named: Sequence[Mismatch], count: int) -> None:
        """Said at once; those of the last walk stay until this one is over."""
        before = self._check or await last_check(self._redis) or BooksCheck(at=0)
        known = {one.id: one for one in (*named, *before.mismatches)}
        await self._note(
            mismatches=tuple(list(known.values())[:NAMED]),
            mismatch_count=max(before.mismatch_count, count, min(len(known), NAMED)),
        )

    async def _messages(self, comparison: Comparison, partition: int) -> AsyncIterator[tuple[int, list[Mismatch]]]:
        heads = _Heads(self._wiring, partition)
        cursor = 0
        while True:
            with faults():
                page: Any = await self._redis.zscan(keys.expiry(partition), cursor, count=self._piece)
            cursor, rows = page
            messages = await heads.read([name.decode() for name, _ in rows if self._old(name.decode())])
            yield len(messages), await self._certain(comparison, await comparison.differing(messages))
            if not cursor:
                return

    async def _rows(self, comparison: Comparison, partition: int) -> AsyncIterator[tuple[int, list[Mismatch]]]:
        """Rows of messages that are not there."""
        cursor = 0
        while prefix := await comparison.open():  # it may have been replaced
            with faults():
                page: Any = await self._redis.hscan(prefix + LIVE, cursor, count=self._piece)
                cursor, rows = page
                names = [name for name in map(bytes.decode, rows) if self._old(name)]
                scores: Any = await self._redis.zmscore(keys.expiry(partition), names) if names else []
            gone = [name for name, score in zip(names, scores, strict=True) if score is None]
            yield 0, await self._certain(comparison, gone)
            if not cursor:
                return

    def _old(self, name: str) -> bool:
        return is_id(name) and born(name) < self._wiring.clock() // MS - YOUNG_MS

    async def _certain(self, comparison: Comparison, doubtful: Sequence[str]) -> list[Mismatch]:
        settled = await comparison.settle(doubtful, time.monotonic() + PATIENCE)
        return [one for one in settled if one.certain]


async def _both(*some: AsyncIterator[tuple[int, list[Mismatch]]]) -> AsyncIterator[tuple[int, list[Mismatch]]]:
    for pieces in some:
        async for piece in pieces:
            yield piece
