"""One build of a view that is brought from the first event to any later one, beside the live one and in nobody's way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from pipeline.events import Recorded
from pipeline.faults import ConflictError
from pipeline.log import Damaged, Page
from pipeline.places import place_of
from pipeline.store import Client
from projections import builds
from projections.base import START, History, View, advance, first_of

BATCH: Final = 5000
"""Events per fold: what comes and goes within it is never written."""
GENTLE_BATCH: Final = 1000
"""The same where somebody else waits for this process, or for the Redis that it asks."""
KEPT_EVERY: Final = 60.0
"""Seconds between two signs of life of a temporary build."""


class Pace(Protocol):
    @property
    def batch(self) -> int:
        """Events at a time."""

    async def rest(self) -> None:
        """Called after every piece of work."""


class FullSpeed:
    batch = BATCH

    async def rest(self) -> None:
        """None."""


class Share:
    """Works a share of the time, and rests for what is left of it, piece by piece: neither this process nor Redis is kept busy."""

    batch = GENTLE_BATCH

    def __init__(
        self,
        share: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`share`: above 0, at most 1."""
        self._rests = 1 / share - 1
        self._clock = clock
        self._sleep = sleep
        self._since = clock()

    async def rest(self) -> None:
        worked = self._clock() - self._since
        await self._sleep(worked * self._rests)
        self._since = self._clock()


class Rebuild:
    def __init__(
        self,
        redis: Client,
        history: History,
        view: View,
        told: Callable[[int], None],
        *,
        now: int,
        domain: str = "",
        pace: Pace | None = None,
    ) -> None:
        """`told`: of each batch that was folded, how many entries it had. `now`: ns. `domain`: only events of this one."""
        self.view = view
        self._redis = redis
        self._history = history
        self._told = told
        self._domain = domain
        self._pace = pace or FullSpeed()
        self._reached = START
        self._began = self._kept = time.monotonic()
        self._now = now

    async def catch_up(self, until: str) -> None:
        """Fold up to an entry that is in the log. Raises ConflictError when it is not, or somebody else writes into the build."""
        while place_of(self._reached) < place_of(until):
            if not await self._batch(until):
                if await self._trimmed(until):
                    break
                raise ConflictError(
                    f"the log of partition {self.view.partition} ends before {until}, which the view has seen"
                )
            await self._go_on()
        await self._go_on()

    async def _trimmed(self, until: str) -> bool:
        """Whether an index has nothing more to see because the log was trimmed behind it: one to which nothing came is empty then."""
        return self.view.projection.hot and place_of(until)[0] < await self._history.floor(self.view.partition)

    async def follow(self, until: str) -> None:
        """Fold what there is up to a place in the log, whether or not an entry is there."""
        while await self._batch(until):
            await self._go_on()

    async def _go_on(self) -> None:
        if time.monotonic() - self._kept > KEPT_EVERY:
            self._kept = time.monotonic()
            await builds.keep(self._redis, self.view, self._now + int((self._kept - self._began) * 1e9))
        await self._pace.rest()

    async def _batch(self, until: str) -> bool:
        """Whether there was anything."""
        page: Page | None = await self._history.page(
            self.view.partition, self._reached, self._pace.batch, until, self.view.projection.kinds
        )
        if page is None or not page.count:
            return False
        count = page.count
        if self._domain:
            page = Page(_of_domain(page.entries, self._domain), count, page.reached)
        while page is not None:
            portion, page = first_of([self.view], self._reached, page)
            (stored,) = await advance(self._redis, [portion])
            if not stored:
                raise ConflictError("somebody else wrote to the view that was being rebuilt")
            self._reached = portion.reached
        self._told(count)
        return True


def _of_domain(entries: Sequence[Recorded | Damaged], domain: str) -> list[Recorded | Damaged]:
    """Of what cannot be read nobody knows the domain."""
    return [one for one in entries if isinstance(one, Recorded) and one.event.domain == domain]
