"""From which of our addresses a server is dialled, and where which of them is unwanted.

The choice is the same each time: the first of a route's addresses, in its order, that is not blocked at that server. So a server
that greylists sees the same address again, and mail is back at the preferred address when the block has been forgotten. Where all
are blocked it is the one whose block ends first: when to try at all is the schedule's business, not that of the addresses.
An address is used for servers of its own family only. Without the setting source_addresses the system chooses, and nothing here
costs anything.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.faults import ConfigurationError
from pipeline.settings import Settings
from pipeline.steps import MS
from pipeline.store import Client, faults
from pipeline.units import SourceAddress

KNOWN: Final = 1.0
"""Seconds for which a process believes what it knows of a server: other processes find blocks too."""
SERVERS: Final = 10_000
"""Servers remembered in a process; about 3 MB."""
MAX_WHY: Final = 500
"""Characters of a reply that are kept as the reason of a block."""


class Block(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An address of ours that a server does not want."""

    server: str
    source: str
    since: int
    until: int
    """ns"""
    why: str = ""
    """What the server said."""


class NoSource(Exception):
    """None of the addresses may be used for a server. The text says why."""


def pick(candidates: Sequence[str], blocked: Mapping[str, int], now: int) -> str:
    """Pure: the first that is not blocked (until when: ns), else the one whose block ends first."""
    free = next((source for source in candidates if blocked.get(source, 0) <= now), "")
    return free or min(candidates, key=lambda source: blocked[source], default="")


def check_bindable(sources: Sequence[SourceAddress]) -> None:
    """Whether this machine has these addresses. Raises ConfigurationError."""
    for source in sources:
        family = socket.AF_INET6 if ":" in source.address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.bind((source.address, 0))
        except OSError as error:
            raise ConfigurationError(
                f"source_addresses: {source.address} cannot be used here: {(error.strerror or 'no such address').lower()}",
                remedy="Give the address to this machine, or take it out of the setting.",
            ) from None


class _Known(msgspec.Struct, frozen=True):
    at: float
    blocked: Mapping[str, int]


class Egress:
    """`clock` gives ns since 1970."""

    def __init__(self, redis: Client, settings: Settings, clock: Callable[[], int]) -> None:
        self._redis = redis
        self._clock = clock
        self._memory = int(settings.source_memory)
        self._sources = {source.address: source for source in settings.source_addresses}
        self._known: dict[str, _Known] = {}

    async def choose(self, server: str, address: str, wanted: Sequence[str]) -> SourceAddress | None:
        """Which address to dial `server` from, that is at `address`; None: the system chooses.

        `wanted`: those of the route, empty for all. Raises NoSource, StoreAwayError.
        """
        if not self._sources:
            if wanted:
                raise NoSource("the route asks for source addresses that the setting source_addresses does not have")
            return None
        candidates = self._candidates(address, wanted)
        if not candidates:
            family = "IPv6" if ":" in address else "IPv4"
            raise NoSource(f"none of the route's source addresses is {family} (see the setting source_addresses)")
        known = self._known.get(server)
        if len(candidates) > 1 and (known is None or known.at + KNOWN <= time.monotonic()):
            await self._look(server)
        return self._sources[self._pick(server, candidates)]

    def still(self, server: str, address: str, source: str, wanted: Sequence[str]) -> bool:
        """Whether a connection from `source` would be chosen again, as far as this process knows."""
        if not self._sources:
            return not source and not wanted
        candidates = self._candidates(address, wanted)
        return source in candidates and self._pick(server, candidates) == source

    def others(self, server: str, address: str, wanted: Sequence[str]) -> bool:
        """Whether there is an address that is not known to be blocked at `server`."""
        now, blocked = self._clock(), self._blocked(server)
        return any(blocked.get(source, 0) <= now for source in self._candidates(address, wanted))

    async def block(self, server: str, source: str, why: str) -> None:
        """Remember that `server` does not want `source`. Raises StoreAwayError."""
        now = self._clock()
        block = Block(server=server, source=source, since=now, until=now + self._memory, why=why[:MAX_WHY])
        key, ends = keys.sources(server), block.until // MS
        with faults():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hset(key, source, msgspec.msgpack.encode(block))
            pipe.pexpire(key, max(1, self._memory // MS))
            pipe.zadd(keys.EGRESS, {server: ends})
            pipe.zremrangebyscore(keys.EGRESS, "-inf", now // MS)
            await pipe.execute()
        self._remember(server, {**self._blocked(server), source: block.until})

    async def blocks(self) -> list[Block]:
        """Where which of our addresses is unwanted now, by server. Raises StoreAwayError."""
        now = self._clock()
        with faults():
            servers: Any = await self._redis.zrangebyscore(keys.EGRESS, f"({now // MS}", "+inf")
            found = []
            for server in servers:
                found += await self._read(server.decode("utf-8", "replace"))
        return sorted((block for block in found if block.until > now), key=lambda block: (block.server, block.source))

    async def forgive(self, source: str = "", server: str = "") -> list[Block]:
        """Forget the blocks of a source, at a server, or all of them; which they were. Raises StoreAwayError."""
        chosen = [
            block for block in await self.blocks() if source in ("", block.source) and server in ("", block.server)
        ]
        with faults():
            for block in chosen:
                await self._redis.hdel(keys.sources(block.server), block.source)
        self._known.clear()
        return chosen

    def _candidates(self, address: str, wanted: Sequence[str]) -> list[str]:
        return [
            source for source in wanted or self._sources if source in self._sources and (":" in source) == (":" in address)
        ]  # fmt: skip

    def _pick(self, server: str, candidates: Sequence[str]) -> str:
        return pick(candidates, self._blocked(server), self._clock())

    def _blocked(self, server: str) -> Mapping[str, int]:
        known = self._known.get(server)
        return known.blocked if known is not None else {}

    async def _look(self, server: str) -> None:
        with faults():
            found = await self._read(server)
        self._remember(server, {block.source: block.until for block in found})

    def _remember(self, server: str, blocked: Mapping[str, int]) -> None:
        if len(self._known) >= SERVERS:
            self._known.clear()
        self._known[server] = _Known(time.monotonic(), blocked)

    async def _read(self, server: str) -> list[Block]:
        rows: Any = await self._redis.hgetall(keys.sources(server))
        found = []
        for row in rows.values():
            try:
                found.append(msgspec.msgpack.decode(row, type=Block))
            except msgspec.DecodeError:
                continue
        return found
