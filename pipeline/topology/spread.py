"""What differs where the keys are spread over the nodes of a Cluster. With one server there is one of everything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.pause import end
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
    """Of each server that takes writes."""
    found = []
    for master in await masters(redis):
        info: Any = await master.info("memory")
        found.append(Memory(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))))
    return found


class Growth:
    """Waits until one of several streams grows, where one read cannot ask for all of them. What it asked for goes on between two waits."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._asked: dict[str, asyncio.Task[bool]] = {}

    async def wait(self, fronts: Mapping[str, str], block: int) -> bool:
        """Whether a stream has an entry behind the one given; after at most `block` ms. Raises what the client raises."""
        await end([self._asked.pop(name) for name in list(self._asked) if name not in fronts])
        for name, front in fronts.items():
            if name not in self._asked:
                self._asked[name] = asyncio.create_task(self._grown(name, front, block))
        await asyncio.wait(self._asked.values(), return_when=asyncio.FIRST_COMPLETED)
        done = [self._asked.pop(name) for name in list(self._asked) if self._asked[name].done()]
        failed = [error for task in done if (error := task.exception()) is not None]
        if failed:
            raise failed[0]
        return any(task.result() for task in done)

    async def _grown(self, name: str, front: str, block: int) -> bool:
        return bool(await self._redis.xread({name: front}, count=1, block=block))

    async def close(self) -> None:
        await end(list(self._asked.values()))
        self._asked.clear()
