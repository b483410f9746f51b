"""The notices that are still to be told, in Redis: found when they are due, put off, settled into a mail, gone when they were told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from pipeline import keys, lease
from pipeline.alerts.notices import Notice, decode_notice, encode_notice
from pipeline.steps import MS
from pipeline.store import Store, faults

LEASE: Final = 60.0
"""Seconds for which one watcher does the telling; it is renewed before each thing that takes time."""
MOST: Final = 1000
"""Notices of one partition that are looked at in one pass, those first that are due first."""


class Pending:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def lead(self, token: str) -> bool:
        """Whether this process is the one that tells."""
        return await lease.hold(self._store.redis, keys.ALERT_LEASE, token, LEASE)

    async def resign(self, token: str) -> None:
        """Another one may tell at once."""
        await lease.release(self._store.redis, keys.ALERT_LEASE, token)

    async def waiting(self) -> list[Notice]:
        """The notices that are still to be told, in the order in which they came to be."""
        found: list[Notice] = []
        with faults():
            for partition in range(self._store.partitions):
                ids = await self._store.redis.zrange(keys.notices(partition), 0, MOST - 1)
                rows: Any = await self._store.redis.hmget(keys.notice(partition), ids) if ids else []
                found += await self._readable(partition, ids, rows)
        return sorted(found, key=lambda notice: (notice.at, notice.version))

    async def _readable(self, partition: int, ids: Sequence[bytes], rows: Sequence[bytes | None]) -> list[Notice]:
        found = []
        for name, row in zip(ids, rows, strict=True):
            try:
                found.append(decode_notice(row or b""))
            except msgspec.DecodeError:  # of nobody's making: nothing can be told of it
                await self._store.redis.zrem(keys.notices(partition), name)
        return found

    async def put_off(self, notices: Iterable[Notice], until: int) -> None:
        """Not before `until` (ns). They are kept as they are given."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for notice in notices:
                later = msgspec.structs.replace(notice, next=until)
                pipe.hset(keys.notice(notice.partition), notice.id, encode_notice(later))
                pipe.zadd(keys.notices(notice.partition), {notice.id: until // MS}, xx=True)
            await pipe.execute()

    async def done(self, notices: Iterable[Notice]) -> None:
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for notice in notices:
                pipe.hdel(keys.notice(notice.partition), notice.id)
                pipe.hdel(keys.letter(notice.partition), notice.id)
                pipe.zrem(keys.notices(notice.partition), notice.id)
            await pipe.execute()

    # Mail

    async def letters(self, notices: Sequence[Notice]) -> list[str]:
        """The mail that each was settled to be part of, before somebody died; "" for none."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for notice in notices:
                pipe.hget(keys.letter(notice.partition), notice.id)
            answers: Any = await pipe.execute()
        return [answer.decode() if answer else "" for answer in answers]

    async def settle(self, notices: Sequence[Notice], letter: str) -> list[Notice]:
        """From now on they are part of this mail and of no other; those that are."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for notice in notices:
                pipe.hsetnx(keys.letter(notice.partition), notice.id, letter)
            answers: Any = await pipe.execute()
        return [notice for notice, settled in zip(notices, answers, strict=True) if settled]

    async def next_mail(self, address: str, rule: str) -> int:
        """How long (ns) until another mail about alerts of a rule may go to an address."""
        with faults():
            left = await self._store.redis.pttl(keys.alerts_mailed(address, rule))
        return max(0, int(left)) * MS

    async def mailed(self, address: str, rule: str, interval: int) -> None:
        """One went; the next after `interval` (ns)."""
        if interval >= MS:
            with faults():
                await self._store.redis.set(keys.alerts_mailed(address, rule), 1, px=interval // MS)

    # Webhook

    async def webhook(self) -> tuple[int, int]:
        """How often it failed in a row, and until when (ns) it is left alone."""
        with faults():
            tries, until = await self._store.redis.hmget(keys.ALERT_WEBHOOK, ["tries", "until"])
        return int(tries or 0), int(until or 0) * MS

    async def webhook_failed(self, tries: int, until: int) -> None:
        with faults():
            await self._store.redis.hset(keys.ALERT_WEBHOOK, mapping={"tries": tries, "until": until // MS})

    async def webhook_works(self) -> None:
        with faults():
            await self._store.redis.delete(keys.ALERT_WEBHOOK)
