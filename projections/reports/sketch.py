"""Percentiles of any number of values in constant memory: a histogram whose steps are a fixed ratio apart.

Step i holds what is above r^(i-1) and not above r^i ms, where r = (1+e)/(1-e), and is told as 2r^i/(r+1) ms: no value of it is further
from that than e, 1 %, of itself (the DDSketch of Masson, Rim and Lee, VLDB 2019). From 1 ms to a year are 1,210 steps. Values below 1 ms are told as 0. The largest is known exactly. Two sketches add up.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

ERROR: Final = 0.01
"""Relative, of a percentile against the value of that rank."""
SMALLEST: Final = 1_000_000
"""ns."""
_RATIO: Final = (1 + ERROR) / (1 - ERROR)
_STEP: Final = math.log(_RATIO)
_BELOW: Final = -1


class Sketch:
    def __init__(self) -> None:
        self.count = 0
        self.largest = 0
        self._steps: Counter[int] = Counter()

    def add(self, value: int) -> None:
        """`value`: ns."""
        self.count += 1
        self.largest = max(self.largest, value)
        self._steps[math.ceil(math.log(value / SMALLEST) / _STEP) if value >= SMALLEST else _BELOW] += 1

    def merge(self, other: Sketch) -> None:
        self.count += other.count
        self.largest = max(self.largest, other.largest)
        self._steps.update(other._steps)

    def percentile(self, percent: float) -> int | None:
        """The smallest value that `percent` of all do not exceed (nearest rank), within ERROR; None without values."""
        if not self.count:
            return None
        rank = max(1, math.ceil(percent / 100 * self.count - 1e-9))
        if rank >= self.count:
            return self.largest
        for step in sorted(self._steps):
            rank -= self._steps[step]
            if rank <= 0:
                return min(self.largest, _middle(step))
        raise AssertionError


def _middle(step: int) -> int:
    return 0 if step == _BELOW else round(SMALLEST * 2 * math.exp(step * _STEP) / (_RATIO + 1))
