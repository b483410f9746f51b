"""Whether this machine's clock is together with the others': leases that one of them took are judged by the clocks of all.

A holder stops by itself a quarter of the lease before its end (`workers/deliverer/slot.py`), so two clocks may differ by a quarter. Each
is compared with Redis's, so each may be off by half of that. One that is off by more is put right in the worker: it goes by Redis's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pipeline.settings import Settings
from pipeline.store import Client, faults
from pipeline.units import SECOND

PART: Final = 8
"""Of the lease: how far a clock may be from Redis's."""


class Clock:
    """Calls give ns since 1970."""

    __slots__ = ("_own", "correction")

    def __init__(self, own: Callable[[], int]) -> None:
        self._own = own
        self.correction = 0
        """ns that this machine's clock lacks."""

    def __call__(self) -> int:
        return self._own() + self.correction


async def put_right(clock: Clock, redis: Client, settings: Settings) -> float:
    """Seconds by which it was ahead (negative: behind) until now; 0 when there was nothing to correct. Raises StoreError."""
    ahead = await difference(redis, settings, clock)
    clock.correction -= round(ahead * SECOND)
    return ahead


async def difference(redis: Client, settings: Settings, clock: Callable[[], int]) -> float:
    """Seconds by which this machine's clock surely is ahead (negative: behind) of Redis's; 0 as long as it does no harm.

    Raises StoreError.
    """
    with faults():
        before = clock()
        seconds, microseconds = await redis.time()
        after = clock()
    ahead = ((before + after) / 2 - seconds * SECOND - microseconds * 1000) / SECOND
    unsure = (after - before) / 2 / SECOND
    return ahead if abs(ahead) - unsure > settings.lease.seconds / PART else 0.0


def in_words(ahead: float) -> str:
    return f"the clock of this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} Redis's"


REMEDY: Final = "Keep the clocks of all machines together (chrony, systemd-timesyncd). Workers go by Redis's meanwhile; commands do not."
