"""Beside the scanner: sees whether engines are there that nobody asks anything, writes down how all are, and brings back what waits for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from pipeline import metrics
from pipeline.faults import StoreError
from pipeline.pause import pause
from pipeline.rescan import Rescans
from pipeline.scanning.engines.board import Board
from pipeline.scanning.engines.guard import Guard
from pipeline.scanning.engines.health import AWAY, Health, state_of
from pipeline.units import SECOND
from workers.consume import consumer_name
from workers.wiring import Wiring

EVERY: Final = 1.0
"""Seconds between two rounds."""
IDLE: Final = 30 * SECOND
"""ns without a word from an engine after which it is visited; one that failed is so in each round."""
RENEW: Final = 3 * SECOND
"""ns after which it is said again how they are, also when nothing has changed."""

log = structlog.get_logger()


class Measured(Protocol):
    @property
    def name(self) -> str: ...
    def health(self) -> Health: ...


class Watch:
    def __init__(self, wiring: Wiring, engines: Sequence[Measured]) -> None:
        self._wiring = wiring
        self._engines = engines
        self._guards = [engine for engine in engines if isinstance(engine, Guard)]
        self._board = Board(wiring.store)
        self._rescans = Rescans(wiring.store, beyond_memory=True)
        self._process = consumer_name()
        self._said: tuple[tuple[Health, ...], int] = ((), 0)
        self._away = False
        self._hurry = 0
        """What waits and would be scanned again up to then (ns) is so at once: all engines are back since a moment."""

    async def run(self, stop: asyncio.Event) -> None:
        duties = (self.visit, self.report, self.put_back)
        try:
            await asyncio.gather(*(self._repeat(duty, stop) for duty in duties))
        finally:
            with contextlib.suppress(StoreError):
                await self._board.forget(self._process)

    async def _repeat(self, duty: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await duty()
            except StoreError:
                pass  # the scanner itself says so
            except Exception:
                log.exception("a duty failed, will be tried again", duty=getattr(duty, "__name__", ""))
            await pause(stop, EVERY)

    async def visit(self) -> None:
        """See to those engines that were not heard of for a while, or that are in trouble."""
        now = self._wiring.clock()
        wanted = [guard for guard in self._guards if _is_to_be_visited(guard, now)]
        await asyncio.gather(*(guard.visit() for guard in wanted), return_exceptions=True)

    async def report(self) -> None:
        now = self._wiring.clock()
        healths = tuple(engine.health() for engine in self._engines)
        for health in healths:
            metrics.ENGINE_MESSAGES.reached(health.messages, health.name)
            metrics.ENGINE_ERRORS.reached(health.errors, health.name)
            metrics.ENGINE_UP.set(state_of(health) != AWAY, health.name)
        said, at = self._said
        if healths != said or now - at >= RENEW:
            await self._board.report(self._process, healths, now)
            self._said = (healths, now)

    async def put_back(self) -> None:
        """Messages that have waited for an engine long enough to be scanned again, and all that wait when it is back.

        Those that are put off once more after that have their time: one that an engine fails at is not tried in a circle.
        """
        now = self._wiring.clock()
        was_away, self._away = self._away, any(guard.tally.until for guard in self._guards)
        if was_away and not self._away:
            self._hurry = now + int(self._wiring.settings.engines_retry)
        await self._rescans.put_back(now if self._away else max(now, self._hurry))


def _is_to_be_visited(guard: Guard, now: int) -> bool:
    return bool(guard.tally.failing) or now - guard.tally.heard_at >= IDLE
