"""What stands between us and an engine: it counts, it measures, and it leaves one outside alone that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

import structlog

from pipeline import metrics
from pipeline.events import Finding
from pipeline.scanning.engine import ENGINE_ERROR, Engine, LocalEngine, Mail
from pipeline.scanning.engines.health import Health, Tally
from pipeline.scanning.faults import EngineFault, EngineSkipped, Unable
from pipeline.units import SECOND, Duration

LATE: Final = "did not answer in time"

_log = structlog.get_logger(__name__)

Clock = Callable[[], int]
"""ns since 1970."""


class Client(Protocol):
    """Speaks an engine's language."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    async def scan(self, mail: Mail) -> Sequence[Finding]: ...
    async def ping(self) -> None: ...
    def close(self) -> None: ...


class Guard:
    """An Engine around a client. `most`: messages that it has in hand at once."""

    outside: Final = True
    """What it does not see, policy decides on (see missing.py)."""

    def __init__(self, client: Client, deadline: Duration, most: int, clock: Clock = time.time_ns) -> None:
        self.deadline = deadline
        self.room = asyncio.Semaphore(most)
        self.tally = Tally(client.name, int(deadline))
        self._client = client
        self._clock = clock

    @property
    def name(self) -> str:
        return self._client.name

    @property
    def version(self) -> str:
        return self._client.version

    async def scan(self, mail: Mail) -> Sequence[Finding]:
        """Raises EngineFault."""
        if not self.tally.may_ask(self._clock()):
            raise EngineSkipped(f"is not asked for a while, as it {self.tally.last_error.partition(':')[0]}")
        self.tally.asked()
        started = time.monotonic_ns()
        with self._counted():
            found = await self._client.scan(mail)
            _answered(self, self._clock(), time.monotonic_ns() - started)
        return found

    async def visit(self) -> None:
        """See whether it is there, without a message. Raises EngineFault."""
        with self._counted(message=False):
            try:
                async with asyncio.timeout(self.deadline.seconds):
                    await self._client.ping()
            except TimeoutError:
                raise EngineFault(LATE) from None
            self.tally.reached(self._clock())

    @contextlib.contextmanager
    def _counted(self, *, message: bool = True) -> Iterator[None]:
        """What goes wrong is counted, and logged when it changes something."""
        out = bool(self.tally.until)
        try:
            yield
        except Unable as fault:
            self.tally.unable(self._clock(), fault.whole)
            raise
        except asyncio.CancelledError:
            self.tally.failed(self._clock(), LATE, message=message)
            raise
        except EngineFault as fault:
            self.tally.failed(self._clock(), fault.whole, message=message)
            raise
        except Exception as error:
            self.tally.failed(self._clock(), f"failed: {type(error).__name__}", message=message)
            raise
        finally:
            if self.tally.until and not out:
                _log.warning("engine is away", engine=self.name, reason=self.tally.last_error)
            elif out and not self.tally.until:
                _log.info("engine is back", engine=self.name)

    def health(self) -> Health:
        return self.tally.health(self.version)

    def close(self) -> None:
        self._client.close()


class Timed:
    """A LocalEngine that is measured as the others are."""

    def __init__(self, engine: LocalEngine, clock: Clock = time.time_ns) -> None:
        self.name = engine.name
        self.version = engine.version
        self.tally = Tally(engine.name)
        self._engine = engine
        self._clock = clock

    def look(self, mail: Mail) -> Sequence[Finding]:
        self.tally.asked()
        started = time.monotonic_ns()
        try:
            found = self._engine.look(mail)
        except Exception as error:
            self.tally.unable(self._clock(), f"failed: {type(error).__name__}")
            raise
        _answered(self, self._clock(), time.monotonic_ns() - started)
        failed = next((finding for finding in found if finding.name == ENGINE_ERROR), None)
        if failed is not None:
            # One of its tests: the others answered, and somebody has to see it all the same.
            self.tally.unable(self._clock(), failed.text)
        return found

    def health(self) -> Health:
        return self.tally.health(self.version)


class Awaited:
    """An Engine of ours, which waits for the store or the DNS, measured as the others are. It is always asked."""

    def __init__(self, engine: Engine, clock: Clock = time.time_ns) -> None:
        self.name = engine.name
        self.version = engine.version
        self.deadline = engine.deadline
        self.tally = Tally(engine.name, int(engine.deadline))
        self._engine = engine
        self._ready: Callable[[Mail], Sequence[Finding] | None] | None = getattr(engine, "at_once", None)
        self._clock = clock

    def at_once(self, mail: Mail) -> Sequence[Finding] | None:
        if self._ready is None:
            return None
        started = time.monotonic_ns()
        found = self._ready(mail)
        if found is not None:
            self.tally.asked()
            _answered(self, self._clock(), time.monotonic_ns() - started)
        return found

    async def scan(self, mail: Mail) -> Sequence[Finding]:
        self.tally.asked()
        started = time.monotonic_ns()
        try:
            found = await self._engine.scan(mail)
        except asyncio.CancelledError:
            self.tally.unable(self._clock(), LATE)
            raise
        except Exception as error:
            self.tally.unable(self._clock(), f"failed: {type(error).__name__}")
            raise
        _answered(self, self._clock(), time.monotonic_ns() - started)
        return found

    def health(self) -> Health:
        return self.tally.health(self.version)


@contextlib.asynccontextmanager
async def room(guards: Iterable[Guard]) -> AsyncIterator[None]:
    """A place at each of them, for one message. Waiting for it counts for no deadline: it is we who are busy.

    Everybody takes them in the same order, so nobody waits in a circle.
    """
    async with contextlib.AsyncExitStack() as stack:
        for guard in guards:
            await stack.enter_async_context(guard.room)
        yield


def _answered(one: Guard | Timed | Awaited, now: int, took: int) -> None:
    one.tally.answered(now, took)
    metrics.ENGINE_SECONDS.observe(took / SECOND, one.name)
