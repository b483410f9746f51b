"""Whether this machine's clock is together with the others': leases that one of them took are judged by the clocks of all.

A holder stops by itself a quarter of the lease before its end (`workers/deliverer/slot.py`), so two clocks may differ by a quarter. Each
is compared with Redis's, so each may be off by half of that. One that is off by more is put right in the worker: it goes by Redis's.

Between two such looks somebody may set a clock. On one machine that is no news for the others, so a worker goes on as if nothing had
happened, by a clock that nobody sets, until it has looked at Redis's again. And where leases are judged or written, time is compared
once more, in the script that does it: one that is too far from Redis's changes nothing there (ClockError), and is the reason to look at once.
"""

from __future__ import annotations

import contextlib
import time
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

    __slots__ = ("_apart", "_compared", "_kept", "_steady", "correction", "nodes_apart", "own", "told")

    def __init__(self, own: Callable[[], int], steady: Callable[[], int] = time.monotonic_ns) -> None:
        self.own = own
        """Of this machine."""
        self._steady = steady
        """ns since some moment; nobody sets it."""
        self.correction = 0
        """ns that `own` lacks."""
        self.told: Callable[[float], None] = _ignored
        """Called when the correction has changed, with the seconds by which `own` is ahead (negative: behind); 0: by none that matter."""
        self.nodes_apart = False
        """The nodes of a Cluster go by clocks of their own. Then the first one's counts, and none is asked where leases are judged."""
        self._compared = 0
        self._kept = False
        self._apart = 0

    def __call__(self) -> int:
        if not self._kept:
            return self.own() + self.correction
        steady = self._steady()
        apart = self.own() - steady
        if abs(apart - self._apart) < self._compared * MS:
            self._apart = apart  # clocks are kept right by letting them go a little faster or slower
        return steady + self._apart + self.correction

    def compare(self, settings: Settings) -> None:
        """From now on no lease is judged by it that is not sure to be together with Redis's."""
        self._compared = int(settings.lease) // PART // MS

    def keep(self) -> None:
        """From now on it goes on when `own` is set, until it has been put right: by whoever sees to that all the time."""
        self._kept = True
        self._apart = self.own() - self._steady()

    @property
    def compared(self) -> bool:
        return self._compared > 0

    @property
    def tolerance(self) -> int:
        """Milliseconds by which a time may differ from Redis's where leases are judged; 0: nobody compares."""
        return 0 if self.nodes_apart else self._compared

    @property
    def stepped(self) -> bool:
        """Whether `own` was set since it was looked at last."""
        return self._kept and abs(self.own() - self._steady() - self._apart) >= self._compared * MS

    def correct(self, lacks: int) -> None:
        """Go by `own` and what it lacks."""
        changed = self.correction != lacks
        self.correction = lacks
        self._apart = self.own() - self._steady()
        if changed:
            self.told(-lacks / SECOND)


async def put_right(clock: Clock, redis: Client, settings: Settings) -> float:
    """Seconds by which it was ahead (negative: behind) until now; 0 when there was nothing to correct. Raises StoreError."""
    lacks, unsure = await _lacks(redis, clock.own)
    if is_spread(redis):
        clock.nodes_apart = await _nodes_apart(redis, clock.own, lacks, settings)
    ahead = (clock() - clock.own() - lacks) / SECOND
    matters = _matters(ahead, unsure, settings)
    if matters or (clock.stepped and not _matters(unsure, 0, settings)):
        clock.correct(lacks if _matters(lacks / SECOND, 0, settings) else 0)
    return ahead if matters else 0.0


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
