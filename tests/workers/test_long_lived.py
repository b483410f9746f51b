"""What is asked about a message long after: its log was taken out of Redis meanwhile, and the answer is the same."""

from __future__ import annotations

import pytest

from pipeline import keys, ownmail
from pipeline.archive.trimming import trim
from pipeline.archive.writing import Writer
from pipeline.events import Discarded, Scanned, encode
from pipeline.faults import ConfigurationError, NotFoundError, RefusedError
from pipeline.history import History
from pipeline.ids import new_id
from pipeline.places import DAY_MS, HOUR_MS
from pipeline.state import Stage
from pipeline.steps import message_step
from projections.books import Books
from projections.outbound import Outbound
from projections.readers.actions import Actions
from projections.readers.actions import Query as Asked
from projections.readers.past import Past
from projections.readers.past.finding import Query
from projections.trace import Trace
from tests.support.examples import DOMAIN
from tests.workers.conftest import PARTITION
from workers.consume import Entry
from workers.janitor import Janitor
from workers.projector import Projector
from workers.steering import live_or_refuse


async def finish(wiring, message_id):
    message = await wiring.head(message_id)
    now = wiring.clock()
    events = [Discarded(at=now, domain=message.domain, recipients=(f"anna@{DOMAIN}",), reason="deleted")]
    if not message.addresses(Stage.QUEUED):
        events.insert(0, Scanned(at=now, domain=message.domain, verdict="clean", score=0.0))
    await wiring.log.commit(message_step(message, events, now=now)[0])
    assert await wiring.head(message_id) is None


async def archived(wiring):
    """All of the log is out of Redis, as if months had gone by."""
    redis, now = wiring.store.redis, wiring.clock() // 1_000_000
    blocking = wiring.store.blocking()
    await Projector(redis, blocking, wiring.history, [PARTITION], (Books(), Trace(), Outbound())).catch_up()
    await blocking.aclose()
    writer = Writer(redis, wiring.archive, PARTITION, 1000)
    assert await writer.hold()
    while await writer.next(now + 2 * DAY_MS):
        pass
    await writer.release()
    await trim(redis, PARTITION, (now // HOUR_MS + 1) * HOUR_MS)
    assert await redis.xlen(keys.log(PARTITION)) == 0


async def test_what_was_promised_is_made_once_though_its_log_left_redis_before_that_was_noted(parts):
    wiring = await parts()
    now = wiring.clock()
    name = new_id(now, PARTITION, 7)
    event = ownmail.received(f"anna@{DOMAIN}", origin=ownmail.REPORT, size=5, now=now, lifetime=10**18)
    entry = Entry(PARTITION, keys.outbox(PARTITION), "1-1", {b"id": name.encode(), b"e": encode(event), b"b": b"hello"})
    janitor = Janitor(wiring)
    assert await janitor.send_bounces([entry]) == {}
    await finish(wiring, name)
    await archived(wiring)
    again = Entry(entry.partition, entry.stream, entry.id, entry.fields, again=True)
    assert await janitor.send_bounces([again]) == {}
    assert await wiring.head(name) is None
    assert await wiring.kinds(name) == []


async def test_a_message_that_is_finished_is_told_from_one_that_never_was(parts):
    wiring = await parts()
    message_id = await wiring.queued()
    await finish(wiring, message_id)
    await archived(wiring)
    with pytest.raises(RefusedError, match="is finished"):
        await live_or_refuse(wiring, message_id)
    with pytest.raises(NotFoundError):
        await live_or_refuse(wiring, new_id(wiring.clock(), PARTITION, 9))


async def test_who_cannot_read_the_archive_does_not_say_that_there_was_nothing(parts):
    wiring = await parts()
    message_id = await wiring.queued()
    await archived(wiring)
    assert [type(one.event).__name__ async for one in wiring.past.message(message_id)] == [
        "Received",
        "Scanned",
        "Queued",
    ]
    bare = History(wiring.log)
    past, end = Past(wiring.store.redis, bare, 8), wiring.clock() + 60 * 10**9
    asked = [
        past.holds(message_id),
        anext(past.attempts(DOMAIN, 0, end), None),
        past.page(Query(), 10),
        past.page(Query(domain=DOMAIN), 10),
        Actions(wiring.store.redis, bare, 8).page(Asked(by="anna", domain=DOMAIN), 10),
    ]
    for one in asked:
        with pytest.raises(ConfigurationError, match="DuckDB is not installed"):
            await one
    # What is younger than all that was taken out is not there, whoever looks.
    assert not await past.holds(new_id(end + 3600 * 10**9, PARTITION))
