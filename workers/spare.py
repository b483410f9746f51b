"""Giving memory of the embedded Redis back to the system when it has not been used for a while.

Mail in motion comes and goes through the server's memory, and what is freed stays with its allocator for what comes next. That is right
while mail flows. After a burst whose bodies went to the disk it is two thirds of all that the server takes. The server that is installed
with us has the C library's allocator, which gives whole free pages back when it is asked to; and what asks is the clearing of the
server's functions, of which there are none here. (jemalloc gives back by itself, and is left alone.)

It takes the server some 30 ms for 100 MiB, in which it does nothing else: so only for what has lain about since the last look.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipeline.store import Client, faults

SPARE_EVERY: Final = 10.0
WORTH: Final = 16 << 20
"""Octets for which it is done."""
ASKED: Final = "libc"
"""The allocator that gives nothing back by itself, as Redis calls it."""


class Spare:
    """Of one server, which nobody else uses."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._before = 0
        """What was spare at the last look."""
        self._stays = 0
        """What was spare after the last time: free pieces between others, smaller than a page."""
        self._asked = False

    async def give_back(self) -> int:
        """Whether there was something to give back, 0 or 1."""
        spare = await self._look()
        if self._asked:
            self._stays, self._asked = spare, False
        self._stays = min(self._stays, spare)
        unused, self._before = min(spare, self._before), spare
        if unused - self._stays < WORTH:
            return 0
        with faults():
            await self._redis.execute_command("FUNCTION", "FLUSH", "SYNC")
        self._asked = True
        return 1

    async def _look(self) -> int:
        with faults():
            return spare_of(await self._redis.info("memory"))


def spare_of(memory: Mapping[str, Any]) -> int:
    """Octets that a server has and does not use, of its INFO; 0 for one that needs not be asked."""
    if memory["mem_allocator"] != ASKED:
        return 0
    return max(0, int(memory["used_memory_rss"]) - int(memory["used_memory"]))
