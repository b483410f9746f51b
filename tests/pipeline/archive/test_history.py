"""However a history is split between archive and log, reading it gives what was appended."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import keys
from pipeline.archive.model import DIRECTORY
from pipeline.archive.writing import Writer
from pipeline.events import ALL_EVENTS, Recorded, encode
from pipeline.faults import ConfigurationError
from pipeline.history import History
from pipeline.places import DAY_MS, HOUR_MS
from pipeline.store import open_client
from tests.support.archives import DAY, Ground, P
from tests.support.histories import legal

EVENTS = legal(random.Random(5), 40, 200)[0]
SHUFFLED = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SHUFFLED
@given(
    gaps=st.lists(st.sampled_from([0, 1, HOUR_MS // 3, HOUR_MS, 5 * HOUR_MS, DAY_MS]), min_size=1, max_size=60),
    size=st.integers(1, 30),
    count=st.integers(1, 40),
    steps=st.lists(
        st.tuples(st.sampled_from(["seal", "urgent", "trim", "short", "read"]), st.floats(0, 1)), max_size=12
    ),
    kinds=st.none() | st.sets(st.sampled_from(ALL_EVENTS), min_size=1),
)
async def test_any_split_reads_as_the_whole(redis_server, tmp_path_factory, gaps, size, count, steps, kinds):
    ground = Ground(open_client(redis_server.url), tmp_path_factory.mktemp("archive"), size=size)
    try:
        await ground.redis.flushall()
        at = DAY
        for number, gap in enumerate(gaps):
            at += gap
            one = EVENTS[number]
            fields = {"s": one.subject, "v": one.version, "e": encode(one.event)} if number % 17 else {"x": "?"}
            await ground.put(at, fields)
        everything = await ground.whole()
        await ground.see(everything[-1].entry)
        wanted = [
            one for one in everything if kinds is None or (isinstance(one, Recorded) and type(one.event) in kinds)
        ]
        found = []

        async def read():
            more = await ground.history.read(P, found[-1].entry if found else "0", count, kinds=kinds)
            found.extend(more)
            return len(more)

        for step, part in steps:
            moment = DAY + int((at - DAY) * part)
            if step == "read":
                await read()
            elif step in ("trim", "short"):
                await ground.trim(moment, HOUR_MS if step == "trim" else 1)
            else:
                await ground.seal(moment + DAY_MS if step == "seal" else DAY, moment if step == "urgent" else 0)
        while await read():  # "none at all means that there are no more"
            pass
        assert found == wanted
        middle = everything[len(everything) // 2].entry
        assert await ground.read(count, until=middle) == everything[: len(everything) // 2 + 1]
    finally:
        await ground.close()
        await ground.redis.aclose()


async def test_who_cannot_read_the_archive_is_told_so_and_not_given_half_of_it(ground):
    await ground.append(*range(DAY, DAY + 5 * HOUR_MS, HOUR_MS))
    await ground.see(f"{DAY + 4 * HOUR_MS}-0")
    await ground.seal(DAY + DAY_MS)
    await ground.trim(DAY + 2 * HOUR_MS)
    bare = History(ground.log)
    with pytest.raises(ConfigurationError, match="DuckDB is not installed"):
        await bare.read(P, "0", 10)
    assert len(await bare.read(P, f"{DAY + 2 * HOUR_MS}-0", 10)) == 2


async def test_the_directorys_history_is_archived_and_stays_in_redis(ground):
    await ground.append(*range(DAY, DAY + 10), partition=DIRECTORY)
    writer = Writer(ground.redis, ground.archive, DIRECTORY, 100)
    assert await writer.hold()
    seal = await writer.next(DAY + DAY_MS)
    assert (seal.partition, seal.stem.startswith("2024-10-04/directory/")) == (DIRECTORY, True)
    assert await ground.archive.read(DIRECTORY, "0", 100) == await ground.history.read(DIRECTORY, "0", 100)
    assert await ground.redis.exists(keys.DIRECTORY_LOG)


async def test_entries_that_cannot_be_read_are_not_the_end_for_who_wants_events_of_a_kind(ground: Ground):
    for number in range(5):
        await ground.put(DAY + number, {"x": "?"})
    entries = await ground.append(DAY + 5)
    kind = type((await ground.whole())[-1].event)
    assert [one.entry for one in await ground.history.read(P, "0", 2, kinds={kind})] == entries
    assert await ground.history.read(P, entries[-1], 2, kinds={kind}) == []
