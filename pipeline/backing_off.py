"""Domains that nothing leaves for just now: their servers were found away, or they are held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline import keys
from pipeline.store import Client, faults

ALL: Final = -1


async def backing_off(
    redis: Client, partitions: Sequence[int], now: int, most: int = ALL
) -> list[list[tuple[str, bool]]]:
    """For each partition its domains that are not to be tried before a time later than `now` (ms), and whether an attempt has failed: if
    none has, somebody may have put them on hold. `most`: so many of each partition are looked at.
    """
    with faults():
        pipe = redis.pipeline(transaction=False)
        for partition in partitions:
            pipe.zrangebyscore(keys.due(partition), f"({now}", "+inf", start=0, num=most)
        later = [[name.decode() for name in names] for names in await pipe.execute()]
        pipe = redis.pipeline(transaction=False)
        for partition, names in zip(partitions, later, strict=True):
            for name in names:
                pipe.hmget(keys.route(partition, name), ["until", "m"])
        routes = iter(await pipe.execute() if any(later) else ())
    found = [[(name, *next(routes)) for name in names] for names in later]
    return [[(name, bool(failed)) for name, until, failed in names if until] for names in found]
