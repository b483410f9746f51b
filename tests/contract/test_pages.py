"""Pages of the log: what nobody wants to see is passed over, and what cannot be read is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import keys
from pipeline.events import ALL_EVENTS, Delivered, Received, encode
from pipeline.history import History
from pipeline.log import Damaged, page_of, read_pages
from tests.support.examples import ONE_OF_EACH, event, received

P = 2
BROKEN_RECEIVED = encode(received())[:-1]
UNKNOWN = b"\x83\xa1t\xa7unheard\xa2at\x01\xa6domain\xa1x"


def fields(data: bytes, subject: str = "x") -> dict[str, bytes | str | int]:
    return {"s": subject, "v": 1, "e": data}


@pytest.fixture
async def entries(store) -> list[str]:
    stored = [encode(received()), BROKEN_RECEIVED, encode(event(Delivered)), b"\xc1", UNKNOWN, encode(received())]
    added = [await store.redis.xadd(keys.log(P), fields(data)) for data in stored]
    added += [await store.redis.xadd(keys.log(P), {"x": "y"})]
    added += [await store.redis.xadd(keys.log(P), {"v": 7, "e": encode(received()), "s": "order"})]
    return [entry.decode() for entry in added]


def seen(page) -> list[str]:
    return [one.entry for one in page.entries]


async def test_a_page_holds_the_wanted_kinds_what_would_be_one_of_them_and_what_could_be_anything(log, entries):
    assert seen(await log.page(P, "0", 100, None, {Received})) == [entries[place] for place in (0, 1, 3, 4, 5, 6, 7)]
    assert seen(await log.page(P, "0", 100, None, {Delivered})) == [entries[place] for place in (2, 3, 4, 6)]
    page = await log.page(P, "0", 100)
    assert seen(page) == entries
    kinds = [one.kind for one in page.entries if isinstance(one, Damaged)]
    assert kinds == [Received, None, None, None]
    assert page.entries[7].subject == "order"
    assert page.entries[7].version == 7


async def test_a_page_says_how_far_it_went_also_when_nothing_in_it_is_wanted(log, entries):
    page = await log.page(P, entries[1], 1, None, {Received})
    assert (page.entries, page.count, page.reached) == ([], 1, entries[2])
    page = await log.page(P, "0", 3, entries[1], {Delivered})
    assert (page.entries, page.count, page.reached) == ([], 2, entries[1])
    page = await log.page(P, entries[-1], 100)
    assert (page.entries, page.count, page.reached) == ([], 0, entries[-1])
    assert (await log.page(P + 1, "0", 100)).reached == "0"


async def test_pages_of_several_partitions_are_those_of_each(store, log, entries):
    await store.redis.xadd(keys.log(P + 1), fields(encode(event(Delivered))))
    found = await read_pages(store.redis, {P: entries[0], P + 1: "0", P + 2: "0"}, 3, {Delivered})
    assert found.keys() == {P, P + 1}
    assert found[P] == await log.page(P, entries[0], 3, None, {Delivered})
    assert found[P + 1] == await log.page(P + 1, "0", 3, None, {Delivered})


async def test_a_page_without_kinds_is_what_is_read(log, entries):
    assert (await log.page(P, "0", 100)).entries == await log.read(P, "0", 100)
    assert await History(log).page(P, "0", 5) == await log.page(P, "0", 5)
    assert entries


@given(st.lists(st.sampled_from([*map(encode, ONE_OF_EACH), BROKEN_RECEIVED, b"", UNKNOWN])), st.integers(0, 9))
def test_what_is_damage_to_whom_does_not_depend_on_who_else_reads(stored, cut):
    rows = [(b"%d-0" % number, [b"s", b"x", b"v", b"1", b"e", data]) for number, data in enumerate(stored, 1)]
    for kind in ALL_EVENTS:
        alone = page_of(P, rows, "0", {kind}).entries
        parts = [*page_of(P, rows[:cut], "0", {kind}).entries, *page_of(P, rows[cut:], "0", {kind}).entries]
        every = [
            one
            for one in page_of(P, rows, "0").entries
            if (one.kind in (None, kind) if isinstance(one, Damaged) else type(one.event) is kind)
        ]
        assert alone == parts == every
