"""What differs where the keys are spread over the nodes of a Cluster. With one server there is one of everything."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.topology.connections import Client


def is_spread(redis: Client) -> bool:
    """Whether keys of two partitions may be on two servers."""
    return bool(getattr(redis, "spread", False))


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


async def memory(redis: Client) -> list[Memory]:
    """Of each server that takes writes."""
    found = []
    for master in await masters(redis):
        info: Any = await master.info("memory")
        found.append(Memory(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))))
    return found
