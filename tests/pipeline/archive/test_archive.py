"""The archive holds what the log held, and both are read as one."""

from __future__ import annotations

from pipeline import keys
from pipeline.events import Delivered, Dropped, Received, Recorded
from pipeline.log import Damaged
from pipeline.places import DAY_MS, HOUR_MS
from tests.support.archives import DAY, P


async def test_a_day_that_is_over_is_sealed_and_read_back_as_it_was(ground):
    await ground.append(*range(DAY, DAY + 50))
    await ground.append(DAY + DAY_MS)
    assert await ground.seal(DAY + DAY_MS - 1) == []
    (seal,) = await ground.seal(DAY + DAY_MS)
    assert (seal.number, seal.date, seal.count, seal.first, seal.last) == (
        1,
        "2024-10-04",
        50,
        f"{DAY}-0",
        f"{DAY + 49}-0",
    )
    assert await ground.archive.first(P) == seal.first
    assert await ground.archive.last(P) == seal.last
    assert await ground.archive.read(P, "0", 1000) == (await ground.whole())[:50]
    assert [path.name.partition(".")[2] for path in ground.files()] == ["json", "parquet", "terms"]


async def test_what_cannot_be_read_is_archived_as_it_is(ground):
    await ground.put(DAY, {"s": "x", "v": 1, "e": b"\xff\x00"})
    await ground.put(DAY, {"s": b"\xff\tx\n", "v": 1, "e": b"\xc0"})
    await ground.put(DAY, {"what": "ever"})
    await ground.put(DAY, {"s": "x\0\r\n\t", "v": "01", "e": b""})
    before = await ground.whole()
    await ground.seal(DAY + DAY_MS)
    assert await ground.archive.read(P, "0", 1000) == before
    assert all(isinstance(entry, Damaged) for entry in before)
    assert await ground.archive.read(P, "0", 1000, kinds={Delivered}) == []


async def test_pages_count_what_is_passed_over_as_well(ground):
    for day in range(3):
        await ground.append(*range(DAY + day * DAY_MS, DAY + day * DAY_MS + 39))
        await ground.seal(DAY + (day + 1) * DAY_MS)
    wanted = [one for one in await ground.whole() if isinstance(one, Recorded) and type(one.event) is Received]
    counted, found, after = 0, [], "0"
    while (page := await ground.archive.page(P, after, 3, None, {Received})).count:
        counted += page.count
        found += page.entries
        after = page.reached
    assert found == wanted
    assert wanted
    assert 2 * 39 < counted <= 3 * 39  # what comes behind the last one that is wanted is not told of


async def test_an_empty_archive_has_nothing(ground):
    assert await ground.archive.first(P) == ""
    assert await ground.archive.last(P) == "0"
    assert await ground.archive.read(P, "0", 10) == []
    assert await ground.seal(DAY) == []


async def test_history_is_whole_when_the_log_is_trimmed_between_two_reads(ground):
    await ground.append(*range(DAY, DAY + 5 * HOUR_MS, HOUR_MS // 10))
    before = await ground.whole()
    await ground.see(before[-1].entry)
    await ground.seal(DAY + DAY_MS)
    first = await ground.history.read(P, "0", 7)
    assert await ground.trim(DAY + 2 * HOUR_MS) == 2
    found = first + await ground.history.read(P, first[-1].entry, 20)
    assert await ground.trim(DAY + 4 * HOUR_MS) == 4
    assert len(await ground.whole()) == 10
    while entries := await ground.history.read(P, found[-1].entry, 7):
        found += entries
    assert found == before


async def test_kinds_are_found_across_the_border_and_none_means_the_end(ground):
    await ground.append(*range(DAY, DAY + 5 * HOUR_MS, HOUR_MS // 20))
    events = [one for one in await ground.whole() if isinstance(one, Recorded)]
    kinds = {type(events[0].event), type(events[-1].event)}
    before = [one for one in events if type(one.event) in kinds]
    await ground.see((await ground.whole())[-1].entry)
    await ground.seal(DAY + DAY_MS)
    await ground.trim(DAY + 3 * HOUR_MS)
    assert await ground.read(3, kinds=kinds) == before
    assert await ground.read(3, kinds={Dropped}) == []


async def test_a_log_is_not_trimmed_beyond_what_is_sealed_seen_and_promised(ground):
    await ground.append(*range(DAY, DAY + 10 * HOUR_MS, HOUR_MS // 2))
    assert await ground.trim(DAY + 9 * HOUR_MS) < 0
    await ground.seal(DAY + DAY_MS)
    assert await ground.trim(DAY + 9 * HOUR_MS) < 0, "no view has seen it"
    await ground.see(f"{DAY + 8 * HOUR_MS}-0")
    await ground.see(f"{DAY + 3 * HOUR_MS + 5}-0", "books", 2)
    assert await ground.trim(DAY + 9 * HOUR_MS) == 3
    await ground.see(f"{DAY + 8 * HOUR_MS}-0", "books", 2)
    await ground.redis.hset(keys.builds(P), "next:books", "3 2")
    assert await ground.trim(DAY + 9 * HOUR_MS) == 3, "a build that grows has seen nothing"
    await ground.redis.set(keys.view(P, "books", 3) + "checkpoint", f"{DAY + 6 * HOUR_MS}-0")
    await ground.redis.xadd(keys.outbox(P), {"id": "x"}, id=f"{DAY + 5 * HOUR_MS}-0")
    assert await ground.trim(DAY + 9 * HOUR_MS) == 5
    await ground.redis.delete(keys.outbox(P))
    assert await ground.trim(DAY + 2 * HOUR_MS) == 5, "what is gone is gone"
    assert await ground.trim(DAY + 9 * HOUR_MS) == 6
    assert (await ground.whole())[0].entry == f"{DAY + 6 * HOUR_MS}-0"
    assert (await ground.archive.chain.head(P)).trimmed == 12
    for view, build in (("queue", 1), ("books", 2), ("books", 3)):
        await ground.redis.set(keys.view(P, view, build) + "checkpoint", f"{DAY + 9 * HOUR_MS + HOUR_MS // 2}-0")
    assert await ground.trim(DAY + 20 * HOUR_MS) == 20, "everybody has seen all of it"
    assert await ground.whole() == []
    assert len(await ground.read()) == 20


async def test_the_hours_of_index_views_go_with_the_log(ground):
    await ground.append(*range(DAY, DAY + 10 * HOUR_MS, HOUR_MS))
    await ground.seal(DAY + DAY_MS)
    for name in ("trace", "queue"):
        await ground.see(f"{DAY + 9 * HOUR_MS}-0", name, 4)
        prefix = keys.view(P, name, 4)
        for hour in range(10):
            await ground.redis.set(f"{prefix}h:{DAY // HOUR_MS + hour}:x", "1")
            await ground.redis.sadd(prefix + "keys", f"h:{DAY // HOUR_MS + hour}:x", "meta")
    assert await ground.trim(DAY + 4 * HOUR_MS) == 4
    prefix = keys.view(P, "trace", 4)
    left = {b"meta", *(f"h:{DAY // HOUR_MS + hour}:x".encode() for hour in range(4, 10))}
    assert await ground.redis.smembers(prefix + "keys") == left
    assert len(await ground.redis.keys(prefix + "h:*")) == 6
    assert len(await ground.redis.keys(keys.view(P, "queue", 4) + "h:*")) == 10


async def test_segments_are_of_one_day_and_of_a_size(ground):
    ground.writer._size = 20
    await ground.append(*range(DAY, DAY + 45), *range(DAY + DAY_MS, DAY + DAY_MS + 30))
    assert [seal.count for seal in await ground.seal(DAY + DAY_MS + 50)] == [20, 20, 5, 20]
    assert [seal.count for seal in await ground.seal(DAY + DAY_MS + 50, DAY + DAY_MS + 25)] == [5]
    assert [seal.count for seal in await ground.seal(DAY + 2 * DAY_MS)] == [5]
    assert len(await ground.archive.read(P, "0", 1000)) == 75
    assert [len(await ground.archive.read(P, f"{DAY + 18}-0", 1000, f"{DAY + 40}-0"))] == [22]
