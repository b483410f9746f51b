"""The view of the quarantine: who is in it, what it counts, and that every search finds exactly what a look at everything would."""

from __future__ import annotations

import asyncio
import random

import fakeredis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import (
    Decision,
    Discarded,
    Finding,
    Quarantined,
    Queued,
    Redirected,
    Released,
    Reported,
    Scanned,
    Undeliverable,
)
from pipeline.ids import new_id, packed, partition_for, unpacked
from pipeline.state import Stage
from projections.base import START, Portion, advance
from projections.builds import to_fold
from projections.quarantine import (
    BUCKETS,
    LIVE,
    REPORTS_KEPT,
    SECOND,
    UNDELIVERABLE,
    Quarantine,
    Row,
    decode_row,
    folded,
    senders,
    words,
)
from projections.readers.quarantine import Query, read_kept, read_reports, read_stats
from tests.support.examples import ANNA, AT, BEN, DOMAIN, SENDER, event, received
from tests.support.histories import DOMAINS, batches, legal, recorded
from tests.support.histories import folded as fold

ID = new_id(AT, 0, 1)
PARTITIONS = 8
RECIPIENTS = (ANNA, BEN)


def scanned(**changes) -> Scanned:
    fields = {"at": AT, "domain": DOMAIN, "verdict": "spam", "score": 7.5, "subject": "Cheap watches", **changes}
    return Scanned(**fields)


def kept(view) -> dict[str, Row]:
    rows = {name: decode_row(row) for name, row in view.hashes.get(LIVE, {}).items()}
    return {name: row for name, row in rows.items() if row.kept}


def view_of(*events):
    return fold(Quarantine(), recorded([(ID, one) for one in events]))


# What is in it


def test_a_row_says_what_the_events_said():
    view = view_of(
        received(*RECIPIENTS),
        scanned(
            country="DE", header_from="Max <max@partner.test>", findings=(Finding(name="GTUBE"), Finding(name="X"))
        ),
        event(Quarantined, RECIPIENTS),
    )
    row = kept(view)[ID]
    assert (row.domain, row.sender, row.size, row.received) == (DOMAIN, SENDER, 1234, AT)
    assert (row.kept, row.subject, row.country, row.tests) == (
        {ANNA: "spam", BEN: "spam"}, "Cheap watches", "DE", ("GTUBE", "X"),
    )  # fmt: skip
    assert (row.since, row.reason, row.client) == (AT + SECOND, "spam", "198.51.100.7")
    assert view.counts("d:" + DOMAIN) == {"messages": 1, "bytes": 1234, "class:spam": 1, "country:DE": 1}


def test_a_message_leaves_with_its_last_kept_copy():
    history = [received(*RECIPIENTS), scanned(), event(Quarantined, RECIPIENTS), event(Released, (ANNA,))]
    assert kept(view_of(*history))[ID].kept == {BEN: "spam"}
    assert view_of(*history, event(Discarded, (BEN,))).dump() == {}


def test_mail_that_only_passes_is_here_only_until_it_is_judged():
    """So what waits for its server takes no memory here, and what is judged within a batch is never written."""
    assert view_of(received(*RECIPIENTS), scanned(verdict="clean"), event(Queued)).hashes.keys() == {LIVE}
    assert view_of(received(*RECIPIENTS), scanned(verdict="clean"), event(Queued, RECIPIENTS)).dump() == {}
    assert Quarantine().fold(recorded([(ID, received()), (ID, scanned()), (ID, event(Queued))]), {}) == []


@pytest.mark.parametrize("others", [(), (event(Quarantined, (BEN,)),)])
def test_what_cannot_be_delivered_is_kept_as_undeliverable_with_what_its_event_says_of_it(others):
    given_up = msgspec.structs.replace(
        event(Undeliverable), subject="Cheap watches", score=7.5, client="198.51.100.7", received=AT
    )
    view = view_of(received(*RECIPIENTS), scanned(), *others, event(Queued), given_up)
    row = kept(view)[ID]
    assert row.kept == {ANNA: UNDELIVERABLE, **({BEN: "spam"} if others else {})}
    assert view.counts("d:" + DOMAIN)["class:undeliverable"] == 1
    assert (row.subject, row.score, row.client, row.received) == ("Cheap watches", 7.5, "198.51.100.7", AT)


def test_a_recipient_whose_settings_see_it_differently_has_a_class_of_their_own():
    own = Decision(recipients=(BEN,), action="quarantine", verdict="bulk")
    view = view_of(received(*RECIPIENTS), scanned(decisions=(own,)), event(Quarantined, RECIPIENTS))
    assert kept(view)[ID].kept == {ANNA: "spam", BEN: "bulk"}


def test_what_was_sent_on_from_the_quarantine_is_not_kept_any_more():
    assert view_of(received(), scanned(), event(Quarantined), event(Redirected)).dump() == {}


def test_who_is_named_and_cannot_be_meant_is_counted():
    view = view_of(received(), event(Released), event(Quarantined, (BEN,)))
    assert view.counts("d:" + DOMAIN) == {"odd": 2}


@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 150), max_size=40))
def test_it_holds_exactly_the_copies_that_are_kept(seed, cuts):
    events, messages = legal(random.Random(seed), messages=10, steps=150)
    view = fold(Quarantine(), events, cuts)
    expected = {
        name: set(addresses) for name, one in messages.items() if (addresses := one.addresses(Stage.QUARANTINED))
    }
    assert {name: set(row.kept) for name, row in kept(view).items()} == expected
    assert set(view.hashes.get(LIVE, {})) == {
        name
        for name, message in messages.items()
        if message.addresses(Stage.QUARANTINED, Stage.RECEIVED, Stage.SCANNED)
    }
    for domain in DOMAINS:
        mine = [one for name, one in messages.items() if name in expected and one.domain == domain]
        counts = view.counts("d:" + domain)
        assert (counts.get("messages", 0), counts.get("bytes", 0)) == (len(mine), sum(one.size for one in mine))


def test_an_id_survives_being_packed_and_sorts_as_before():
    ids = sorted(new_id(AT + number * 10**6, number % 1024) for number in range(0, 3000, 7))
    assert [unpacked(packed(one)) for one in ids] == ids
    assert sorted(ids, key=packed) == ids


def test_an_index_is_no_wider_than_it_says():
    view = view_of(received(), scanned(), event(Quarantined))
    assert all(int(key[1:], 16) < BUCKETS for key in view.zsets)
    assert {len(member) for entries in view.zsets.values() for member in entries} == {22}


# Searching


async def filled(redis, events) -> None:
    """Each event in the view of the partition of its domain."""
    for partition in range(PARTITIONS):
        mine = [one for one in events if partition_for(one.event.domain, PARTITIONS) == partition]
        view, _ = await to_fold(redis, partition, Quarantine())
        reached = START
        for batch in batches(mine, [40, 80]):
            assert await advance(redis, [Portion([view], reached, batch)]) == [True]
            reached = batch[-1].entry


def rows_of(events) -> dict[str, Row]:
    return kept(fold(Quarantine(), events))


def matches(row: Row, query: Query) -> bool:
    """The plain meaning of a query, for one row."""
    seen = {one: name for one, name in row.kept.items() if query.recipients is None or one in query.recipients}
    sender, wanted = folded(query.sender), folded(query.recipient)
    said = [
        not query.domain or row.domain == query.domain,
        bool(seen),
        not query.country or row.country.lower() == query.country.lower(),
        not query.test or query.test.lower() in [name.lower() for name in row.tests],
        not query.class_ or query.class_ in seen.values(),
        not query.since or row.since >= query.since,
        not query.until or row.since < query.until,
        all(
            part in folded(row.subject)
            for text in query.subject.split()
            for part in (folded(text).strip("*").split("*") if "*" in text else [])
        ),
        all(word in words(row.subject) for text in query.subject.split() if "*" not in text for word in words(text)),
        not wanted or any(wanted == one if "@" in wanted.strip("@") else wanted in one for one in map(folded, seen)),
    ]
    if sender == "<>" or ("@" in sender and not sender.startswith("@")):
        said.append(sender in senders(row))
    elif sender.startswith("@"):
        said.append(any(one.endswith(sender) for one in senders(row)))
    else:
        said.append(sender in folded(row.sender) or sender in folded(row.header_from))
    return all(said)


queries = st.builds(
    Query,
    domain=st.sampled_from(["", "", *DOMAINS]),
    sender=st.sampled_from(["", "", SENDER, SENDER.upper(), "@elsewhere.test", "ANNA", "ben@z.test", "@z.test", "<>"]),
    recipient=st.sampled_from(["", "", "r1", f"R2@{DOMAINS[0]}", "third"]),
    subject=st.sampled_from(["", "", "invoice", "INVOICE 2026", "inv*", "größe", "*ffe*", "請求書", "grö* grösse"]),
    class_=st.sampled_from(["", "", "spam", "virus", "bulk", "clean", UNDELIVERABLE]),
    country=st.sampled_from(["", "", "DE", "de", "CN"]),
    test=st.sampled_from(["", "", "GTUBE", "gtube", "Y"]),
    since=st.sampled_from([0, 0, AT + 60 * SECOND, AT + 61_300_000_000]),
    until=st.sampled_from([0, 0, AT + 200 * SECOND, AT + 199_999_999_999]),
    recipients=st.sampled_from([None, None, frozenset({f"r1@{one}" for one in DOMAINS}), frozenset({"nobody@x"})]),
)


async def paged(redis, query: Query, limit: int, budget: int) -> list[str]:
    found: list[str] = []
    after = ""
    while True:
        page = await read_kept(redis, PARTITIONS, query, limit=limit, after=after, budget=budget)
        assert len(page.messages) <= limit
        assert page.looked <= budget
        found += [one.id for one in page.messages]
        after = page.after
        if not after:
            return found


def expected(rows: dict[str, Row], query: Query) -> list[str]:
    found = [(row.since // SECOND, name) for name, row in rows.items() if matches(row, query)]
    return [name for _, name in sorted(found, reverse=True)]


@given(
    seed=st.integers(0, 2**32), wanted=st.lists(queries, min_size=3, max_size=8), limit=st.integers(1, 12),
    budget=st.integers(1, 40),
)  # fmt: skip
def test_every_search_finds_what_a_look_at_everything_finds_in_pages_of_any_size(seed, wanted, limit, budget):
    async def work() -> None:
        redis = fakeredis.FakeAsyncRedis(lua_modules=set())
        events, _ = legal(random.Random(seed), messages=25, steps=300)
        await filled(redis, events)
        rows = rows_of(events)
        for query in [Query(), *wanted]:
            assert await paged(redis, query, limit, budget) == expected(rows, query), query
        await redis.aclose()

    asyncio.run(work())


async def test_the_same_on_each_redis_with_many_messages_of_one_moment(redis):
    rng = random.Random(7)
    events, _ = legal(rng, messages=600, steps=2400)
    moments = [msgspec.structs.replace(one.event, at=one.event.at - one.event.at % (100 * SECOND)) for one in events]
    events = [msgspec.structs.replace(one, event=moment) for one, moment in zip(events, moments, strict=True)]
    await filled(redis, events)
    rows = rows_of(events)
    assert len(rows) > 60
    for query in (
        Query(), Query(domain=DOMAINS[1]), Query(class_="virus"), Query(subject="invoice", country="DE"),
        Query(sender="elsewhere", test="x"), Query(recipients=frozenset({f"r1@{one}" for one in DOMAINS})),
    ):  # fmt: skip
        assert await paged(redis, query, 17, 50) == expected(rows, query), query
    stats = {one.domain: one for one in await read_stats(redis, PARTITIONS)}
    for domain in DOMAINS:
        mine = [row for row in rows.values() if row.domain == domain]
        assert stats[domain].messages == len(mine)
        assert stats[domain].bytes == sum(row.size for row in mine)
        assert stats[domain].oldest == min(row.since for row in mine) // SECOND * SECOND
        assert stats[domain].classes["virus"] == sum("virus" in row.kept.values() for row in mine)


async def test_who_is_bound_to_recipients_sees_their_copies_only(redis):
    history = [received(*RECIPIENTS), scanned(), event(Quarantined, RECIPIENTS)]
    await filled(redis, recorded([(new_id(AT, partition_for(DOMAIN, PARTITIONS), 1), one) for one in history]))
    (one,) = (await read_kept(redis, PARTITIONS, Query(recipients=frozenset({BEN})))).messages
    assert one.recipients == (BEN,)
    assert not (await read_kept(redis, PARTITIONS, Query(recipients=frozenset({BEN}), recipient=ANNA))).messages
    assert not (await read_kept(redis, PARTITIONS, Query(recipients=frozenset()))).messages


@pytest.mark.parametrize(
    "text", ["x", "1.x", f"-1.{ID}", f"99999999999.{ID}", f"4294967296.{ID}", "1.", f"\u0661.{ID}"]
)
async def test_a_place_that_no_page_named_is_none(redis, text):
    with pytest.raises(ValueError, match="no such place"):
        await read_kept(redis, PARTITIONS, Query(), after=text)


async def test_the_newest_reports_are_kept(redis):
    partition = partition_for(DOMAIN, PARTITIONS)
    reports = [
        (
            new_id(AT + number, partition, number),
            Reported(at=AT + number, domain=DOMAIN, by="x", spam=True, note=str(number)),
        )
        for number in range(REPORTS_KEPT + 5)
    ]
    await filled(redis, recorded(reports))
    found = await read_reports(redis, PARTITIONS, DOMAIN)
    assert [one.event.note for one in found] == [str(number) for number in reversed(range(5, REPORTS_KEPT + 5))]
