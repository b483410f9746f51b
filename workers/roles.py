"""One worker process: connects, says when it is ready, works until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, TypeAlias

import structlog
import uvloop

from pipeline import clock
from pipeline.faults import ConfigurationError, StoreAwayError, StoreError
from pipeline.pause import end, pause
from pipeline.settings import Settings
from pipeline.units import EngineAddress
from workers import logs
from workers.wiring import Wiring

log = structlog.get_logger()

AWAY: Final = 0.2
"""Seconds between two tries to reach Redis at start."""


ROLES: Final[Mapping[str, str]] = {
    "receiver": "workers.receiver.role",
    "scanner": "workers.scanner",
    "deliverer": "workers.deliverer.role",
    "projector": "workers.projector",
    "janitor": "workers.janitor",
    "syncer": "workers.syncer",
    "watcher": "workers.watcher",
    "archiver": "workers.archiver",
}
"""Each role's module, which offers `async run_role(wiring, stop)`; a process loads its own only."""


async def _connect(settings: Settings, stop: asyncio.Event) -> Wiring | None:
    """Redis may start after us."""
    told = False
    while not stop.is_set():
        try:
            return await Wiring.connect(settings)
        except StoreAwayError as fault:
            if not told:
                log.warning("waiting for Redis", reason=str(fault), remedy=fault.remedy)
                told = True
            await pause(stop, AWAY)
    return None


def tune_collector() -> None:
    """Batches are thousands of objects that all live until they are stored: with Python's own settings a third of the time
    goes into looking through them, and through everything imported, for cycles that are not there.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


Attach: TypeAlias = Callable[[Wiring, asyncio.Event], None]


@contextlib.asynccontextmanager
async def _shown(role: str, place: EngineAddress) -> AsyncIterator[Attach]:
    """Be looked at there, if anywhere."""
    if not place:
        yield lambda _wiring, _stop: None
        return
    from workers.monitoring.process import shown  # noqa: PLC0415 - loads prometheus_client, for those who are looked at

    async with shown(role, place) as monitor:
        yield monitor.attach


async def _work(role: str, settings: Settings, place: EngineAddress) -> None:
    run_role = importlib.import_module(ROLES[role]).run_role
    tune_collector()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # The supervisor answers SIGHUP by replacing workers; one that reaches a worker itself changes nothing.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    async with _shown(role, place) as attach:
        wiring = await _connect(settings, stop)
        if wiring is None:
            return
        attach(wiring, stop)
        follower = asyncio.create_task(wiring.directory.follow())
        try:
            with contextlib.suppress(StoreAwayError):
                await wiring.directory.refresh()
            await _look_at_the_clock(wiring)
            await run_role(wiring, stop)
        finally:
            await end([follower])
            await wiring.close()


async def _look_at_the_clock(wiring: Wiring) -> None:
    with contextlib.suppress(StoreError):
        ahead = await clock.difference(wiring.store.redis, wiring.settings, wiring.clock)
        if ahead:
            log.error(clock.in_words(ahead), remedy=clock.REMEDY)


def run_worker(role: str, settings: Settings, metrics: str = "") -> int:
    """Work as `role` until SIGTERM. Exit code 0 after an orderly stop. `metrics`: where it is looked at; empty: nowhere."""
    if role not in ROLES:
        raise ConfigurationError(f"no role {role!r}", remedy=f"One of {', '.join(ROLES)}.")
    try:
        place = EngineAddress.parse(metrics)
    except ValueError as error:
        raise ConfigurationError(f"--metrics {metrics}: {error}") from None
    logs.configure(settings.log_format, role)
    uvloop.run(_work(role, settings, place))
    return 0
