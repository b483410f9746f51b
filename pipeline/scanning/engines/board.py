"""Where every process writes down how its engines are, so that anybody can see all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline import keys
from pipeline.scanning.engines.health import Health
from pipeline.steps import MS
from pipeline.store import Store, faults

LEASE_MS: Final = 10_000
"""What was not renewed for so long is of a process that is no more."""
MOST: Final = 1000
"""Processes that are read."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[Health, ...]).decode


class Board:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def report(self, process: str, healths: Sequence[Health], now: int) -> None:
        """`now` in ns."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            pipe.set(keys.engines_of(process), _encode(tuple(healths)), px=LEASE_MS)
            pipe.zadd(keys.ENGINES, {process: now // MS})
            pipe.zremrangebyscore(keys.ENGINES, "-inf", now // MS - LEASE_MS)
            await pipe.execute()

    async def forget(self, process: str) -> None:
        """The process ends."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            pipe.delete(keys.engines_of(process))
            pipe.zrem(keys.ENGINES, process)
            await pipe.execute()

    async def read(self) -> list[tuple[Health, ...]]:
        """What each process that lives wrote last."""
        with faults():
            names = await self._store.redis.zrange(keys.ENGINES, 0, MOST - 1)
            pipe = self._store.redis.pipeline(transaction=False)
            for name in names:
                pipe.get(keys.engines_of(name.decode()))
            rows = await pipe.execute()
        found = []
        for row in rows:
            if row is not None:
                try:
                    found.append(_decode(row))
                except msgspec.DecodeError:  # of another version
                    continue
        return found
