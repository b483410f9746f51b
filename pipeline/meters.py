"""What a process measures itself with: plain numbers, which cost a message nothing worth speaking of.

Adding to a counter takes a tenth of a microsecond, and nobody has to ask for them: they are turned into what Prometheus reads
only when somebody comes to read (`workers/monitoring`). A process has one of each, as it is the process that is measured.

The values of labels come from us and are few. Should one come from outside all the same, memory stays bounded: beyond MOST series all
further ones are counted together.

They may be read from another thread while they are written: what is read is then a moment old, never broken.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

Labels: TypeAlias = tuple[str, ...]

MOST: Final = 200
"""Series of one instrument."""
OTHER: Final = "_other"
"""The value of a label that stands for all that were too many."""
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Instrument:
    """`name`: as Prometheus shows it. `roles`: the processes that have it; none: all of them."""

    kind: Literal["counter", "gauge", "histogram"]

    def __init__(self, name: str, text: str, *labels: str, roles: tuple[str, ...] = ()) -> None:
        self.name = name
        self.text = text
        self.labels = labels
        self.roles = roles

    def of(self, *roles: str) -> bool:
        """Whether a process of these roles has it."""
        return not self.roles or any(role in self.roles for role in roles)

    def _together(self, labels: Labels) -> Labels:
        assert len(labels) == len(self.labels), self.name
        return (OTHER,) * len(labels)


class Counter(Instrument):
    kind = "counter"

    def __init__(self, name: str, text: str, *labels: str, roles: tuple[str, ...] = ()) -> None:
        super().__init__(name, text, *labels, roles=roles)
        self.values: dict[Labels, float] = {} if labels else {(): 0}

    def add(self, *labels: str, by: float = 1) -> None:
        """One more of what `labels` say, or `by` more."""
        values = self.values
        if labels in values:
            values[labels] += by
            return
        if len(values) >= MOST:
            labels = self._together(labels)
        values[labels] = values.get(labels, 0) + by

    def reached(self, total: float, *labels: str) -> None:
        """What somebody else counts has come to `total`."""
        self.values[labels if labels in self.values or len(self.values) < MOST else self._together(labels)] = total


class Gauge(Instrument):
    kind = "gauge"

    def __init__(self, name: str, text: str, *labels: str, roles: tuple[str, ...] = ()) -> None:
        super().__init__(name, text, *labels, roles=roles)
        self.values: dict[Labels, float] = {}
        self._read: Callable[[], float] | None = None

    def set(self, value: float, *labels: str) -> None:
        if labels not in self.values and len(self.values) >= MOST:
            labels = self._together(labels)
        self.values[labels] = value

    def watch(self, read: Callable[[], float]) -> None:
        """Its value is what `read` answers when somebody asks."""
        self._read = read

    def now(self) -> dict[Labels, float]:
        return {(): self._read()} if self._read is not None else self.values.copy()

    def fresh(self) -> Gauge:
        """The same with no value yet: for what is read anew each time."""
        return Gauge(self.name, self.text, *self.labels, roles=self.roles)


class Series:
    """How often a value was up to each bound, above all of them, and the sum of all values."""

    __slots__ = ("counts", "sum")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        self.sum = 0.0


class Histogram(Instrument):
    kind = "histogram"

    def __init__(
        self, name: str, text: str, *labels: str, bounds: tuple[float, ...] = SECONDS, roles: tuple[str, ...] = ()
    ) -> None:
        super().__init__(name, text, *labels, roles=roles)
        self.bounds = bounds
        self.series: dict[Labels, Series] = {} if labels else {(): Series(len(bounds))}

    def observe(self, value: float, *labels: str) -> None:
        series = self.series.get(labels)
        if series is None:
            series = self._begin(labels)
        series.counts[bisect_left(self.bounds, value)] += 1
        series.sum += value

    def _begin(self, labels: Labels) -> Series:
        if len(self.series) >= MOST:
            labels = self._together(labels)
        return self.series.setdefault(labels, Series(len(self.bounds)))


class Pulse:
    """A duty that says when it begins a turn. One that has not come to the end of it within `bound` seconds is stuck."""

    __slots__ = ("bound", "name", "since")

    def __init__(self, name: str, bound: float) -> None:
        self.name = name
        self.bound = bound
        self.since = 0.0
        """0: it rests, and may do so for as long as it likes."""

    def beat(self) -> None:
        self.since = time.monotonic()

    def rest(self) -> None:
        self.since = 0.0

    def stuck(self, now: float) -> float:
        """Seconds for which it has not moved; 0 while that is within its bound. `now` is monotonic."""
        since = self.since
        return now - since if since and now - since > self.bound else 0.0


class Pulses:
    """Of one process."""

    def __init__(self) -> None:
        self._all: dict[str, Pulse] = {}

    def of(self, name: str, bound: float) -> Pulse:
        pulse = self._all.get(name)
        if pulse is None:
            pulse = self._all[name] = Pulse(name, bound)
        return pulse

    def stuck(self, now: float) -> dict[str, float]:
        """Name -> seconds, of those that do not move."""
        found = {name: pulse.stuck(now) for name, pulse in self._all.copy().items()}
        return {name: seconds for name, seconds in found.items() if seconds}
