"""What differs where the keys are spread over the nodes of a Cluster. With one server there is one of everything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from redis.exceptions import ConnectionError, TimeoutError  # noqa: A004 - the names are the library's

from pipeline.faults import StoreAwayError
from pipeline.topology.connections import Client


def is_spread(redis: Client) -> bool:
    """Whether keys of two partitions may be on two servers."""
    return bool(getattr(redis, "spread", False))


def replicas_of(redis: Client) -> int:
    """How many replicas must have what is written before it counts."""
    return int(getattr(redis, "replicas", 0))


async def masters(redis: Client) -> list[Client]:
    """A client for each server that takes writes."""
    return list(await redis.masters()) if is_spread(redis) else [redis]


async def master_of(redis: Client, key: str) -> Client:
    """A client for the server that has a key."""
    return await redis.node_of(key) if is_spread(redis) else redis


async def time_ms(redis: Client, key: str) -> int:
    """The clock of the server that has a key."""
    seconds, micros = await (await master_of(redis, key)).time()
    return int(seconds) * 1000 + int(micros) // 1000


class Memory(msgspec.Struct, frozen=True):
    """Of one server; `most` 0: it has no limit."""

    used: int
    most: int

    @property
    def part(self) -> float:
        """That is used; 0 without a limit."""
        return self.used / self.most if self.most else 0.0


async def memory(redis: Client) -> list[Memory]:
    """Of each server that takes writes, and answers. Raises what the client raises when none does."""
    found: list[Memory] = []
    away: Exception | None = None
    for master in await masters(redis):
        try:
            info: Any = await master.info("memory")
        except (ConnectionError, TimeoutError, OSError) as error:
            away = error
            continue
        found.append(Memory(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))))
    if away is not None and not found:
        raise away
    return found


async def each(redis: Client, partitions: int, do: Callable[[int], Awaitable[int]]) -> int:
    """Do something to each partition, in turn; the sum. In a Cluster a node that is away keeps nobody from the partitions of the others: what
    it raised is raised at the end.
    """
    done, away = 0, None
    for partition in range(partitions):
        try:
            done += await do(partition)
        except StoreAwayError as fault:
            if not is_spread(redis):
                raise
            away = fault
    if away is not None:
        raise away
    return done
