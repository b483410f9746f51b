"""Taking out of Redis what is archived: how much, which is decided here, and doing it, which is `trim.lua`'s."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from redis.exceptions import NoPermissionError, ResponseError

from pipeline import keys
from pipeline.places import HOUR_MS, place_of
from pipeline.store import Client, Script, faults
from pipeline.topology.spread import memory

KEPT_MS: Final = 60_000
"""What is younger stays, however short memory is: a step whose reply was lost is looked for at the end of the log, by a receiver
for `intake.PATIENCE` and the time in which a connection is noticed to be dead.
"""
MARK: Final = 8
"""Tenths of its memory from which on Redis is short of room, whatever uses it: at nine new mail is refused (`workers/pressure.py`)."""
TIGHT: Final = 3
"""Quarters of what the logs may use from which on what they hold is sealed ahead: with a machine that is busy that takes its time."""
LITTLE: Final = 4
"""A log that uses less than this part of what it would if all were alike is little."""
AT_ONCE: Final = 5_000
"""Entries taken out in one call: measured, some 3 ms of the server's time."""
SAMPLES: Final = 50
"""Of a stream's nodes, from which Redis estimates how much memory all of them use."""
_trim = Script.named("trim", beyond_memory=True)


class Space(msgspec.Struct, frozen=True):
    """What the logs use of Redis's memory, and what they may use."""

    logs: Mapping[int, int]
    """By partition."""
    allowed: int

    @property
    def used(self) -> int:
        return sum(self.logs.values())

    @property
    def short(self) -> bool:
        """History has to leave."""
        return self.used > self.allowed

    @property
    def tight(self) -> bool:
        """It soon will have to, and has to be sealed before."""
        return self.used > self.allowed * TIGHT // 4

    def counts(self, partition: int) -> bool:
        """Whether it would help to take something out of this log. Logs with little in them stay: they would be sealed in tiny pieces."""
        return self.logs.get(partition, 0) * len(self.logs) * LITTLE >= self.used


AMPLE: Final = Space({}, 0)


async def space(redis: Client, partitions: range, allowed: int) -> Space:
    """`allowed`: octets; 0: half of what Redis may use in all. A Redis that does not let us ask sets no bound."""
    with faults():
        try:
            servers = await memory(redis)
            most, all_used = sum(one.most for one in servers), sum(one.used for one in servers)
            allowed = allowed or most // 2
            if not allowed or all_used <= min(allowed, most * MARK // 10 or allowed) * TIGHT // 4:
                return AMPLE
            pipe = redis.pipeline(transaction=False)
            for partition in partitions:
                pipe.memory_usage(keys.log(partition), samples=SAMPLES)
            logs = {number: answer or 0 for number, answer in zip(partitions, await pipe.execute(), strict=True)}
        except (NoPermissionError, ResponseError):
            return AMPLE
    return Space(logs, may_use(sum(logs.values()), allowed, all_used, most))


def may_use(used: int, allowed: int, all_used: int, most: int) -> int:
    """What the logs may use: what they are allowed, and no more than leaves `MARK` tenths to all that is in Redis (`most` 0: it has no bound)."""
    return min(allowed, max(0, most * MARK // 10 - (all_used - used))) if most else allowed


def wanted(now: int, hot: int, first: int, room: Space = AMPLE) -> int:
    """The millisecond that a log is to begin with, as far as that is allowed. `first`: of its first entry; `hot`: how long an entry
    stays (ms), to the hour.

    With too little room it is sooner, and anywhere: so much as would bring the logs to nine tenths of what they may use, if all minutes
    were alike. What was too little is seen the next time.
    """
    begin = max(0, min(now - hot, now)) // HOUR_MS * HOUR_MS
    if room.short:
        part = 1 - room.allowed * 9 // 10 / room.used
        begin = max(begin, min(first + math.ceil((now - first) * part), now - KEPT_MS))
    return begin


async def oldest(redis: Client, partition: int) -> int:
    """The millisecond of a log's first entry; 0 when it is empty."""
    with faults():
        found: Any = await redis.xrange(keys.log(partition), count=1)
    return place_of(found[0][0].decode())[0] if found else 0


async def trim(redis: Client, partition: int, begin: int, unit: int = HOUR_MS) -> tuple[int, int]:
    """Take what is before `begin` (ms) out of a partition's log, as far as it is not needed there; where it begins now, a multiple of
    `unit`, and how many entries were taken out. In pieces, so that nobody waits for long.
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
                [begin, keys.views(partition), AT_ONCE, unit],
            )
        taken += removed
        if removed < AT_ONCE // 2:
            return floor, taken
