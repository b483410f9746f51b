"""One worker process, of one role or of several: connects, says when it is ready, works until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import structlog
import uvloop

from pipeline.archive import duck
from pipeline.faults import ClockError, ConfigurationError, StoreAwayError, StoreError
from pipeline.pause import end, pause
from pipeline.settings import Settings
from pipeline.units import EngineAddress
from workers import logs
from workers.examiner import EXAMINER, LOOKED, examine
from workers.renewal import RENEW, outgrown
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
BACKGROUND: Final = "background"
TOGETHER: Final[Mapping[str, tuple[str, ...]]] = {BACKGROUND: ("projector", "janitor", "watcher", "archiver")}
"""Processes of several roles, which no message waits for: one for each would be little more than 15 MiB more. They share an event loop,
the connections and their end: what ends one of them ends the process, and all begin again.
"""


def roles_of(name: str, settings: Settings) -> tuple[str, ...]:
    """What a process of this name works as. Raises ConfigurationError."""
    if name in TOGETHER:
        archived = settings.archive and duck.installed()
        return tuple(role for role in TOGETHER[name] if role != "archiver" or archived)
    if name not in ROLES:
        raise ConfigurationError(f"no role {name!r}", remedy=f"One of {', '.join([*ROLES, *TOGETHER])}.")
    return (name,)


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


CLOCK_EVERY: Final = 20.0
"""Seconds between two looks whether the clock is right, besides those that there is a reason for."""
CLOCK_GLANCE: Final = 1.0
"""Seconds between two looks whether somebody has set it."""

Attach: TypeAlias = Callable[[Wiring, asyncio.Event], None]
Run: TypeAlias = Callable[[Wiring, asyncio.Event], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def _shown(name: str, roles: Sequence[str], place: EngineAddress) -> AsyncIterator[Attach]:
    """Be looked at there, if anywhere."""
    if not place:
        yield lambda _wiring, _stop: None
        return
    from workers.monitoring.process import shown  # noqa: PLC0415 - loads prometheus_client, for those who are looked at

    async with shown(name, place, roles) as monitor:
        yield monitor.attach


async def _work(name: str, roles: Sequence[str], settings: Settings, place: EngineAddress) -> int:
    runs: dict[str, Run] = {role: importlib.import_module(ROLES[role]).run_role for role in roles}
    tune_collector()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # The supervisor answers SIGHUP by replacing workers; one that reaches a worker itself changes nothing.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    async with _shown(name, roles, place) as attach:
        wiring = await _connect(settings, stop)
        if wiring is None:
            return 0
        attach(wiring, stop)
        wiring.right_clock.told = _tell_of_clock
        wiring.right_clock.keep()
        beside = [asyncio.create_task(wiring.directory.follow()), asyncio.create_task(_keep_time(wiring))]
        try:
            with contextlib.suppress(StoreError):
                await wiring.put_clock_right()
            with contextlib.suppress(StoreAwayError):
                await wiring.directory.refresh()
            works = [_as(role, run(wiring, stop)) for role, run in runs.items()]
            _, grown = await asyncio.gather(_together(works), _outgrown(name, wiring, stop))
            return RENEW if grown else 0
        finally:
            await end(beside)
            await wiring.close()


async def _as(role: str, work: Coroutine[Any, Any, None]) -> None:
    """Log lines name the role, whatever the process is called."""
    structlog.contextvars.bind_contextvars(process=role)
    await work


async def _together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Until all have ended, or one has failed, which is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def _outgrown(name: str, wiring: Wiring, stop: asyncio.Event) -> bool:
    """Whether a process that comes to use what few roles do has stopped because it no longer does."""
    return name in TOGETHER and wiring.archive is not None and await outgrown(wiring.archive.duck, stop)


def _tell_of_clock(ahead: float) -> None:
    if ahead:
        fault = ClockError(ahead)
        log.error("here Redis's clock counts now", reason=str(fault), remedy=fault.remedy)
    else:
        log.warning("this machine's clock counts again: it is together with Redis's")


async def _keep_time(wiring: Wiring) -> None:
    clock, looked, apart = wiring.right_clock, time.monotonic(), False
    while True:
        await asyncio.sleep(CLOCK_GLANCE)
        if clock.stepped or time.monotonic() > looked + CLOCK_EVERY:
            with contextlib.suppress(StoreError):
                await wiring.put_clock_right()
                looked = time.monotonic()
        if clock.nodes_apart and not apart:
            log.error("the clocks of the Cluster's nodes are not together", remedy=ClockError(0).remedy)
        apart = clock.nodes_apart


def run_worker(name: str, settings: Settings, metrics: str = "") -> int:
    """Work as the role or the roles of `name` until SIGTERM. Exit code 0 after an orderly stop, RENEW when it is to be started anew.
    `metrics`: where it is looked at; empty: nowhere. As the examiner it only looks, and LOOKED is its exit code. Raises GatepostError.
    """
    if name == EXAMINER:
        asyncio.run(examine(settings))
        return LOOKED
    roles = roles_of(name, settings)
    try:
        place = EngineAddress.parse(metrics)
    except ValueError as error:
        raise ConfigurationError(f"--metrics {metrics}: {error}") from None
    logs.configure(settings.log_format, name)
    return uvloop.run(_work(name, roles, settings, place))
