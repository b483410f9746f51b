"""What one worker process shows of itself.

It answers from a thread with an event loop of its own, because a loop that is stuck cannot say that it is.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from pipeline import metrics
from pipeline.faults import StoreError
from pipeline.pause import end
from pipeline.store import faults
from pipeline.units import EngineAddress
from workers.monitoring import exposition
from workers.monitoring.health import LOOP, LOOP_STUCK, Readiness, not_alive, not_ready
from workers.monitoring.http import NOT_FOUND, Answer, Pages, forget, listening
from workers.monitoring.merging import merged
from workers.monitoring.store import StoreView
from workers.notify import is_ready
from workers.wiring import Wiring

BEAT: Final = 0.5
"""Seconds between two looks whether the event loop turns."""
BEATS: Final = 60
PATIENCE: Final = 2.0
"""Seconds for Redis to answer PING."""
STORE_PATIENCE: Final = 8.0
"""Seconds for reading what is measured of the store."""

T = TypeVar("T")


class Monitor:
    def __init__(self, name: str, roles: Sequence[str]) -> None:
        self._role = name
        self._registry = exposition.of_process(*roles)
        self._pulse = metrics.PULSES.of(LOOP, LOOP_STUCK)
        self._lags: collections.deque[float] = collections.deque([0.0], maxlen=BEATS)
        self._loop = asyncio.get_running_loop()
        self._wiring: Wiring | None = None
        self._stop: asyncio.Event | None = None
        self._store: StoreView | None = None
        exposition.note_build()
        metrics.LOOP_LAG.watch(lambda: max(self._lags.copy()))

    def attach(self, wiring: Wiring | None, stop: asyncio.Event) -> None:
        """What it works with, as soon as there is something."""
        self._wiring, self._stop = wiring, stop
        self._store = StoreView(wiring) if wiring is not None else None

    async def beat(self) -> None:
        """In the worker's own loop, until cancelled: say that it turns, and measure how late."""
        while True:
            self._pulse.beat()
            due = self._loop.time() + BEAT
            await asyncio.sleep(BEAT)
            self._lags.append(max(0.0, self._loop.time() - due))

    # In the thread

    async def page(self, path: str, accept: str) -> Answer:
        if path == "/healthz":
            reason = not_alive(metrics.PULSES.stuck(time.monotonic()))
            return Answer.not_now(reason) if reason else Answer.ok()
        if path == "/readyz":
            reason = await self._not_ready()
            return Answer.not_now(reason) if reason else Answer.ok()
        if path not in ("/metrics", "/metrics/store"):
            return NOT_FOUND
        as_openmetrics = exposition.wants_openmetrics(accept)
        if path == "/metrics":
            metrics.READY.set(not await self._not_ready())
            text = exposition.written(self._registry, as_openmetrics=as_openmetrics)
            text = merged([({"role": self._role}, text)], as_openmetrics=as_openmetrics)
            return Answer(200, text, exposition.TYPES[as_openmetrics])
        if self._store is None:
            return Answer.not_now("Redis was not reached yet")
        registry = exposition.of(await self._there(self._store.read(), STORE_PATIENCE))
        return Answer(
            200, exposition.written(registry, as_openmetrics=as_openmetrics), exposition.TYPES[as_openmetrics]
        )

    async def _not_ready(self) -> str:
        return not_ready(
            Readiness(
                started=is_ready(),
                stopping=self._stop is not None and self._stop.is_set(),
                redis=await self._redis(),
                directory=self._wiring is not None and self._wiring.directory.loaded,
            )
        )

    async def _redis(self) -> str:
        """Why Redis cannot be used; empty when it can."""
        if self._wiring is None:
            return "Redis was not reached yet"
        try:
            return await self._there(_ping(self._wiring), PATIENCE)
        except TimeoutError:
            return "Redis does not answer in time, or the event loop is stuck"

    async def _there(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Do something in the worker's own loop, where its clients live. Raises TimeoutError."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(future)
        except BaseException:
            future.cancel()
            raise


async def _ping(wiring: Wiring) -> str:
    try:
        with faults():
            await wiring.store.redis.ping()
    except StoreError as fault:
        return f"Redis cannot be used: {type(fault).__name__.removesuffix('Error')}"
    return ""


class Listener:
    """A thread that serves pages on a socket."""

    def __init__(self, sock: socket.socket, page: Callable[[str, str], Coroutine[Any, Any, Answer]]) -> None:
        self._sock = sock
        self._pages = Pages(page)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="monitoring", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    async def join(self) -> None:
        """Wait for its end; the caller's loop turns on meanwhile, as an answer under way may need it."""
        await asyncio.to_thread(self._thread.join, PATIENCE)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()
            self._sock.close()

    async def _serve(self) -> None:
        await self._pages.start(self._sock)
        await self._stop.wait()
        await self._pages.close()


@contextlib.asynccontextmanager
async def shown(name: str, place: EngineAddress, roles: Sequence[str] = ()) -> AsyncIterator[Monitor]:
    """Answers at `place` while the block runs. `roles`: what the process works as; its name unless said. Raises ConfigurationError when
    `place` cannot be had.
    """
    sock = listening(place)
    monitor = Monitor(name, roles or (name,))
    listener = Listener(sock, monitor.page)
    listener.start()
    beat = asyncio.create_task(monitor.beat(), name="beat")
    try:
        yield monitor
    finally:
        listener.close()
        await listener.join()
        forget(place.path)
        await end([beat])
