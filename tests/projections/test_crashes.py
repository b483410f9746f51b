"""Views through crashes: whoever folds may die before a batch is stored, or after that and before it hears of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import fakeredis
from fakeredis import FakeAsyncRedis
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.log import Damaged, Log, Page
from pipeline.settings import Settings
from pipeline.store import Client
from projections.base import View, advance, first_of, position
from projections.compare import differences
from projections.views import projections
from tests.support.histories import impossible, legal, write_log

VIEWS = projections(Settings())
deaths = st.lists(st.sampled_from(["none", "before", "after", "both"]), min_size=1, max_size=12)
sizes = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def of_build(number: int) -> list[View]:
    return [View(0, projection, number) for projection in VIEWS]


class Folder:
    """Folds a log into views as a projector does, and dies as it is told to."""

    def __init__(self, redis: Client, views: Sequence[View]) -> None:
        self._redis = redis
        self._views = views
        self._log = Log(redis)

    async def fold(self, size: int, death: str) -> bool:
        """One batch of each view, each read for itself; whether there was anything."""
        busy = False
        for view in self._views:
            reached = await position(self._redis, view)
            page: Page | None = await self._log.page(0, reached, size, None, view.projection.kinds)
            while page is not None and page.count:
                busy = True
                portion, page = first_of([view], reached, page)
                if death in ("before", "both"):
                    break  # what was folded is lost, and folded again by whoever comes next
                assert await advance(self._redis, [portion]) == [True]
                if death in ("after", "both"):
                    # Whoever comes next did not hear of it, and a twin did not either.
                    assert await advance(self._redis, [portion, portion]) == [False, False]
                reached = portion.reached
        return busy


async def same(events: Sequence[Any], batches: Sequence[int], dying: Sequence[str]) -> None:
    redis = FakeAsyncRedis(server=fakeredis.FakeServer(), version=(7,))
    await write_log(redis, events)
    crashing, calm = of_build(1), of_build(2)
    steps = zip(batches, dying, strict=False)
    folder = Folder(redis, crashing)
    for size, death in steps:
        await folder.fold(size, death)
    while await folder.fold(7, "none"):
        pass
    while await Folder(redis, calm).fold(10_000, "none"):
        pass

    async def still(_: str) -> None:
        """Both have seen all there is."""

    for one, other in zip(crashing, calm, strict=True):
        assert await position(redis, one) == await position(redis, other)
        assert [difference async for difference in differences(redis, one, other, still)] == []
    await redis.aclose()


@settings(max_examples=15)
@given(st.integers(0, 2**32), sizes, deaths)
def test_crashes_between_batches_of_any_size_leave_every_view_as_one_batch_would(seed, batches, dying):
    events, _ = legal(random.Random(seed), messages=8, steps=80)
    asyncio.run(same([*events[:30], Damaged(0, "", "lost", ""), *events[30:]], batches, dying))


@settings(max_examples=15)
@given(st.integers(0, 2**32), sizes, deaths)
def test_crashes_amid_impossible_histories_do_too(seed, batches, dying):
    asyncio.run(same(impossible(random.Random(seed), 50), batches, dying))
