"""The way to an object store of bodies: one question at a time of a bounded number, and what no answer means.

While the store is away one question in `PAUSE` is asked and the others fail at once, so that senders are answered, small
messages pass, and nobody spins. What trying again does not mend (credentials, a bucket that is not there) is an outage as well:
mail waits until somebody has mended it, and nothing is lost or set aside for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipeline import metrics, objectstore
from pipeline.faults import CorruptError, StoreAwayError, StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

TOGETHER: Final = 16
"""Requests of one process at once."""
PAUSE: Final = 2.0
"""Seconds after a question that was not answered in which no other is asked."""

log = structlog.get_logger()


async def together(*questions: Awaitable[None]) -> None:
    """Ask together, and wait for all. Raises the first fault."""
    for result in await asyncio.gather(*questions, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


class Way:
    def __init__(self, address: str, timeout: float) -> None:
        """`timeout`: seconds that a question may take. Raises ConfigurationError."""
        self.place = objectstore.checked(address, "bodies_store")
        self._timeout = timeout
        self._opened: ObjectStore | None = None
        self._turns = asyncio.Semaphore(TOGETHER)
        self._fault: StoreAwayError | None = None
        self._quiet_until = 0.0

    @property
    def _store(self) -> Any:
        """Opened when it is first asked, and anew after a fault: credentials may be others by now."""
        if self._opened is None:
            self._opened = objectstore.opened(self.place, timedelta(seconds=self._timeout))
        return self._opened

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[Any]:
        """One question to the store. What is an answer passes: FileNotFoundError, and the library's AlreadyExistsError.

        Raises StoreAwayError.
        """
        async with self._turns:
            if self._fault is not None and time.monotonic() < self._quiet_until:
                raise StoreAwayError(str(self._fault), remedy=self._fault.remedy)
            try:
                async with asyncio.timeout(self._timeout):
                    yield self._store
            except (CorruptError, StoreError, FileNotFoundError):
                raise
            except Exception as error:
                if type(error).__name__ == "AlreadyExistsError":
                    raise
                raise self.away(error) from None
            if self._fault is not None:
                self._fault = None
                log.info("the store of bodies is back", place=self.place)

    def away(self, error: Exception) -> StoreAwayError:
        denied = objectstore.is_denied(error)
        metrics.BODIES_FAILURES.add("denied" if denied else "away")
        what = "does not let us" if denied else "cannot be reached"
        text = objectstore.words(error) or "no answer in time"
        fault = StoreAwayError(f"the store of bodies, {self.place}, {what}: {text}", remedy=objectstore.remedy(error))
        if self._fault is None:
            log.error("the store of bodies is away", reason=str(fault), remedy=fault.remedy)
        self._fault, self._opened = fault, None
        self._quiet_until = time.monotonic() + PAUSE
        return fault

    async def confirm(self, name: str) -> None:
        """The store says that there is no such thing; it says so, too, of what is in a bucket that is not there. Raises StoreAwayError then."""
        import obstore  # noqa: PLC0415 - an extra, and it takes a moment to load

        try:
            async with self.asking() as store:
                await anext(aiter(obstore.list(store, name.rpartition("/")[0], chunk_size=1)), None)
        except FileNotFoundError as error:
            raise self.away(error) from None
