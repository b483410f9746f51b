"""What is found of the past is what a reading of the whole log would find: indexed or not yet, in Redis or archived."""

from __future__ import annotations

import random

import pytest

from pipeline.events import Delivered, Received, Recorded
from pipeline.history import History
from pipeline.ids import new_id, partition_for
from pipeline.log import Log
from pipeline.places import HOUR_MS
from projections import builds
from projections.base import Portion, advance, position
from projections.outbound import Outbound
from projections.readers.past import ATTEMPTS, Past
from projections.replay import replay
from projections.trace import Trace
from tests.support.examples import AT, event, received
from tests.support.histories import DOMAINS, legal, recorded
from tests.support.memoryarchive import MemoryArchive, stretched, trim, write_entries

PARTITIONS = 8
VIEWS = (Trace(), Outbound())
FACTOR = 100
"""Makes of 1.7 seconds between two events almost three minutes."""


def history(seed: int, steps: int = 150) -> list[Recorded]:
    """Of some hours. The domains are all in the partition of the first, which here nobody minds."""
    events, _ = legal(random.Random(seed), messages=10, steps=steps, partition=partition_for(DOMAINS[0], PARTITIONS))
    return stretched(events, FACTOR, AT)


async def fold(redis, events: list[Recorded], size: int = 13) -> None:
    """Bring the index views to behind `events`."""
    partition = events[0].partition
    for projection in VIEWS:
        view, _ = await builds.to_fold(redis, partition, projection)
        for start in range(0, len(events), size):
            portion = Portion([view], await position(redis, view), events[start : start + size])
            assert await advance(redis, [portion]) == [True]


def past(redis, log: Log, archive: MemoryArchive | None = None) -> Past:
    return Past(redis, History(log, archive), PARTITIONS)


def story(events: list[Recorded], message_id: str) -> list[str]:
    """Entries that belong to a message, by reading everything."""
    found: list[str] = []
    domain, live = "", True
    waiting: set[str] = set()
    for one in events:
        if one.subject == message_id and live:
            found.append(one.entry)
            if isinstance(one.event, Received):
                domain = one.event.domain
                waiting = {spec.address for spec in one.event.recipients}
            elif type(one.event).__name__ in ("Delivered", "Failed", "Discarded", "Redirected"):
                waiting -= set(one.event.recipients)
            live = bool(waiting)
        elif domain and live and one.subject == "@" + domain:
            found.append(one.entry)
    return found


@pytest.mark.parametrize("indexed", [0, 40, 10_000])
@pytest.mark.parametrize("hours", [0, 1, 2.7, 3, 100])
async def test_a_message_has_the_same_history_wherever_it_is_kept(redis, log, indexed, hours):
    events = history(int(hours) * 7 + indexed)
    partition = events[0].partition
    await write_entries(redis, events)
    first = int(events[0].entry.partition("-")[0]) // HOUR_MS + hours
    cut = [one for one in events if int(one.entry.partition("-")[0]) < first * HOUR_MS]
    await fold(redis, events[: max(indexed, len(cut))]) if indexed else None
    archive = MemoryArchive(events[: len(cut) + 9]) if hours else None
    if hours:
        await trim(redis, partition, first, VIEWS)
    reader = past(redis, log, archive)
    for message_id in {one.subject for one in events if isinstance(one.event, Received)}:
        assert [one.entry async for one in reader.message(message_id)] == story(events, message_id)
        assert await reader.holds(message_id)


@pytest.mark.parametrize("indexed", [0, 40, 10_000])
@pytest.mark.parametrize("hours", [0, 2, 3.4, 100])
async def test_a_domains_attempts_are_those_of_the_whole_log(redis, log, indexed, hours):
    events = history(indexed + int(hours), 400)
    partition, domain = events[0].partition, DOMAINS[0]
    await write_entries(redis, events)
    first = int(events[0].entry.partition("-")[0]) // HOUR_MS + hours
    cut = [one for one in events if int(one.entry.partition("-")[0]) < first * HOUR_MS]
    await fold(redis, events[: max(indexed, len(cut))]) if indexed else None
    if hours:
        await trim(redis, partition, first, VIEWS)
    reader = past(redis, log, MemoryArchive(cut) if hours else None)
    length = events[-1].event.at + 1 - AT
    for start, end in ((0, 1 << 62), (AT, AT + length // 2), (AT + length // 3, AT + length), (AT + length, 1 << 62)):
        for kinds in (ATTEMPTS, frozenset({Delivered})):
            found = [one.entry async for one in reader.attempts(domain, start, end, kinds)]
            assert found == [
                one.entry
                for one in events
                if type(one.event) in kinds and one.event.domain == domain and start <= one.event.at < end
            ]


@pytest.mark.parametrize("hours", [3, 3.4])
async def test_a_trimmed_index_view_is_what_a_rebuild_makes_of_the_log_that_is_left(redis, log, hours):
    events = history(5, 400)
    partition = events[0].partition
    await write_entries(redis, events)
    await fold(redis, events)
    await trim(redis, partition, int(events[0].entry.partition("-")[0]) // HOUR_MS + hours, VIEWS)
    for projection in VIEWS:
        report = await replay(redis, log, [partition], projection, now=AT)
        assert (report.equal, report.events) == (True, await redis.xlen(f"gp:{{{partition}}}:log"))


async def test_a_message_read_while_the_log_is_trimmed_is_whole(redis, log):
    events = history(8, 300)
    partition = events[0].partition
    await write_entries(redis, events)
    await fold(redis, events)
    archive = MemoryArchive(events)
    reader = past(redis, log, archive)
    hour = float(int(events[0].entry.partition("-")[0]) // HOUR_MS)
    longest = max({one.subject for one in events}, key=lambda name: len(story(events, name)))
    found = []
    async for one in reader.message(longest):
        found.append(one.entry)
        hour += 0.3
        await trim(redis, partition, hour, VIEWS)
    assert found == story(events, longest)


async def test_more_entries_in_a_millisecond_than_a_place_has_numbers_for_are_found(redis, log):
    ids = [new_id(AT, 0, number) for number in range(3)]
    ms = AT // 1_000_000
    pairs = [(ids[0], received()), (ids[1], received()), (ids[0], event(Delivered)), (ids[1], event(Delivered))]
    numbers = (1022, 1023, 1024, 70_000)
    events = [
        Recorded(0, f"{ms}-{number}", one.subject, one.version, one.event)
        for number, one in zip(numbers, recorded(pairs), strict=True)
    ]
    await write_entries(redis, events)
    await fold(redis, events)
    reader = past(redis, log)
    assert [one.entry async for one in reader.message(ids[0])] == [f"{ms}-1022", f"{ms}-1024"]
    assert [one.entry async for one in reader.message(ids[1])] == [f"{ms}-1023", f"{ms}-70000"]
    assert [one.entry async for one in reader.message(ids[2])] == []


async def test_nothing_is_found_of_what_never_was(redis, log):
    reader = past(redis, log)
    for name in ("", "no-id", new_id(AT, 3, 1), new_id(AT, 900, 1)):
        assert [one async for one in reader.message(name)] == []
    assert [one async for one in reader.attempts(DOMAINS[0], 0, 1 << 62)] == []
