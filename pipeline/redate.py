"""Mail that was scheduled by a clock that was ahead, and has been put back since: it is brought back, instead of waiting for so long.

Nothing is scheduled further ahead than the longest retry interval and a lease. What is has a wrong time, however it came by it.
"""

from __future__ import annotations

from typing import Final

from pipeline import keys
from pipeline.clock import Clock, judged
from pipeline.retry import JITTER
from pipeline.settings import Settings
from pipeline.steps import MS
from pipeline.store import Script, Store

DOMAINS: Final = 200
"""Domains looked at in one call: a millisecond of the server's time."""
MESSAGES: Final = 1000
"""Messages of one domain that are brought back in one call; the others follow in the next round."""
MARGIN: Final = 60_000
"""Milliseconds by which the clocks of two machines may differ, and a server's word on when it is to be tried again."""


def latest(now: int, interval: int, lease: int) -> int:
    """The latest time (ms) for which anything may be scheduled. `interval`: the longest there is; all in ns."""
    return (now + interval + interval // JITTER + lease) // MS + MARGIN


class Redate:
    def __init__(self, store: Store, settings: Settings, *, clock: Clock, beyond_memory: bool = False) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._script = Script.named("redate", beyond_memory=beyond_memory)

    async def partition(self, partition: int, interval: int) -> int:
        """How many times of one partition were wrong. `interval`: the longest there is (ns). Raises StoreError."""
        due, changed, start = keys.due(partition), 0, 0
        lease = int(self._settings.lease)
        while True:
            async with judged(self._clock, self._store.redis, self._settings):
                names = await self._store.redis.zrange(due, start, start + DOMAINS - 1)
                if not names:
                    return changed
                now = self._clock()
                times = (now // MS, self._clock.tolerance, latest(now, interval, lease), (now + lease) // MS)
                words = [*times, MESSAGES, f"gp:{{{partition}}}:", *names]
                changed += int(await self._script(self._store.redis, [due], words))
            start += DOMAINS
