"""kill -9 of projectors, again and again, while events flow: every event is in every view once.

`GATEPOST_TEST_PROJECTOR_KILLS` and `GATEPOST_TEST_EVENTS` set the length: the full run is 100 kills and 100,000 events.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bench.traffic import Traffic
from pipeline import keys
from pipeline.events import Delivered, Failed, Received, encode
from pipeline.log import Log
from pipeline.settings import Settings
from pipeline.store import Client, Store, open_client
from projections.readers import read_books, read_health
from projections.replay import replay
from projections.views import projections
from tests.support.servers import ROOT, Process, RedisServer, eventually
from workers.projector import lease_key

KILLS = int(os.environ.get("GATEPOST_TEST_PROJECTOR_KILLS", "20"))
EVENTS = int(os.environ.get("GATEPOST_TEST_EVENTS", "20000"))
PARTITIONS = 3
VIEWS = projections(Settings())
SIDE_BY_SIDE = 2


class Flow:
    """Events of all partitions in turn, and what the books have to say of them."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        streams = [Traffic(partition).events(EVENTS) for partition in range(PARTITIONS)]
        self._events = ((place, *one) for place, several in self._turns(streams) for one in several)
        self.counts: Counter[str] = Counter()
        self.written = 0

    @staticmethod
    def _turns(streams: list[Iterator[Any]]) -> Iterator[tuple[int, list[Any]]]:
        while True:
            for place, stream in enumerate(streams):
                yield place, list(islice(stream, 50))

    async def write(self, count: int) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for partition, subject, version, event in islice(self._events, count):
            pipe.xadd(keys.log(partition), {"s": subject, "v": version, "e": encode(event)})
            self.written += 1
            if isinstance(event, Received | Delivered | Failed):
                self.counts[type(event).__name__] += len(event.recipients)
        await pipe.execute()


class Crew:
    """Projectors as processes, of which one is killed now and then and another started in its place."""

    def __init__(self, directory: Path, url: str) -> None:
        self._directory = directory
        self._environ = {
            "GATEPOST_DATA": str(directory),
            "GATEPOST_REDIS_URL": url,
            "GATEPOST_PARTITIONS": str(PARTITIONS),
        }
        self._started = 0
        self.running: list[Process] = []

    def start(self) -> None:
        words = [sys.executable, "-m", "cli.main", "worker", "projector"]
        self._started += 1
        log = self._directory / f"projector-{self._started}.log"
        self.running.append(Process(words, log, self._environ, ROOT))

    def kill(self, which: Process) -> None:
        self.running.remove(which)
        which.kill()


@asynccontextmanager
async def crew(directory: Path, url: str) -> AsyncIterator[Crew]:
    made = Crew(directory, url)
    try:
        for _ in range(SIDE_BY_SIDE):
            made.start()
        yield made
    finally:
        for process in made.running:
            process.stop()


async def folded(redis: Client) -> list[str]:
    """How far the views are, all of them."""
    health = await read_health(redis, Log(redis), PARTITIONS, [view.name for view in VIEWS], 2**62)
    return [one.checkpoint for one in health]


async def caught_up(redis: Client) -> bool:
    health = await read_health(redis, Log(redis), PARTITIONS, [view.name for view in VIEWS], 2**62)
    return not any(one.behind for one in health)


@pytest.mark.timeout(900)
async def test_projectors_killed_again_and_again_leave_every_event_in_every_view_once(
    own_redis: RedisServer, tmp_path: Path
):
    chance = random.Random(20261130)
    store = await Store.connect(own_redis.url, PARTITIONS)
    await store.close()
    redis = open_client(own_redis.url)
    flow = Flow(redis)
    async with crew(tmp_path, own_redis.url) as projectors:
        for number in range(KILLS):
            before = await folded(redis)
            await flow.write(EVENTS * (number + 1) // KILLS - flow.written)

            async def moved(before: list[str] = before) -> bool:
                return await folded(redis) != before

            await eventually(moved, within=30, what="some view's moving on")
            await asyncio.sleep(chance.uniform(0, 0.05))
            projectors.kill(chance.choice(projectors.running))
            # The lease of whoever died is over sooner than in life.
            for partition in range(PARTITIONS):
                await redis.pexpire(lease_key(partition), chance.randrange(1, 200))
            projectors.start()
        await eventually(lambda: caught_up(redis), within=60, what="the views' catching up")
    assert flow.written == EVENTS
    books = await read_books(redis, PARTITIONS)
    assert books.total.received == flow.counts["Received"]
    assert books.total.delivered == flow.counts["Delivered"]
    assert books.total.failed == flow.counts["Failed"]
    for view in VIEWS:
        report = await replay(redis, Log(redis), range(PARTITIONS), view, now=0)
        assert (report.events, report.differences) == (EVENTS, ())
    await redis.aclose()
