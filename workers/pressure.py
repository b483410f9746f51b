"""Whether there is room for more mail: memory of Redis, free disk and what waits to move on, looked at once a second.

A receiver refuses new mail with 452 before memory or disk runs out, because a Redis that cannot write its file stops altogether.
When more comes than is moved on it slows down first (`pipeline/brake.py`): what was taken is to be delivered soon.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

import structlog

from pipeline import brake, metrics
from pipeline.backing_off import backing_off
from pipeline.backlog import Backlog
from pipeline.faults import StoreError
from pipeline.settings import Settings
from pipeline.steps import MS
from pipeline.store import Store, faults
from pipeline.topology.spread import memory

log = structlog.get_logger()

EVERY: Final = 1.0
MEMORY_MARK: Final = 0.9
"""Part of maxmemory from which on new mail is refused; the rest is for moving on what is here."""
WAITING: Final = 100
"""Domains of a partition of which it is known here that their mail has to wait."""


def _busy() -> float:
    return os.getloadavg()[0] / (os.cpu_count() or 1)


class Pressure:
    """`reason`: why there is no room for new mail just now; None when there is. `brake`: how much to slow down."""

    def __init__(
        self, store: Store, settings: Settings, clock: Callable[[], int], busy: Callable[[], float] = _busy
    ) -> None:
        """`busy`: runnable processes for each processor."""
        self._redis = store.redis
        self._partitions = range(store.partitions)
        self._settings = settings
        self._backlog = Backlog(store, settings)
        self._marks = brake.Marks.of(settings)
        self._clock = clock
        self._busy = busy
        self.waiting: frozenset[str] = frozenset()
        """Domains whose servers are away."""
        self.reason: str | None = None
        self.brake = brake.FREE

    async def look(self) -> None:
        reason = self._disk() or await self._memory()
        if reason != self.reason:
            if reason:
                log.error("refusing new mail with 452", reason=reason)
            else:
                log.info("accepting mail again")
        self.reason = reason
        await self._look_at_backlog()
        found = await backing_off(self._redis, self._partitions, self._clock() // MS, WAITING)
        self.waiting = frozenset(name for names in found for name, failed in names if failed)

    async def _look_at_backlog(self) -> None:
        scanning, sending = await self._backlog.look(self._clock())
        before, self.brake = (
            self.brake,
            brake.decide(brake.Load(scanning, sending, self._busy()), self._marks, self.brake),
        )
        if self.brake.closed != before.closed:
            log.warning("overloaded", refusing=self.brake.closed, reason=self.brake.reason)
        elif bool(self.brake.delay) != bool(before.delay):
            log.info("taking new mail more slowly" if self.brake.delay else "taking new mail at once again",
                     reason=self.brake.reason)  # fmt: skip

    def _disk(self) -> str | None:
        found = os.statvfs(self._settings.data)
        free = found.f_bavail * found.f_frsize
        if free < self._settings.min_free_disk:
            return f"{free >> 20} MiB of disk free at {self._settings.data}, less than min_free_disk"
        return None

    async def _memory(self) -> str | None:
        with faults():
            fullest = max(await memory(self._redis), key=lambda one: one.part)
        if fullest.part > MEMORY_MARK:
            return f"Redis uses {fullest.used >> 20} of {fullest.most >> 20} MiB"
        return None

    async def watch(self) -> None:
        """Look until cancelled. A Redis that is away is not pressure: storing will say so itself."""
        pulse = metrics.PULSES.of("pressure", metrics.TURN)
        while True:
            pulse.beat()
            try:
                await self.look()
            except (StoreError, OSError) as error:
                log.debug("cannot look at the store", reason=str(error))
            await asyncio.sleep(EVERY)
