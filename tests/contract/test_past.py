"""What is found of the past is the same before and after the log was copied to a real archive and trimmed behind it."""

from __future__ import annotations

import random
from pathlib import Path

from pipeline.archive.archive import SealedArchive
from pipeline.archive.objects import LocalObjects
from pipeline.archive.trimming import trim
from pipeline.archive.writing import Writer
from pipeline.events import Received
from pipeline.history import History
from pipeline.ids import partition_for
from pipeline.log import Log
from pipeline.places import DAY_MS, HOUR_MS, place_of
from pipeline.store import open_client
from projections.cutting import cut
from projections.readers.past import Past
from projections.readers.past.finding import Query
from projections.replay import replay
from tests.projections.test_past import FACTOR, VIEWS, fold
from tests.projections.test_search import varied
from tests.support.examples import AT
from tests.support.histories import DOMAINS, legal
from tests.support.memoryarchive import stretched, write_entries
from tests.support.servers import RedisServer

PARTITIONS = 8
DOMAIN = DOMAINS[0]
QUERIES = (
    Query(sender="@x.test"), Query(recipient=f"r1@{DOMAIN}"), Query(subject="invoice 2026"), Query(client="192.0.2.1"),
    Query(server="mx1.example.test"), Query(domain=DOMAIN), Query(message_id="1@x"), Query(),
    Query(sender="anna@x.test", subject="invoice", server="mx0.example.test"),
    Query(sender="@x.test", start=AT, end=AT + 3 * HOUR_MS * 1_000_000),
)  # fmt: skip


async def everything(past: Past, ids: list[str]) -> list[list[str]]:
    """What all questions find."""
    found = [[one.id async for one in past.find(query)] for query in QUERIES]
    found += [[one.entry async for one in past.message(name)] for name in ids]
    found.append([one.entry async for one in past.attempts(DOMAIN, 0, 1 << 62)])
    return found


async def test_nobody_sees_where_redis_ends_and_the_archive_begins(redis_server: RedisServer, tmp_path: Path):
    redis = open_client(redis_server.url)
    partition = partition_for(DOMAIN, PARTITIONS)
    rng = random.Random(5)
    events = [one for one in legal(rng, messages=60, steps=500, partition=partition)[0] if one.event.domain == DOMAIN]
    events = [varied(rng, one) for one in stretched(events, FACTOR, AT)]
    ids = [one.subject for one in events if isinstance(one.event, Received)]
    await write_entries(redis, events)
    await fold(redis, events)
    log = Log(redis)
    before = await everything(Past(redis, History(log), PARTITIONS), ids)
    assert sum(map(bool, before)) > len(before) // 2

    archive = SealedArchive(redis, LocalObjects(tmp_path / "archive"))
    writer = Writer(redis, archive, partition, 100)
    assert await writer.hold()
    await writer.settle()
    while await writer.next(place_of(events[-1].entry)[0] + 2 * DAY_MS) is not None:
        pass
    past = Past(redis, History(log, archive), PARTITIONS)
    first = place_of(events[0].entry)[0]
    for hours in (0, 0.7, 2, 4.3, 1000):
        # As it is where there is room, or where there is too little.
        floor, _ = await trim(redis, partition, first + int(hours * HOUR_MS), HOUR_MS if hours == int(hours) else 1)
        await cut(redis, partition, floor)
        assert await everything(past, ids) == before
        for view in VIEWS:
            assert (await replay(redis, log, [partition], view, now=AT)).equal
    await archive.close()
    await redis.aclose()
