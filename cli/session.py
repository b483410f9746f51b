"""What a command works with: the store of a data directory, whether the gateway is running or not.

When it runs, the command is one more client of its Redis. When it does not, the command takes the directory's lock, which
`gatepost up` takes as well, and runs the embedded Redis for as long as it needs it; so a domain can be added before the first
start, and what happened can be looked at after the last. An outside Redis (redis_url) is simply connected to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Final

import msgspec

from cli.options import Common
from pipeline.faults import ConfigurationError, NotFoundError, StoreAwayError
from pipeline.settings import Settings
from workers.datadir import DataDirectory
from workers.embedded import EmbeddedRedis
from workers.wiring import Wiring, socket_path

PATIENCE: Final = 10.0
"""Seconds for the Redis of a gateway that is just starting to answer."""
PAUSE: Final = 0.1
SIGNALLED: Final = 128
"""Exit code of a command that a signal ended, with the signal's number added, as shells have it."""
AGAIN: Final = 0.1
"""Seconds until a command that was told to end, and goes on, is told again."""


class Session:
    """`offline`: the gateway does not run, and nothing moves until it does."""

    def __init__(self, wiring: Wiring, *, offline: bool) -> None:
        self.wiring = wiring
        self.offline = offline

    def now(self) -> int:
        return self.wiring.clock()


def actor() -> str:
    """Who changes something, as it is recorded: `cli:` and the user's name."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"cli:{name}"


@contextlib.asynccontextmanager
async def session(common: Common, *, create: bool = False, views: bool = False) -> AsyncIterator[Session]:
    """The store that the options select. `create`: also when there is none yet. `views`: they are brought up to date.

    Raises ConfigurationError, NotFoundError (no store there), StoreAwayError.
    """
    settings = common.settings()
    wiring = await _running(settings)
    if wiring is not None:
        # What a command leaves half made must not stay when it is told to end, or its terminal goes. Ctrl-C is asyncio's.
        with _terminated(signal.SIGTERM, signal.SIGHUP):
            async with _closing(wiring):
                yield Session(wiring, offline=False)
        return
    if not create and not (settings.data / "redis").is_dir():
        raise NotFoundError(
            f"there is no Gatepost in {settings.data}",
            remedy="Name its data directory with --data DIR or GATEPOST_DATA, or start one there with `gatepost up`.",
        )
    async with _own_store(settings) as opened:
        if opened.offline and views:
            await _catch_up(opened.wiring)
        yield opened


async def _running(settings: Settings) -> Wiring | None:
    """The store, when a Redis for it is up; None when it is for us to start one."""
    if settings.redis_url:
        return await Wiring.connect(settings)
    if socket_path(settings.data).exists():
        with contextlib.suppress(StoreAwayError):
            return await Wiring.connect(settings)
    return None


@contextlib.asynccontextmanager
async def _closing(wiring: Wiring) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await wiring.close()


@contextlib.asynccontextmanager
async def _own_store(settings: Settings) -> AsyncIterator[Session]:
    """The embedded Redis, run by us; or by a gateway that was faster, once it answers."""
    directory = DataDirectory(settings)
    wiring = await _ours_or_running(directory, settings)
    if wiring is not None:
        with _terminated(signal.SIGTERM, signal.SIGHUP):
            async with _closing(wiring):
                yield Session(wiring, offline=False)
        return
    server = PrivateRedis(settings)
    try:
        with _terminated(signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            await server.start()
            wiring = await Wiring.connect(msgspec.structs.replace(settings, redis_url=server.url))
            async with _closing(wiring):
                yield Session(wiring, offline=True)
    finally:
        await server.stop()
        directory.unlock()


class PrivateRedis(EmbeddedRedis):
    """The embedded Redis for one command: on a socket of its own, so that nobody relies on what ends in a moment."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._socket = socket_path(settings.data / "redis")


async def _ours_or_running(directory: DataDirectory, settings: Settings) -> Wiring | None:
    """None when the directory is locked for us. Somebody else may have it: a gateway that is about to answer, or another
    command that is soon done.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        try:
            directory.lock()
        except ConfigurationError as fault:
            wiring = await _running(settings)
            if wiring is not None:
                return wiring
            if loop.time() > deadline:
                raise StoreAwayError(
                    f"{fault}, and no Redis answers there",
                    remedy="It may be busy, or in trouble: look at its log, and try again.",
                ) from None
            await asyncio.sleep(PAUSE)
        else:
            return None


@contextlib.contextmanager
def _terminated(*numbers: signal.Signals) -> Iterator[None]:
    """These signals end the command in order, so that the server it runs is stopped with it, and what it makes is taken away."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    asked: list[int] = []
    again: list[asyncio.TimerHandle] = []

    def stop(number: int) -> None:
        asked.append(number)
        task.cancel()
        # A cancellation that meets the Redis client while it connects is swallowed there.
        again[:] = [loop.call_later(AGAIN, stop, number)]

    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    except asyncio.CancelledError:
        if asked:
            raise SystemExit(SIGNALLED + asked[0]) from None
        raise
    finally:
        for timer in again:
            timer.cancel()
        for number in numbers:
            loop.remove_signal_handler(number)


async def _catch_up(wiring: Wiring) -> None:
    """Fold what a gateway that was killed did not get to fold."""
    from projections.views import projections
    from workers.projector import Projector

    blocking = wiring.store.blocking()
    try:
        projector = Projector(
            wiring.store.redis, blocking, wiring.history, range(wiring.store.partitions), projections(wiring.settings)
        )
        await projector.renew()
        while await projector.fold():
            pass
        await projector.release()
    finally:
        await blocking.aclose()
