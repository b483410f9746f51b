"""A view as it was at a moment: folded from the first event up to then, read by the readers of the live one, and dropped.

A moment cuts the log by the entries' own time, which is Redis's clock: what was appended by then is in, in the order of the log, so the
view is one that there was. The time that an event says of itself may differ by the skew of two clocks.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from pipeline.store import Client
from projections import builds
from projections.base import History, Projection, View
from projections.builds import Source
from projections.rebuild import Pace, Rebuild
from projections.replay import Progress

_MS: Final = 1_000_000
_LAST: Final = (1 << 64) - 1
"""The greatest number of an entry within its millisecond."""


def last_entry(moment: int) -> str:
    """The last entry that could have been appended by a moment (ns)."""
    return f"{moment // _MS}-{_LAST}"


@asynccontextmanager
async def temporary_builds(
    redis: Client, partitions: Sequence[int], projection: Projection, now: int
) -> AsyncIterator[list[View]]:
    """A build for each partition, which are dropped in any case. `now`: ns."""
    views: list[View] = []
    try:
        for partition in partitions:
            await builds.drop_dead(redis, partition, now)
            views.append(await builds.temporary(redis, partition, projection, now))
        yield views
    finally:
        await builds.drop_surely(redis, views)


def source(redis: Client, views: Sequence[View]) -> Source:
    """For readers that are to look at these builds of one view."""
    return Source(redis, {views[0].projection.name: {view.partition: view.prefix for view in views}} if views else {})


async def fold_until(
    redis: Client,
    log: History,
    views: Sequence[View],
    moment: int,
    *,
    now: int,
    domain: str = "",
    pace: Pace | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> int:
    """Fold what had been appended by a moment (ns) into builds that hold nothing yet; how many events were read."""
    started = time.monotonic()
    events = 0
    for view in views:

        def told(folded: int, partition: int = view.partition) -> None:
            nonlocal events
            events += folded
            if progress is not None:
                progress(Progress(partition, events, time.monotonic() - started))

        rebuild = Rebuild(redis, log, view, told, now=now, domain=domain, pace=pace)
        await rebuild.follow(last_entry(moment))
    return events
