"""Servers that no connection came about to, and who waits for them: so that mail flows the moment their port answers again.

Only for those. A server that lets us in and then has no use for us (a greeting with 4xx, a refusal, silence) is left alone until the domain's
next attempt: looking at its port says nothing, and would be a connection more per interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from pipeline import keys, lease
from pipeline.events import Attempt
from pipeline.steps import MS
from pipeline.store import Store, faults

LEASE: Final = 5.0
"""Seconds for which one worker does the looking; it is renewed with each round."""
AT_ONCE: Final = 500
"""Servers looked at in one round, and domains made due in one call."""


class Watched(msgspec.Struct, frozen=True, array_like=True):
    """One address that did not answer."""

    server: str
    address: str
    source: str = ""
    """Our address that it was dialled from; empty: the system's choice."""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Watched).decode


def is_watched(attempt: Attempt) -> bool:
    """Whether no connection came about."""
    return attempt.stage == "connect" and not attempt.code


class Watchlist:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, partition: int, domain: str, attempts: Iterable[Attempt], now: int, until: int) -> None:
        """A domain waits until `until` (ns) because of `attempts`. One without an address was made by another domain, and is watched."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for attempt in filter(is_watched, attempts):
                waiting = keys.watch_waiting(attempt.server)
                pipe.sadd(waiting, f"{partition} {domain}")
                pipe.pexpire(waiting, max(1, (until - now) // MS))
                if attempt.address:
                    pipe.zadd(
                        keys.WATCHED,
                        {_encode(Watched(attempt.server, attempt.address, attempt.source)): until // MS},
                    )
            await pipe.execute()

    async def lead(self, token: str) -> bool:
        """Whether this worker is the one that looks."""
        return await lease.hold(self._store.redis, keys.WATCH_LEASE, token, LEASE)

    async def watched(self, now: int) -> list[Watched]:
        """What is to be looked at, those whose domains are due soon first; what is over is forgotten."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            pipe.zremrangebyscore(keys.WATCHED, "-inf", now // MS)
            pipe.zrange(keys.WATCHED, 0, AT_ONCE - 1)
            _, rows = await pipe.execute()
        return [_decode(row) for row in rows]

    async def forget(self, one: Watched) -> None:
        with faults():
            await self._store.redis.zrem(keys.WATCHED, _encode(one))

    async def may_wake(self, server: str, interval: int) -> bool:
        """Whether who waits for a server may be made due because its port answers: once per `interval` (ns), unless it worked since.

        A port that answers and a connection that then does not come about, again and again, is an overloaded server.
        """
        with faults():
            return bool(await self._store.redis.set(keys.watch_woken(server), 1, nx=True, px=max(1, interval // MS)))

    async def works(self, server: str) -> None:
        """It takes mail again: should it go away once more, the next time that its port answers counts."""
        with faults():
            await self._store.redis.delete(keys.watch_woken(server))

    async def waiting(self, server: str) -> list[tuple[int, str]]:
        """(partition, domain) of who waits for a server; they are forgotten."""
        found: list[tuple[int, str]] = []
        with faults():
            while rows := await self._store.redis.spop(keys.watch_waiting(server), AT_ONCE):
                for row in rows:
                    partition, _, domain = row.decode().partition(" ")
                    found.append((int(partition), domain))
        return found
