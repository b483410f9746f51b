"""Whether this machine's clock is together with the others': leases that one of them took are judged by the clocks of all.

A holder stops by itself a quarter of the lease before its end (`workers/deliverer/slot.py`), so two clocks may differ by a quarter. Each
is compared with Redis's, so each may be off by half of that. One that is off by more is put right in the worker: it goes by Redis's.

A worker looks now and then, and a clock may be set between two looks. So what judges or writes leases compares once more, in the script that
does it: there a time that is too far from Redis's changes nothing (ClockError), and is the reason to look at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from pipeline.faults import ClockError, StoreError
from pipeline.settings import Settings
from pipeline.store import Client, faults
from pipeline.topology.spread import is_spread, masters
from pipeline.units import SECOND

PART: Final = 8
"""Of the lease: how far a clock may be from Redis's."""
MS: Final = 1_000_000


def _ignored(_ahead: float) -> None:
    """Nobody wants to know."""


class Clock:
    """Calls give ns since 1970."""

    __slots__ = ("_compared", "correction", "nodes_apart", "own", "told")

    def __init__(self, own: Callable[[], int]) -> None:
        self.own = own
        """Of this machine."""
        self.correction = 0
        """ns that it lacks."""
        self.told: Callable[[float], None] = _ignored
        """Called when the correction has changed, with the seconds by which `own` is ahead (negative: behind); 0: by none that matter."""
        self.nodes_apart = False
        """The nodes of a Cluster go by clocks of their own. Then the first one's counts, and none is asked where leases are judged."""
        self._compared = 0

    def __call__(self) -> int:
        return self.own() + self.correction

    @property
    def compared(self) -> bool:
        return self._compared > 0

    def compare(self, settings: Settings) -> None:
        """From now on no lease is judged by it that is not sure to be together with Redis's."""
        self._compared = int(settings.lease) // PART // MS

    @property
    def tolerance(self) -> int:
        """Milliseconds by which a time may differ from Redis's where leases are judged; 0: nobody compares."""
        return 0 if self.nodes_apart else self._compared


async def put_right(clock: Clock, redis: Client, settings: Settings) -> float:
    """Seconds by which it was ahead (negative: behind) until now; 0 when there was nothing to correct. Raises StoreError."""
    lacks, unsure = await _lacks(redis, clock.own)
    if is_spread(redis):
        clock.nodes_apart = await _nodes_apart(redis, clock.own, lacks, settings)
    ahead = (clock.correction - lacks) / SECOND
    if not _matters(ahead, unsure, settings):
        return 0.0
    clock.correction = lacks if _matters(lacks / SECOND, 0, settings) else 0
    clock.told(-clock.correction / SECOND)
    return ahead


@contextlib.asynccontextmanager
async def judged(clock: Clock, redis: Client, settings: Settings) -> AsyncIterator[None]:
    """As `faults`, around a call that judges leases. Raises ClockError when Redis did not go by our clock: nothing was changed, the clock
    has been looked at, and what was wanted is to be asked for anew, by the time that it is now.
    """
    try:
        with faults():
            yield
    except ClockError:
        await put_right(clock, redis, settings)
        raise


async def difference(redis: Client, settings: Settings, clock: Callable[[], int]) -> float:
    """Seconds by which this machine's clock surely is ahead (negative: behind) of Redis's; 0 as long as it does no harm.

    Raises StoreError.
    """
    lacks, unsure = await _lacks(redis, clock)
    ahead = -lacks / SECOND
    return ahead if _matters(ahead, unsure, settings) else 0.0


def _matters(seconds: float, unsure: float, settings: Settings) -> bool:
    return abs(seconds) - unsure > settings.lease.seconds / PART


async def _lacks(redis: Client, clock: Callable[[], int]) -> tuple[int, float]:
    """How much (ns) a clock lacks of Redis's, and the seconds by which that may be wrong."""
    with faults():
        before = clock()
        answer: Any = await redis.time()
        after = clock()
    return answer[0] * SECOND + answer[1] * 1000 - (before + after) // 2, abs(after - before) / 2 / SECOND


async def _nodes_apart(redis: Client, clock: Callable[[], int], lacks: int, settings: Settings) -> bool:
    """Whether a node that answers has another time than the one that was asked before."""
    with faults():
        nodes = await masters(redis)
    for node in nodes:
        with contextlib.suppress(StoreError):
            its, unsure = await _lacks(node, clock)
            if _matters((its - lacks) / SECOND, unsure, settings):
                return True
    return False
