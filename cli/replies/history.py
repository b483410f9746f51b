"""Recorded attempts, out of the log itself and its archive: a page at a time, however long they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from cli.diagnoses import attempts_of
from cli.progress import Progress
from pipeline import keys
from pipeline.decide import REFUSED
from pipeline.events import Attempt, Deferred, Failed, Recorded, RouteDeferred, Undeliverable
from pipeline.ids import partition_for
from pipeline.log import SKEW_MS, Damaged
from pipeline.places import place_of
from pipeline.store import faults

if TYPE_CHECKING:
    from cli.session import Session

PAGE: Final = 1000
"""Entries in one answer of Redis: half a megabyte, some milliseconds of its time."""
_MS: Final = 1_000_000


class Tried(NamedTuple):
    domain: str
    at: int
    attempt: Attempt


class History:
    """`first`, `last`: ns, both inside. `read` and `damaged` count entries of the log."""

    def __init__(self, opened: Session, domain: str, first: int, last: int) -> None:
        self._wiring = opened.wiring
        self._domain = domain
        self._first = first
        self._last = last
        self.read = 0
        self.damaged = 0

    def _partitions(self) -> Sequence[int]:
        count = self._wiring.store.partitions
        return [partition_for(self._domain, count)] if self._domain else range(count)

    async def attempts(self) -> AsyncIterator[Tried]:
        """Each try that did not succeed, in the order of its partition. The log as it was when this began: what comes meanwhile is
        not waited for.
        """
        partitions = self._partitions()
        ends = {partition: await self._wiring.log.last_entry(partition) for partition in partitions}
        with Progress("reading the log", await self._total(partitions)) as bar:
            for partition in partitions:
                async for tried in self._of(partition, ends[partition], bar):
                    yield tried

    async def _total(self, partitions: Sequence[int]) -> int | None:
        """Entries to read; None when only a part of the log is, or what is archived as well."""
        if self._first > 0 or self._wiring.history.archive is not None:
            return None
        with faults():
            pipe = self._wiring.store.redis.pipeline(transaction=False)
            for partition in partitions:
                pipe.xlen(keys.log(partition))
            return sum(map(int, await pipe.execute()))

    async def _of(self, partition: int, end: str, bar: Progress) -> AsyncIterator[Tried]:
        # An entry has Redis's time and its event the worker's, which may be a little apart.
        after = str(max(0, self._first // _MS - SKEW_MS))
        latest = self._last // _MS + SKEW_MS
        while True:
            page = await self._wiring.history.read(partition, after, PAGE, end)
            for entry in page:
                self.read += 1
                if isinstance(entry, Damaged):
                    self.damaged += 1
                else:
                    for tried in self._wanted(entry):
                        yield tried
            bar.advance(len(page))
            # A page may be short where the archive ends and Redis begins.
            if not page or place_of(page[-1].entry)[0] > latest:
                return
            after = page[-1].entry

    def _wanted(self, entry: Recorded) -> Sequence[Tried]:
        event = entry.event
        if (
            not isinstance(event, Deferred | Failed | Undeliverable | RouteDeferred)
            or (self._domain and event.domain != self._domain)
            or not self._first <= event.at <= self._last
        ):
            return ()
        if isinstance(event, Failed | Undeliverable) and event.reason != REFUSED:
            return ()  # too old, or returned by hand: its words are those of an attempt that is recorded already
        return [Tried(event.domain, event.at, attempt) for attempt in attempts_of(event)]
