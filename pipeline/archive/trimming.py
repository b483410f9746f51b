"""Taking out of Redis what is archived: how much, which is decided here, and doing it, which is `trim.lua`'s."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from redis.exceptions import NoPermissionError, ResponseError

from pipeline import keys
from pipeline.places import HOUR_MS, place_of
from pipeline.store import Client, Script, faults
from pipeline.topology.spread import memory

AT_ONCE: Final = 5_000
"""Entries taken out in one call: measured, some 3 ms of the server's time."""
SAMPLES: Final = 50
"""Of a stream's nodes, from which Redis estimates how much memory all of them use."""
_trim = Script.named("trim", beyond_memory=True)


class Space(msgspec.Struct, frozen=True):
    """What the logs use of Redis's memory, and what they may use (0: as much as they like)."""

    used: int
    allowed: int


async def space(redis: Client, partitions: range, allowed: int) -> Space:
    """`allowed`: octets; 0: half of what Redis may use in all. A Redis that does not let us ask sets no bound."""
    with faults():
        try:
            pipe = redis.pipeline(transaction=False)
            for partition in partitions:
                pipe.memory_usage(keys.log(partition), samples=SAMPLES)
            used = sum(answer or 0 for answer in await pipe.execute())
            if not allowed:
                allowed = sum(one.most for one in await memory(redis)) // 2
        except (NoPermissionError, ResponseError):
            return Space(0, 0)
    return Space(used, allowed)


def wanted(now: int, hot: int, first: int, room: Space) -> int:
    """The millisecond that a log is to begin with, as far as that is allowed. `first`: of its first entry; `hot`: how long an entry
    stays (ms).

    With too little room it is sooner: so much as would bring the logs to nine tenths of what they may use, if all hours were alike.
    What was too little is seen the next time.
    """
    begin = now - hot
    if room.allowed and room.used > room.allowed:
        part = 1 - room.allowed * 9 // 10 / room.used
        begin = max(begin, int(first + (now - first) * part) + HOUR_MS - 1)
    return max(0, min(begin, now)) // HOUR_MS * HOUR_MS


async def oldest(redis: Client, partition: int) -> int:
    """The millisecond of a log's first entry; 0 when it is empty."""
    with faults():
        found: Any = await redis.xrange(keys.log(partition), count=1)
    return place_of(found[0][0].decode())[0] if found else 0


async def trim(redis: Client, partition: int, begin: int) -> tuple[int, int]:
    """Take the hours before `begin` (ms) out of a partition's log, as far as they are not needed there; where it begins now, and
    how many entries were taken out. In pieces, so that nobody waits for long.
    """
    taken = 0
    while True:
        with faults():
            floor, removed = await _trim(
                redis,
                [
                    keys.archive(partition),
                    keys.log(partition),
                    keys.builds(partition),
                    keys.outbox(partition),
                ],
                [begin, keys.views(partition), AT_ONCE],
            )
        taken += removed
        if removed < AT_ONCE // 2:
            return floor, taken
