"""One worker process: connects, says when it is ready, works until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
import uvloop

from pipeline.faults import ConfigurationError, StoreAwayError
from pipeline.settings import Settings
from workers import logs
from workers.wiring import Wiring

log = structlog.get_logger()

Role = Callable[[Wiring, asyncio.Event], Awaitable[None]]
AWAY: Final = 0.2
"""Seconds between two tries to reach Redis at start."""


async def _receiver(wiring: Wiring, stop: asyncio.Event) -> None:
    from workers.receiver.role import run_role  # noqa: PLC0415 - each process loads its own role only

    await run_role(wiring, stop)


async def _scanner(wiring: Wiring, stop: asyncio.Event) -> None:
    from workers.scanner import run_role  # noqa: PLC0415 - each process loads its own role only

    await run_role(wiring, stop)


async def _deliverer(wiring: Wiring, stop: asyncio.Event) -> None:
    from workers.deliverer.role import run_role  # noqa: PLC0415 - each process loads its own role only

    await run_role(wiring, stop)


async def _projector(wiring: Wiring, stop: asyncio.Event) -> None:
    from workers.projector import run_role  # noqa: PLC0415 - each process loads its own role only

    await run_role(wiring, stop)


async def _janitor(wiring: Wiring, stop: asyncio.Event) -> None:
    from workers.janitor import run_role  # noqa: PLC0415 - each process loads its own role only

    await run_role(wiring, stop)


ROLES: Final[Mapping[str, Role]] = {
    "receiver": _receiver,
    "scanner": _scanner,
    "deliverer": _deliverer,
    "projector": _projector,
    "janitor": _janitor,
}


async def _connect(settings: Settings, stop: asyncio.Event) -> Wiring | None:
    """Redis may start after us."""
    told = False
    while not stop.is_set():
        try:
            return await Wiring.connect(settings)
        except StoreAwayError as fault:
            if not told:
                log.warning("waiting for Redis", reason=str(fault))
                told = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), AWAY)
    return None


async def _work(role: str, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # The supervisor answers SIGHUP by replacing workers; one that reaches a worker itself changes nothing.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    wiring = await _connect(settings, stop)
    if wiring is None:
        return
    follower = asyncio.create_task(wiring.directory.follow())
    try:
        with contextlib.suppress(StoreAwayError):
            await wiring.directory.refresh()
        await ROLES[role](wiring, stop)
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
        await wiring.close()


def run_worker(role: str, settings: Settings) -> int:
    """Work as `role` until SIGTERM. Exit code 0 after an orderly stop."""
    if role not in ROLES:
        raise ConfigurationError(f"no role {role!r}", remedy=f"One of {', '.join(ROLES)}.")
    logs.configure(settings.log_format, role)
    uvloop.run(_work(role, settings))
    return 0
