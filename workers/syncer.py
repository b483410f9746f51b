"""The syncer: runs each sync when its time has come, and takes away addresses whose time of grace is over.

Any number of these processes may run: a sync is run by one of them at a time. A source that is slow or down holds up nobody else's
sync, and a run that fails changes nothing.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from pipeline import metrics
from pipeline.faults import GatepostError, StoreError
from pipeline.pause import end, pause
from pipeline.syncing.runs import FAILED, WAITING, Syncing
from workers.duties import failed, succeeded
from workers.notify import notify
from workers.wiring import Wiring

LOOK: Final = 5.0
"""Seconds between two looks which sync is due."""
AT_ONCE: Final = 4
"""Runs of one process; a listing of a million addresses takes 400 MiB."""
GRACES_EVERY: Final = 3600.0
BY: Final = "syncer"

log = structlog.get_logger()


class Syncer:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self.syncing = Syncing(wiring.store, wiring.directory, wiring.settings.allow_networks, clock=wiring.clock)
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def look(self) -> None:
        """Start what is due. Raises StoreError."""
        for name, sync in (await self.syncing.memory.syncs()).items():
            if len(self._under_way) >= AT_ONCE:
                return
            if sync.paused or not sync.every or name in self._under_way:
                continue
            state = await self.syncing.memory.state(name)
            if self._wiring.clock() >= state.next:
                task = self._under_way[name] = asyncio.create_task(self._run(name), name=f"sync {name}")
                task.add_done_callback(functools.partial(self._ended, name))

    def _ended(self, name: str, _task: asyncio.Task[None]) -> None:
        self._under_way.pop(name, None)

    async def _run(self, name: str) -> None:
        try:
            outcome = await self.syncing.run(name, by=f"sync:{name}", note="on schedule")
        except GatepostError as fault:
            metrics.SYNC_RUNS.add("not run")
            # Another process runs it, it was removed meanwhile, or the store is away.
            log.info("sync not run", sync=name, reason=str(fault))
            return
        except Exception:
            metrics.SYNC_RUNS.add("error")
            log.exception("sync failed for a reason of our own", sync=name)
            return
        metrics.SYNC_RUNS.add(outcome.result)
        if outcome.result == FAILED:
            log.warning("sync failed, the list in force stays", sync=name, reason=outcome.words)
        elif outcome.result == WAITING:
            log.warning("sync waits for approval", sync=name, reason=outcome.words)
        else:
            log.info("sync ran", sync=name, result=outcome.result)

    async def end_graces(self) -> None:
        ended = await self.syncing.end_graces(by=BY)
        if ended:
            log.info("addresses whose grace is over were taken away", count=ended)

    async def close(self) -> None:
        """A run that is cut off has changed nothing; its turn comes again."""
        await end(self._under_way.values())


async def _guarded(duty: Callable[[], Awaitable[None]]) -> None:
    try:
        await duty()
        succeeded(duty.__name__)
    except StoreError as fault:
        failed(duty.__name__)
        log.warning("store trouble, waiting", role="syncer", reason=str(fault))
    except Exception:
        failed(duty.__name__)
        log.exception("a duty failed, will be tried again", role="syncer")


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    syncer = Syncer(wiring)
    notify("READY=1")
    graces_at = 0.0
    loop = asyncio.get_running_loop()
    try:
        pulse = metrics.PULSES.of("sync", metrics.TURN)
        while not stop.is_set():
            pulse.beat()
            await _guarded(syncer.look)
            if loop.time() >= graces_at:
                await _guarded(syncer.end_graces)
                graces_at = loop.time() + GRACES_EVERY
            await pause(stop, LOOK)
    finally:
        await syncer.close()
