"""Rebuilding a view from the first event, and comparing it with the live one.

The live view goes on moving meanwhile, so there is no moment at which both stand still. Instead every piece (a key, or some
fields of a large one) is compared at a moment of its own: it is read from the live view in one transaction with the
checkpoint, the rebuilt view is brought to just that checkpoint, and then the same piece is read there. No difference is
ever due to timing, and nothing is held up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from pipeline.faults import ConflictError
from pipeline.log import Page
from pipeline.store import Client
from projections import builds
from projections.base import START, History, Portion, Projection, View, advance, first_of, position
from projections.compare import Difference, differences, order

BATCH: Final = 5000
"""Events per fold: what comes and goes within it is never written."""
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
    seconds: float
    differences: tuple[Difference, ...]
    """The first thousand."""
    count: int
    """Of all differences."""
    mended: bool

    @property
    def equal(self) -> bool:
        return self.count == 0

    @property
    def rate(self) -> float:
        """Events per second; reading, storing and comparing included."""
        return self.events / self.seconds if self.seconds else 0.0


class _Rebuild:
    """A build that is brought from the first event to any later one."""

    def __init__(self, redis: Client, history: History, view: View, told: Callable[[int], None]) -> None:
        self.view = view
        self._redis = redis
        self._history = history
        self._told = told
        self._reached = START

    async def catch_up(self, until: str) -> None:
        while order(self._reached) < order(until):
            page: Page | None = await self._history.page(
                self.view.partition, self._reached, BATCH, until, self.view.projection.kinds
            )
            if page is None or not page.count:
                raise ConflictError(
                    f"the log of partition {self.view.partition} ends before {until}, which the view has seen"
                )
            count = page.count
            while page is not None:
                portion, page = first_of([self.view], self._reached, page)
                await self._take_in(portion)
            self._told(count)

    async def _take_in(self, portion: Portion) -> None:
        (stored,) = await advance(self._redis, [portion])
        if not stored:
            raise ConflictError("somebody else wrote to the view that was being rebuilt")
        self._reached = portion.reached


class _Replay:
    def __init__(
        self,
        redis: Client,
        history: History,
        projection: Projection,
        *,
        mend: bool,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._redis = redis
        self._history = history
        self._projection = projection
        self._mend = mend
        self._progress = progress
        self._started = time.monotonic()
        self._events = 0
        self._found: list[Difference] = []
        self._count = 0
        self._mended = False

    async def partition(self, partition: int, now: int) -> None:
        live = await builds.live(self._redis, partition, self._projection)
        if live is None:
            return
        view, version = live
        await builds.drop_dead(self._redis, partition, now)

        def told(folded: int) -> None:
            self._events += folded
            if self._progress is not None:
                self._progress(Progress(partition, self._events, time.monotonic() - self._started))

        rebuild = _Rebuild(
            self._redis, self._history, await builds.temporary(self._redis, partition, self._projection, now), told
        )
        useless = rebuild.view
        try:
            await rebuild.catch_up(await position(self._redis, view))
            before = self._count
            async for difference in differences(self._redis, view, rebuild.view, rebuild.catch_up):
                self._count += 1
                if len(self._found) < DIFFERENCES_NAMED:
                    self._found.append(difference)
            if self._mend and self._count > before:
                await self._take_over(view, version, rebuild)
                self._mended = True
                useless = view
        finally:
            await builds.drop(self._redis, useless)

    async def _take_over(self, live: View, version: str, rebuild: _Rebuild) -> None:
        for _ in range(SWITCH_TRIES):
            await rebuild.catch_up(await position(self._redis, live))
            if await builds.switch(self._redis, live, rebuild.view, old_version=version, caught_up=True):
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
        )


async def replay(
    redis: Client,
    history: History,
    partitions: Sequence[int],
    projection: Projection,
    *,
    now: int,
    mend: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Rebuild a view from the first event up to the live one's checkpoint, and compare. `now`: ns.

    `mend`: where they differ, the rebuilt view becomes the live one. The other one is removed in any case. Raises
    ConflictError when the live view is replaced meanwhile, or has seen events that the log no longer has.
    """
    run = _Replay(redis, history, projection, mend=mend, progress=progress)
    for partition in partitions:
        await run.partition(partition, now)
    return run.report()
