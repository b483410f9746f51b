"""Whether this machine's clock was stepped: what is over by it is over for everybody else as well, or only for the clock.

A lease ends at a time of day. When the clock is put forward by an hour, every lease looks over, and whoever claims next would send
again what another is just sending. So after a step forward nothing is claimed for one lease: who lives has renewed by then, with the
new time. A step back ends no lease; who died before it is replaced when its lease is over by the new time.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

log = structlog.get_logger()


class Steady:
    def __init__(self, clock: Callable[[], int], steady: Callable[[], int], lease: int) -> None:
        """`clock`: ns since 1970; `steady`: ns since some moment, never stepped. `lease`: ns."""
        self._clock = clock
        self._steady = steady
        self._lease = lease
        self._apart = self.apart()
        self._until = 0

    def apart(self) -> int:
        """How far the two clocks are apart just now."""
        return self._clock() - self._steady()

    def same(self, apart: int) -> bool:
        """Whether the clock still goes as it did when it was so far apart."""
        return abs(self.apart() - apart) < self._lease // 4

    def unsure(self) -> bool:
        """Whether the clock was put forward less than a lease ago."""
        apart = self.apart()
        if apart - self._apart >= self._lease // 4:
            self._until = self._steady() + self._lease
            log.warning(
                "the clock was put forward: nothing is claimed for one lease", seconds=(apart - self._apart) // 10**9
            )
        self._apart = apart
        return self._steady() < self._until
