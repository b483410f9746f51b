"""What is archived is found by its terms, and a domain's attempts in order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import keys
from pipeline.archive.archive import ATTEMPTS
from pipeline.archive.segment import indexed, parts_of
from pipeline.events import Recorded, encode
from pipeline.kinds import tag_of
from pipeline.places import DAY_MS, place_of
from pipeline.terms import SUBJECT, term, terms
from tests.support.archives import DAY, P
from tests.support.histories import DOMAINS, impossible, legal


@pytest.fixture
async def filled(ground, monkeypatch):
    """A thousand events of all kinds over some days, in segments of a hundred and parts of sixteen."""
    monkeypatch.setattr("pipeline.archive.segment.PART", 16)
    ground.writer._size = 100
    rng = random.Random(7)
    events = legal(rng, 150, 800)[0] + impossible(rng, 200)
    for number, one in enumerate(events):
        fields = {"s": one.subject, "v": one.version, "e": encode(one.event)}
        await ground.redis.xadd(keys.log(P), fields, id=f"{DAY + number // 3 * 1_000_000}-{number % 3}")
    found = await ground.whole()
    await ground.seal(DAY + 30 * DAY_MS)
    return ground, [one for one in found if isinstance(one, Recorded)]


async def test_every_term_finds_its_events_the_newest_first(filled):
    ground, events = filled
    wanted = {}
    for one in events:
        for number in terms(one.subject, one.event):
            wanted.setdefault(number, []).append(one)
    for number, expected in random.Random(3).sample(sorted(wanted.items()), 40):
        assert [one async for one in ground.archive.find(P, number, 0, 1 << 60)] == expected[::-1]
    assert [one async for one in ground.archive.find(P, term(SUBJECT, "nobody"), 0, 1 << 60)] == []


async def test_a_time_range_holds_from_its_start_to_before_its_end(filled):
    ground, events = filled
    for start, end in [(0, 0), (DAY, DAY + 1), (DAY + 50_000_000, DAY + 200_000_000), (DAY + DAY_MS, 1 << 50)]:
        for number in terms(events[0].subject, events[0].event)[:3]:
            expected = [
                one for one in events
                if number in terms(one.subject, one.event) and start <= place_of(one.entry)[0] < end
            ]  # fmt: skip
            assert [one async for one in ground.archive.find(P, number, start, end)] == expected[::-1]


@pytest.mark.parametrize("domain", [*DOMAINS, "nobody.test"])
async def test_attempts_of_a_domain_are_found_in_order(filled, domain):
    ground, events = filled
    tried = [one for one in events if one.event.domain == domain and tag_of(type(one.event)) in ATTEMPTS]
    assert [one async for one in ground.archive.attempts(P, domain, "0", 1 << 60)] == tried
    for after, end in [(100, 500), (400, 401), (999, 1000)]:
        place, until = events[min(after, len(events) - 1)].entry, place_of(events[min(end, len(events) - 1)].entry)[0]
        expected = [one for one in tried if place_of(one.entry) > place_of(place) and place_of(one.entry)[0] < until]
        assert [one async for one in ground.archive.attempts(P, domain, place, until)] == expected


@given(pairs=st.sets(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)), max_size=50), data=st.data())
def test_an_index_says_which_parts_have_a_term(pairs, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "x.terms"
    path.write_bytes(indexed([number << 16 | part for number, part in pairs]))
    wanted = data.draw(st.sampled_from(sorted(number for number, _ in pairs)) if pairs else st.just(0))
    for number in (wanted, wanted ^ 1, 0, 2**32 - 1):
        assert parts_of(path, number) == sorted(part for one, part in pairs if one == number)


@pytest.mark.parametrize("data", [b"", b"x" * 16, b"GPTERMS1" + b"\xff" * 8, b"GPTERMS1" + bytes(8) + b"x"])
def test_what_is_no_index_is_not_read_as_one(data, tmp_path):
    (tmp_path / "x.terms").write_bytes(data)
    with pytest.raises(ValueError):
        parts_of(tmp_path / "x.terms", 1)
