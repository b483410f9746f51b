"""Folds the logs into views: one projector per partition at a time, any number of them standing by.

The loop waits until something was appended, gathers for a moment (fast mail then comes and goes within a batch, and costs
the views next to nothing), and folds what there is into all views at once. A view that is behind the others, because its
version is new or it was just made, is brought forward from its own checkpoint beside them, and becomes the live one when it
has caught up. Nothing is kept in memory that Redis does not know: a projector may die at any moment, and the next one goes on
from the checkpoints.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog

from pipeline import keys, metrics
from pipeline.events import Event
from pipeline.faults import StoreAwayError, StoreError, StoreFullError
from pipeline.lease import hold, release
from pipeline.log import Edge, Log, Page, read_pages
from pipeline.pause import end, pause
from pipeline.places import place_of
from pipeline.steps import MS
from pipeline.store import Client, faults
from pipeline.topology.spread import is_spread
from pipeline.units import SECOND
from projections import builds
from projections.base import History, Portion, Projection, View, advance, first_of, position
from projections.views import projections
from workers.notify import notify
from workers.wiring import Wiring

BATCH: Final = 1000
"""Events of one partition in one fold: about 5 ms of the server's time."""
GATHER: Final = 0.1
"""Seconds between the first new event and folding; twenty times shorter than a view may be behind."""
GATHER_BUSY: Final = 0.5
"""The same when the last round brought many: most mail then comes and goes within a batch. Measured at 1,000 messages/s, with
half of the CPU."""
BUSY: Final = 200
"""Events in a round that are many."""
LEASE: Final = 5.0
"""Seconds after which a dead projector's partitions are taken over."""
RENEWALS: Final = 4
"""In the time of a lease, which so survives two that fail."""
TIDY_EVERY: Final = 60.0
"""Seconds between two looks for builds that are dead."""
BLOCK_MS: Final = 500
"""How long a read waits for something new; also how long a stop may take when there is nothing."""
PATIENCE: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds to wait before the first, second, ... look whether Redis is back."""

_log = structlog.get_logger("projector")


def lease_key(partition: int) -> str:
    """gp:{p}:view:lease   string   token of the projector that folds this partition's log.

    It saves two projectors from doing the same work; that nothing counts twice is the checkpoint's business (fold.lua), so a lease that
    runs out at a bad moment does no harm.
    """
    return f"gp:{{{partition}}}:view:lease"


class Folding(msgspec.Struct):
    """A view that this projector brings forward."""

    view: View
    checkpoint: str
    live: bool


class Projector:
    def __init__(
        self,
        redis: Client,
        blocking: Client,
        history: History,
        partitions: Sequence[int],
        views: Sequence[Projection],
        *,
        lease: float = LEASE,
        complete: bool = False,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`blocking`: a client of its own for reads that wait. `lease`: seconds. `complete`: there are no other views, and what is
        left of others goes. `clock`: ns since the epoch.
        """
        self._redis = redis
        self._blocking = blocking
        self._history = history
        self._log = Log(redis)
        self._partitions = partitions
        self._projections = views
        self._kinds = _kinds(views)
        self._all = frozenset(view.name for view in views) if complete else None
        self._lease = lease
        self._clock = clock
        self._token = secrets.token_hex(8)
        self._renew_at = self._tidy_at = 0.0
        self._busy = False
        self.held: dict[int, list[Folding]] = {}
        self._edges: dict[int, Edge] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Waits while Redis is away or full; raises StoreError for what waiting does not mend.

        In a Cluster each partition is folded by itself: one read is of one slot, and a node that is away holds up no other.
        """
        if len(self._partitions) == 1 or not is_spread(self._redis):
            await self._run(stop)
            return
        tasks = [asyncio.create_task(self._of_one(partition).run(stop)) for partition in self._partitions]
        try:
            await asyncio.gather(*tasks)
        finally:
            await end(tasks)

    def _of_one(self, partition: int) -> Projector:
        return Projector(
            self._redis, self._blocking, self._history, [partition], self._projections,
            lease=self._lease, complete=self._all is not None, clock=self._clock,
        )  # fmt: skip

    async def _run(self, stop: asyncio.Event) -> None:
        failed = 0
        pulse = metrics.PULSES.of("project", metrics.TURN)
        while not stop.is_set():
            pulse.beat()
            try:
                await self._round(stop)
                if failed:
                    _log.info("redis is back")
                failed = 0
            except (StoreAwayError, StoreFullError) as error:
                if not failed:
                    _log.warning("views stand still", reason=str(error))
                self.held.clear()
                self._renew_at = 0.0
                await pause(stop, PATIENCE[min(failed, len(PATIENCE) - 1)])
                failed += 1
        with suppress(StoreError):
            await self.release()

    async def catch_up(self) -> None:
        """Bring all views to the end of the log, whoever holds the leases."""
        for partition in self._partitions:
            await self._reopen(partition)
        while await self.fold():
            pass
        self.held.clear()

    async def _round(self, stop: asyncio.Event) -> None:
        if time.monotonic() >= self._renew_at:
            await self.renew()
        if not self.held:
            await pause(stop, self._lease / RENEWALS)
            return
        if not self._behind():
            if not await self._grown():
                return
            await pause(stop, GATHER_BUSY if self._busy else GATHER)
        while await self.fold() and not stop.is_set() and time.monotonic() < self._renew_at:
            pass
        if self._behind():
            await pause(stop, GATHER)

    async def renew(self) -> None:
        """Keep the leases held, and take those that are free."""
        for partition in self._partitions:
            if not await hold(self._redis, lease_key(partition), self._token, self._lease):
                self.held.pop(partition, None)
            elif partition not in self.held:
                await self._reopen(partition)
        self._renew_at = time.monotonic() + self._lease / RENEWALS
        await self._tidy()

    async def _tidy(self) -> None:
        """Builds that were replaced, or left behind by somebody who was killed."""
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_EVERY
            for partition in self.held:
                await builds.drop_dead(self._redis, partition, self._clock(), self._all)

    async def release(self) -> None:
        for partition in self._partitions:
            await release(self._redis, lease_key(partition), self._token)

    async def _reopen(self, partition: int) -> None:
        """Look which builds are to be folded, and how far they are."""
        opened = []
        for projection in self._projections:
            view, live = await builds.to_fold(self._redis, partition, projection)
            opened.append(Folding(view, await position(self._redis, view), live))
        self.held[partition] = opened
        self._edges[partition] = await self._history.edge(partition)

    def _archived(self, partition: int, entry: str) -> bool:
        """Whether what follows an entry may be in the archive only: the views were lost, as the log is never trimmed before them."""
        return self._edges[partition].hides(entry)

    def _behind(self) -> bool:
        """Whether some view has to catch up, for which no new event is needed."""
        for partition, foldings in self.held.items():
            front = _front(foldings)
            if self._archived(partition, front) or any(
                folding.checkpoint != front or not folding.live for folding in foldings
            ):
                return True
        return False

    def _fronts(self) -> dict[Any, Any]:
        return {keys.log(partition): _front(foldings) for partition, foldings in self.held.items()}

    async def _grown(self) -> bool:
        """Whether a log has grown beyond the views; waits for it a while."""
        block = min(BLOCK_MS, int((self._renew_at - time.monotonic()) * 1000))
        with faults():
            return bool(await self._blocking.xread(self._fronts(), count=1, block=max(1, block)))

    async def _tails(self) -> dict[int, Page]:
        """What the logs hold beyond the views, up to a batch of each."""
        fronts = {partition: _front(foldings) for partition, foldings in self.held.items()}
        return await read_pages(self._redis, fronts, BATCH, self._kinds)

    async def fold(self) -> bool:
        """Bring all views one batch forward; whether there is more."""
        metrics.PULSES.of("project", metrics.TURN).beat()
        tails = await self._tails() if self.held else {}
        work: list[tuple[Portion, list[Folding]]] = []
        more = False
        for partition, foldings in self.held.items():
            front = _front(foldings)
            for (checkpoint, _), level in _levels(foldings).items():
                page = tails.get(partition)
                if checkpoint != front or self._archived(partition, front):
                    page = await self._missed(partition, level, front)
                if page is None or not page.count:
                    continue
                portion, left = first_of([folding.view for folding in level], checkpoint, page)
                work.append((portion, level))
                more = more or left is not None or page.count >= BATCH
        stored = await self._advance(work) if work else []
        for (portion, level), done in zip(work, stored, strict=True):
            if done:
                for folding in level:
                    folding.checkpoint = portion.reached
            else:
                _log.info("another projector was first", partition=portion.views[0].partition)
                await self._reopen(portion.views[0].partition)
        self._busy = sum(page.count for page in tails.values()) >= BUSY
        for partition in list(self.held):
            if partition not in tails or tails[partition].count < BATCH:
                await self._switch(partition)
        return bool(work) and (more or self._behind())

    async def _missed(self, partition: int, level: Sequence[Folding], front: str) -> Page:
        """What follows for views that are not where the end of the log is read."""
        checkpoint, hot = level[0].checkpoint, level[0].view.projection.hot
        source = self._log if hot else self._history
        kinds = _kinds(folding.view.projection for folding in level)
        page = await source.page(partition, checkpoint, BATCH, None if checkpoint == front else front, kinds)
        if hot and checkpoint != front and not page.count:
            await self._skip(partition, level, front)
        return page

    async def _skip(self, partition: int, level: Sequence[Folding], until: str) -> None:
        """Views of what is in Redis, where that is nothing up to an entry that the others have seen: they are as far."""
        portion = Portion([folding.view for folding in level], level[0].checkpoint, [], until)
        (stored,) = await advance(self._redis, [portion])
        if not stored:
            await self._reopen(partition)
        for folding in level if stored else ():
            folding.checkpoint = until

    async def _advance(self, work: Sequence[tuple[Portion, list[Folding]]]) -> list[bool]:
        """Fold, and measure it."""
        began = time.monotonic()
        stored = await advance(self._redis, [portion for portion, _ in work])
        metrics.PROJECTED_SECONDS.observe(time.monotonic() - began)
        self._measure(work)
        return stored

    def _measure(self, work: Sequence[tuple[Portion, list[Folding]]]) -> None:
        now = self._clock()
        lags: dict[str, int] = {}
        for portion, level in work:
            metrics.PROJECTED.add(by=len(portion.entries))
            metrics.PROJECTED_BATCH.observe(len(portion.entries))
            behind = now - place_of(portion.reached)[0] * MS
            for folding in level:
                name = folding.view.projection.name
                lags[name] = max(lags.get(name, 0), behind)
        for name, lag in lags.items():
            metrics.PROJECTED_LAG.set(lag / SECOND, name)

    async def _switch(self, partition: int) -> None:
        """Views that have caught up take the place of those of another version."""
        front = _front(self.held[partition])
        for folding in self.held[partition]:
            if folding.live or folding.checkpoint != front:
                continue
            view = folding.view
            live = await builds.live(self._redis, partition, view.projection)
            if live is None or not await builds.switch(
                self._redis, live[0], view, old_version=live[1], caught_up=False, now=self._clock()
            ):
                await self._reopen(partition)
                return
            folding.live = True
            _log.info("view rebuilt", view=view.projection.name, partition=partition, version=view.projection.version)


def _front(foldings: Sequence[Folding]) -> str:
    """The furthest checkpoint, where all views of a partition are but those that catch up."""
    return max((folding.checkpoint for folding in foldings), key=place_of)


def _kinds(views: Iterable[Projection]) -> frozenset[type[Event]]:
    """What any of them looks at."""
    return frozenset().union(*(view.kinds for view in views))


def _levels(foldings: Sequence[Folding]) -> dict[tuple[str, bool], list[Folding]]:
    """Views by how far they are; those that hold what is in Redis apart, as what came before the first entry there is not for them."""
    levels: dict[tuple[str, bool], list[Folding]] = {}
    for folding in foldings:
        levels.setdefault((folding.checkpoint, folding.view.projection.hot), []).append(folding)
    return levels


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    """Fold until `stop`."""
    blocking = wiring.store.blocking()
    try:
        projector = Projector(
            wiring.store.redis,
            blocking,
            wiring.history,
            range(wiring.store.partitions),
            projections(wiring.settings),
            complete=True,
            clock=wiring.clock,
        )
        notify("READY=1")
        await projector.run(stop)
    finally:
        await blocking.aclose()
