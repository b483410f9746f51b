"""Rebuilding a view from the first event, and comparing it with the live one.

The live view goes on moving meanwhile, so there is no moment at which both stand still. Instead every piece (a key, or some
fields of a large one) is compared at a moment of its own: it is read from the live view in one transaction with the
checkpoint, the rebuilt view is brought to just that checkpoint, and then the same piece is read there. No difference is
ever due to timing, and nothing is held up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from pipeline import history, keys
from pipeline.faults import ConflictError
from pipeline.store import Client, faults
from projections import builds
from projections.base import History, Projection, View, position
from projections.compare import Difference, differences
from projections.rebuild import Pace, Rebuild

DIFFERENCES_NAMED: Final = 1000
SWITCH_TRIES: Final = 100
"""The projector moves on about ten times a second, catching up with it takes milliseconds: one or two are enough."""


class Progress(msgspec.Struct, frozen=True):
    partition: int
    events: int
    """Folded so far, over all partitions."""
    seconds: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    view: str
    events: int
    """Read; those that the view passes over are among them."""
    seconds: float
    differences: tuple[Difference, ...]
    """The first thousand."""
    count: int
    """Of all differences."""
    mended: bool
    gone: bool = False
    """Events whose retention is over are not there any more: what is counted since the first event cannot be the same."""

    @property
    def equal(self) -> bool:
        return self.count == 0

    @property
    def rate(self) -> float:
        """Events per second; reading, storing and comparing included."""
        return self.events / self.seconds if self.seconds else 0.0


def merged(reports: Sequence[Report], seconds: float) -> Report:
    """Of parts of one replay, at least one, that were made at the same time."""
    found = [difference for report in reports for difference in report.differences]
    return Report(
        view=reports[0].view,
        events=sum(report.events for report in reports),
        seconds=seconds,
        differences=tuple(found[:DIFFERENCES_NAMED]),
        count=sum(report.count for report in reports),
        mended=any(report.mended for report in reports),
        gone=any(report.gone for report in reports),
    )


def source_of(log: History, projection: Projection) -> History:
    """What a view is made of: all there is, or what is in Redis."""
    return log.log if projection.hot and isinstance(log, history.History) else log


class _Replay:
    def __init__(
        self,
        redis: Client,
        log: History,
        projection: Projection,
        *,
        mend: bool,
        domain: str,
        pace: Pace | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._redis = redis
        self._history = source_of(log, projection)
        self._projection = projection
        self._mend = mend
        self._domain = domain
        self._pace = pace
        self._progress = progress
        self._started = time.monotonic()
        self._events = 0
        self._found: list[Difference] = []
        self._count = 0
        self._mended = False
        self._gone = False

    async def partition(self, partition: int, now: int) -> None:
        live = await builds.live(self._redis, partition, self._projection)
        if live is None:
            return
        view, version = live
        self._gone = self._gone or (not self._projection.hot and await _cut(self._redis, partition))
        await builds.drop_dead(self._redis, partition, now)

        def told(folded: int) -> None:
            self._events += folded
            if self._progress is not None:
                self._progress(Progress(partition, self._events, time.monotonic() - self._started))

        useless = [await builds.temporary(self._redis, partition, self._projection, now)]
        try:
            rebuild = Rebuild(
                self._redis, self._history, useless[0], told, now=now, domain=self._domain, pace=self._pace
            )  # fmt: skip
            await rebuild.catch_up(await position(self._redis, view))
            before = self._count
            async for difference in differences(self._redis, view, rebuild.view, rebuild.catch_up, self._domain):
                self._count += 1
                if len(self._found) < DIFFERENCES_NAMED:
                    self._found.append(difference)
            if self._mend and self._count > before:
                await self._take_over(view, version, rebuild, now)
                self._mended = True
                useless = []  # the other one lingers
        finally:
            await builds.drop_surely(self._redis, useless)

    async def _take_over(self, live: View, version: str, rebuild: Rebuild, now: int) -> None:
        for _ in range(SWITCH_TRIES):
            await rebuild.catch_up(await position(self._redis, live))
            if await builds.switch(self._redis, live, rebuild.view, old_version=version, caught_up=True, now=now):
                return
        raise ConflictError("the live view moves too fast to be replaced", remedy="Run the replay again.")

    def report(self) -> Report:
        return Report(
            view=self._projection.name,
            events=self._events,
            seconds=time.monotonic() - self._started,
            differences=tuple(self._found),
            count=self._count,
            mended=self._mended,
            gone=self._gone,
        )


async def _cut(redis: Client, partition: int) -> bool:
    """Whether the archive's retention took away the first of a partition's events."""
    with faults():
        through: Any = await redis.hget(keys.archive(partition), "through")
    return int(through or 0) > 0


async def replay(
    redis: Client,
    log: History,
    partitions: Sequence[int],
    projection: Projection,
    *,
    now: int,
    mend: bool = False,
    domain: str = "",
    pace: Pace | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Rebuild a view from the first event up to the live one's checkpoint, and compare. `now`: ns.

    `mend`: where they differ, the rebuilt view becomes the live one. The other one is removed in any case. `domain`: only what is
    about this one is rebuilt and compared, which mends nothing. Raises ConflictError when the live view is replaced meanwhile, or has
    seen events that the log no longer has.
    """
    if mend and domain:
        raise ValueError("a view of one domain takes nobody's place")
    run = _Replay(redis, log, projection, mend=mend, domain=domain, pace=pace, progress=progress)
    for partition in partitions:
        await run.partition(partition, now)
    return run.report()
