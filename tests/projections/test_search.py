"""A search finds what a reading of everything would find: each message once, the newest first, on however many pages."""

from __future__ import annotations

import random

import msgspec
import pytest

from pipeline import keys
from pipeline.events import Attempt, Client, Delivered, Received, RecipientSpec, Recorded, Redirected, Refused, Scanned
from pipeline.history import History
from pipeline.ids import is_id, new_id, partition_for
from pipeline.log import Log
from pipeline.places import HOUR_MS, place_of
from pipeline.state import encode_head
from pipeline.terms import facts
from projections.readers.past import Past
from projections.readers.past.finding import Group, Query, groups
from projections.readers.past.story import Story
from tests.projections.test_past import FACTOR, PARTITIONS, VIEWS, fold
from tests.support.examples import AT, CLIENT, SECOND, event, received
from tests.support.histories import DOMAINS, legal, recorded
from tests.support.memoryarchive import MemoryArchive, stretched, trim, write_entries

HERE = sorted({partition_for(domain, PARTITIONS) for domain in DOMAINS})


def varied(rng: random.Random, one: Recorded) -> Recorded:
    """The event with a sender, client, subject, Message-ID and server out of a few."""
    made = one.event
    if isinstance(made, Received):
        made = msgspec.structs.replace(
            made, sender=rng.choice(["", "Anna@x.test", "ben@x.test", "carl@y.test"]),
            client=Client(address=rng.choice(["192.0.2.1", "2001:db8::1"])),
        )  # fmt: skip
    elif isinstance(made, Scanned):
        made = msgspec.structs.replace(made, message_id=rng.choice(["", "<1@x>", f"<{rng.random()}@x>"]))
    elif isinstance(made, Redirected):
        made = msgspec.structs.replace(made, to=rng.choice(["new@x.test", f"r1@{DOMAINS[0]}"]))
    return msgspec.structs.replace(one, event=made)


def world(seed: int, messages: int = 12, steps: int = 200) -> dict[int, list[Recorded]]:
    """Each partition's log, of domains that are really there."""
    rng = random.Random(seed)
    logs = {}
    for partition in HERE:
        events, _ = legal(rng, messages=messages, steps=steps, partition=partition)
        at_home = [one for one in events if partition_for(one.event.domain, PARTITIONS) == partition]
        logs[partition] = [varied(rng, one) for one in stretched(at_home, FACTOR, AT)]
    return logs


def own_events(logs: dict[int, list[Recorded]]) -> dict[str, list[Recorded]]:
    """Each message's own events, until its last outcome."""
    found: dict[str, tuple[Story, list[Recorded]]] = {}
    for events in logs.values():
        for one in events:
            story, own = found.setdefault(one.subject, (Story(one.subject), []))
            if is_id(one.subject) and not story.over:
                story.takes(one)
                own.append(one)
    return {subject: own for subject, (_, own) in found.items() if own and isinstance(own[0].event, Received | Refused)}


def expected(logs: dict[int, list[Recorded]], query: Query) -> set[str]:
    return {
        subject
        for subject, own in own_events(logs).items()
        if query.start <= own[0].event.at < query.end
        and all(any(group.facts <= set(facts(one.event)) for one in own) for group in groups(query))
    }


def queries(rng: random.Random, logs: dict[int, list[Recorded]], count: int) -> list[Query]:
    whole = [one for events in logs.values() for one in events]
    start, end = min(one.event.at for one in whole), max(one.event.at for one in whole)
    names = ("sender", "recipient", "subject", "client", "server", "domain", "message_id")
    values = {
        "sender": ["<>", "anna@X.test", "@x.test", "ben@z.test", "nobody@x.test", "sender@elsewhere.test"],
        "recipient": [f"r1@{DOMAINS[0]}", f"R0@{DOMAINS[1]}", "new@x.test", f"x1@{DOMAINS[0]}"],
        "subject": ["invoice", "2026 Invoice", "GRÖSSE", "a b", "nothing"],
        "client": ["192.0.2.1", "2001:db8::1", "198.51.100.7", "10.0.0.1"],
        "server": ["mx1.example.test:25", "mx0.example.test", "192.0.2.1", "mx9.example.test"],
        "domain": [*DOMAINS, "elsewhere.test"],
        "message_id": ["1@x", "<1@x>", "2@x"],
    }
    made = []
    for number in range(count):
        chosen = {name: rng.choice(values[name]) for name in rng.sample(names, number % 4)}
        if rng.random() < 0.4:
            first = rng.randrange(start, end)
            chosen |= {"start": first, "end": rng.randrange(first, end + 1)}
        made.append(Query(**chosen))
    return made


async def paged(past: Past, query: Query, limit: int) -> list[str]:
    found, after = [], ""
    while True:
        page = await past.page(query, limit, after)
        assert len(page.found) <= limit
        assert page.complete
        found += [one.id for one in page.found]
        after = page.following
        if not after:
            return found


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("hours", [0, 2, 3.3, 5, 100])
async def test_a_search_finds_what_a_reading_of_everything_finds(redis, log, seed, hours):
    logs = world(seed)
    rng = random.Random(seed * 100 + int(hours))
    archived: list[Recorded] = []
    for partition, events in logs.items():
        await write_entries(redis, events)
        first = AT // 1_000_000 // HOUR_MS + hours
        cut = [one for one in events if place_of(one.entry)[0] < first * HOUR_MS]
        indexed = max(len(cut), rng.choice([0, len(events) // 2, len(events)]))
        if indexed:
            await fold(redis, events[:indexed])
        if hours:
            archived += cut
            await trim(redis, partition, first, VIEWS)
    for subject, own in own_events(logs).items():
        story = Story(subject)
        for one in own:
            story.takes(one)
        if story.message is not None and story.message.live:
            await redis.hset(keys.head(own[0].partition, subject), mapping={"v": 1, "m": encode_head(story.message)})
    past = Past(redis, History(log, MemoryArchive(archived) if hours else None), PARTITIONS)
    for query in queries(rng, logs, 20):
        found = await paged(past, query, rng.choice([1, 3, 50]))
        assert len(found) == len(set(found)), query
        assert set(found) == expected(logs, query), query
        assert [one.id async for one in past.find(query)] == found


def newest(group: Group, own: list[Recorded]) -> tuple[int, int]:
    return max(place_of(one.entry) for one in own if group.of(one.event))


async def test_the_newest_comes_first_over_all_partitions_and_the_archive(redis, log):
    logs = world(7, 60, 700)
    archived: list[Recorded] = []
    for number, (partition, events) in enumerate(logs.items()):
        await write_entries(redis, events)
        await fold(redis, events[: len(events) * (number + 1) // len(logs)])
        hour = AT // 1_000_000 // HOUR_MS + 2.2 - number % 2
        cut = [one for one in events if place_of(one.entry)[0] < hour * HOUR_MS]
        archived += cut
        await trim(redis, partition, hour, VIEWS)
    past = Past(redis, History(log, MemoryArchive(archived)), PARTITIONS)
    own = own_events(logs)
    for query in (Query(sender="@x.test"), Query(subject="invoice"), Query(server="mx1.example.test")):
        (group,) = groups(query)
        places = [newest(group, own[one]) for one in await paged(past, query, 4)]
        assert len(places) > 3
        assert places == sorted(places, reverse=True)
    arrivals = [place_of(own[one][0].entry) for one in await paged(past, Query(), 7)]
    assert arrivals == sorted(arrivals, reverse=True)
    assert len(arrivals) == len(own)


async def test_a_message_is_shown_as_it_is(redis, log):
    domain = DOMAINS[0]
    partition = partition_for(domain, PARTITIONS)
    ids = [new_id(AT + number * SECOND, partition, number) for number in range(2)]
    attempt = Attempt(server="mx.example.test:25", address="192.0.2.9", stage="dot", code=250, reply="250 ok")
    refused = Refused(
        at=AT + SECOND, domain=domain, reason="no_such_user", client=CLIENT, stage="rcpt", code=550, enhanced="5.1.1",
        reply="no", sender="s@elsewhere.test", recipient=f"x@{domain}",
    )  # fmt: skip
    specs = (RecipientSpec(address=f"r@{domain}", original="r@alias.test"),)
    came = msgspec.structs.replace(received(domain=domain, sender="Anna@X.test"), recipients=specs)
    scanned = msgspec.structs.replace(
        event(Scanned), domain=domain, subject="Hello, World", header_from="<boss@corp.test>"
    )
    delivered = msgspec.structs.replace(
        event(Delivered, (f"r@{domain}",)), domain=domain, attempt=attempt, sender="Anna@X.test"
    )
    queued = [
        (ids[0], came),
        (ids[0], scanned),
        (ids[1], refused),
        (ids[0], msgspec.structs.replace(delivered, tries=2)),
    ]
    events = recorded(queued, partition)
    await write_entries(redis, events)
    await fold(redis, events)
    past = Past(redis, History(Log(redis)), PARTITIONS)
    asked = (
        {"sender": "anna@x.test"}, {"sender": "@corp.test"}, {"recipient": "R@Alias.test"}, {"subject": "world hello"},
        {"message_id": "1@elsewhere.test"}, {"subject": "hello", "sender": "boss@corp.test", "recipient": f"r@{domain}"},
    )  # fmt: skip
    for fields in asked:
        (found,) = (await past.page(Query(**fields), 10)).found
        assert (found.id, found.at, found.sender, found.recipients) == (ids[0], AT, "Anna@X.test", (f"r@{domain}",))
        assert (found.subject, found.verdict, found.domain, found.size) == ("Hello, World", "clean", domain, 1234)
        assert (found.message_id, found.client) == ("<1@elsewhere.test>", CLIENT.address)
    (found,) = (await past.page(Query(recipient=f"x@{domain}", client=CLIENT.address), 10)).found
    assert (found.id, found.state, found.last) == (ids[1], "refused", refused)
    assert (await past.page(Query(subject="hello", client="10.0.0.1"), 10)).found == ()


async def test_a_page_begins_only_where_another_ended(redis, log):
    past = Past(redis, History(log), PARTITIONS)
    for after in ("x", "0.1-1", "5.1-1.0", "0.-1-1.0", "0.1-1.0.0", "0.1-" + "9" * 40 + ".0"):
        with pytest.raises(ValueError, match=r".*"):
            await past.page(Query(sender="a@b.test"), 10, after)


async def test_the_work_for_a_page_is_bounded_and_the_next_one_goes_on(redis, log, monkeypatch):
    monkeypatch.setattr("projections.readers.past.search.BUDGET", 1)
    monkeypatch.setattr("projections.readers.past.search.Search.page.__defaults__", (20,))
    logs = world(3)
    for events in logs.values():
        await write_entries(redis, events)
        await fold(redis, events)
    past = Past(redis, History(log), PARTITIONS)
    query = Query(sender="@x.test", client="10.0.0.1")
    assert await paged(past, query, 5) == []
    query = Query(subject="invoice")
    assert set(await paged(past, query, 5)) == expected(logs, query)
