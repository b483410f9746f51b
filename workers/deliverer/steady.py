"""Whether this machine's clock was stepped: what is over by it is over for everybody else as well, or only for the clock.

A lease ends at a time of day. When the clock is put forward by an hour, every lease looks over, and whoever claims next would send
again what another is just sending. So after a step forward nothing is claimed for one lease: who lives has renewed by then, with the
new time. A step back ends no lease; who died before it is replaced when its lease is over by the new time.

That is so for a clock that all go by. One that was stepped on this machine only goes by Redis's again in a moment (`pipeline/clock.py`), and
then it is as if nothing had happened.
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
        self._apart = self._before = self.apart()
        self._until = 0

    def apart(self) -> int:
        """How far the two clocks are apart just now."""
        return self._clock() - self._steady()

    def same(self, apart: int) -> bool:
        """Whether the clock still goes as it did when it was so far apart."""
        return abs(self.apart() - apart) < self._lease // 4

    def stepped(self) -> bool:
        """Whether it did not since `unsure` was asked last."""
        return not self.same(self._apart)

    def unsure(self) -> bool:
        """Whether the clock was put forward less than a lease ago, and is not as it was before."""
        apart, now = self.apart(), self._steady()
        if apart - self._apart >= self._lease // 4:
            if now >= self._until:
                self._before = self._apart
            self._until = now + self._lease
            log.warning(
                "the clock was put forward: nothing is claimed for one lease", seconds=(apart - self._apart) // 10**9
            )
        elif self.same(self._before):
            self._until = 0
        self._apart = apart
        return now < self._until
