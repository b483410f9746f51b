"""Domains that nothing leaves for just now: their servers were found away, or they are held."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from pipeline import keys
from pipeline.store import Client, faults

PORTION: Final = 500
"""Domains of a partition that are looked at in one round trip, where all are."""


async def backing_off(redis: Client, partitions: Sequence[int], now: int, most: int) -> list[list[tuple[str, bool]]]:
    """For each partition its domains that are not to be tried before a time later than `now` (ms), and whether an attempt has failed: if
    none has, somebody may have put them on hold. `most`: so many of each partition are looked at.
    """
    return [found for _, found in await _look(redis, partitions, now, most, 0)]


async def each_backing_off(redis: Client, partition: int, now: int) -> AsyncIterator[list[tuple[str, bool]]]:
    """As `backing_off`, all domains of a partition, however many: some hundred at a time."""
    start, looked = 0, PORTION
    while looked == PORTION:
        ((looked, found),) = await _look(redis, [partition], now, PORTION, start)
        start += looked
        yield found


async def _look(
    redis: Client, partitions: Sequence[int], now: int, most: int, start: int
) -> list[tuple[int, list[tuple[str, bool]]]]:
    """Of each partition how many were looked at, and those that back off."""
    with faults():
        pipe = redis.pipeline(transaction=False)
        for partition in partitions:
            pipe.zrangebyscore(keys.due(partition), f"({now}", "+inf", start=start, num=most)
        later = [[name.decode() for name in names] for names in await pipe.execute()]
        pipe = redis.pipeline(transaction=False)
        for partition, names in zip(partitions, later, strict=True):
            for name in names:
                pipe.hmget(keys.route(partition, name), ["until", "m"])
        routes = iter(await pipe.execute() if any(later) else ())
    found = [[(name, *next(routes)) for name in names] for names in later]
    return [(len(names), [(name, bool(failed)) for name, until, failed in names if until]) for names in found]
