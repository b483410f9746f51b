"""Whether there is room for more mail: memory of Redis and free disk, looked at once a second.

A receiver refuses new mail with 452 before either runs out, because a Redis that cannot write its file stops altogether.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

import structlog

from pipeline import metrics
from pipeline.faults import StoreError
from pipeline.settings import Settings
from pipeline.store import Client, faults
from pipeline.topology.spread import memory

log = structlog.get_logger()

EVERY: Final = 1.0
MEMORY_MARK: Final = 0.9
"""Part of maxmemory from which on new mail is refused; the rest is for moving on what is here."""


class Pressure:
    """`reason`: why no new mail is taken just now; None when there is room."""

    def __init__(self, redis: Client, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self.reason: str | None = None

    async def look(self) -> None:
        reason = self._disk() or await self._memory()
        if reason != self.reason:
            if reason:
                log.error("refusing new mail with 452", reason=reason)
            else:
                log.info("accepting mail again")
        self.reason = reason

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
