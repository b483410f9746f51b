"""Which builds of the views there are, how far they are and how much they take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.places import place_of
from pipeline.store import Client, faults
from projections.base import History, Projection
from projections.builds import builds_key
from projections.readers.health import read_health

SAMPLES: Final = 500
"""Keys of a view in one partition whose memory is looked at; what all take is computed from these."""
_NESTED: Final = 50


class ViewSize(msgspec.Struct, frozen=True, kw_only=True):
    view: str
    version: str
    """Of the live build; empty when there is none yet."""
    growing: str
    """Version of one that grows to take its place; empty when none does."""
    keys: int
    octets: int
    """Of Redis's memory, about."""
    newest: int
    """When the newest event that is in the view was appended (ns); 0 when there is none."""
    behind: int
    """ns; the partition that is furthest behind counts."""
    damaged: int
    broken: int
    checkpoints: tuple[str, ...]
    """Of each partition."""


async def read_sizes(
    redis: Client, history: History, partitions: int, views: Iterable[Projection], now: int
) -> list[ViewSize]:
    """`now`: ns."""
    return [await _size(redis, history, partitions, view, now) for view in views]


async def _size(redis: Client, history: History, partitions: int, view: Projection, now: int) -> ViewSize:
    health = await read_health(redis, history, partitions, [view.name], now)
    builds = await _builds(redis, partitions, view)
    count = octets = 0
    for partition in range(partitions):
        live = builds["live"].get(partition)
        if live is not None:
            found, taken = await _taken(redis, keys.view(partition, view.name, int(live.partition(" ")[0])))
            count += found
            octets += taken
    return ViewSize(
        view=view.name,
        version=_versions(builds["live"].values()),
        growing=_versions(builds["next"].values()),
        keys=count,
        octets=octets,
        newest=max((place_of(one.checkpoint)[0] for one in health), default=0) * 1_000_000,
        behind=max((one.behind for one in health), default=0),
        damaged=sum(one.damaged for one in health),
        broken=sum(one.broken for one in health),
        checkpoints=tuple(one.checkpoint for one in health),
    )


async def _builds(redis: Client, partitions: int, view: Projection) -> dict[str, dict[int, str]]:
    """Live and next: partition -> "<build> <version>"."""
    with faults():
        pipe = redis.pipeline(transaction=False)
        for partition in range(partitions):
            pipe.hmget(builds_key(partition), [f"live:{view.name}", f"next:{view.name}"])
        answers: Any = await pipe.execute()
    return {
        name: {partition: pair[place].decode() for partition, pair in enumerate(answers) if pair[place]}
        for place, name in enumerate(("live", "next"))
    }


def _versions(stored: Iterable[str]) -> str:
    return ", ".join(sorted({one.partition(" ")[2] for one in stored}))


async def _taken(redis: Client, prefix: str) -> tuple[int, int]:
    """How many keys a build has, and about how many octets they take."""
    with faults():
        count: Any = await redis.scard(prefix + "keys")
        some: Any = await redis.srandmember(prefix + "keys", SAMPLES) if count else []
        pipe = redis.pipeline(transaction=False)
        for name in some:
            pipe.memory_usage(prefix + name.decode(), samples=_NESTED)
        taken: Any = await pipe.execute() if some else []
    return count, sum(one or 0 for one in taken) * count // max(1, len(some))
