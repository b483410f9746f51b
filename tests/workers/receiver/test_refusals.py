"""Writing refusals down: the first few of a client one by one, floods as counts, and never more than a bound."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from pipeline.events import Client, Recorded, Refused
from pipeline.ids import is_id, partition_for, partition_of
from pipeline.log import Log
from pipeline.store import Store
from tests.support.examples import AT
from tests.support.servers import eventually
from workers.receiver import refusals as module
from workers.receiver.refusals import ALL, COUNTED, MINUTE, OWN, Refusals


@pytest.fixture
async def store(redis_server):
    store = await Store.connect(redis_server.url, 8)
    yield store
    await store.close()


def refused(client: str = "192.0.2.1", at: int = AT, domain: str = "example.test", **changes: object) -> Refused:
    fields = {
        "at": at, "domain": domain, "reason": "no_such_user", "client": Client(address=client), "stage": "rcpt", "code": 550,
        "enhanced": "5.1.1", "reply": "No such mailbox here", "sender": "a@b.test", "recipient": f"eve@{domain}", **changes,
    }  # fmt: skip
    return Refused(**fields)


async def written(store: Store) -> list[Recorded]:
    log = Log(store.redis)
    return [row for number in range(8) for row in await log.read(number, "0", 100_000)]


async def all_of(store: Store, *events: Refused, now: int = AT) -> list[Recorded]:
    """What is written of `events` in all."""
    refusals = Refusals(Log(store.redis), 8, lambda: now)
    for event in events:
        refusals.add(event)
    stop = asyncio.Event()
    stop.set()
    await refusals.run(stop)
    return await written(store)


async def test_a_refusal_is_an_event_with_an_id_of_its_own_in_its_domain_s_partition(store):
    (row,) = await all_of(store, refused())
    assert row.event == refused()
    assert is_id(row.subject)
    assert row.partition == partition_of(row.subject) == partition_for("example.test", 8)
    assert await store.redis.exists(f"gp:{{{row.partition}}}:msg:{row.subject}") == 0


async def test_the_first_few_of_a_client_are_events_and_the_rest_of_the_minute_is_a_count(store):
    flood = [refused(at=AT + number, recipient=f"u{number}@example.test") for number in range(100)]
    rows = await all_of(store, *flood, refused("192.0.2.2"))
    counts = [(row.event.client.address, row.event.count) for row in rows]
    assert Counter(counts) == {("192.0.2.1", 1): OWN, ("192.0.2.1", 100 - OWN): 1, ("192.0.2.2", 1): 1}
    many = next(row.event for row in rows if row.event.count > 1)
    assert (many.since, many.at, many.recipient) == (AT + OWN, AT + 99, "u99@example.test")


async def test_each_minute_begins_anew(store):
    rows = await all_of(
        store, *(refused() for _ in range(OWN + 5)), *(refused(at=AT + MINUTE) for _ in range(OWN + 1)), now=AT + MINUTE
    )
    assert sorted(row.event.count for row in rows) == [*[1] * (2 * OWN + 1), 5]


async def test_a_flood_of_one_kind_hides_no_other_of_the_same_client(store):
    events = [refused() for _ in range(OWN + 1)]
    others = [refused(reason="relay_denied", domain=""), refused(domain="b.test"), refused(domain="b.test")]
    rows = await all_of(store, *events, *others, *others * OWN)
    alone = Counter((row.event.domain, row.event.reason) for row in rows if not row.event.since)
    assert alone == {("example.test", "no_such_user"): OWN, ("", "relay_denied"): OWN, ("b.test", "no_such_user"): OWN}
    counted = [row.event for row in rows if row.event.since]
    assert sorted((one.domain, one.reason, one.count) for one in counted) == [
        ("", "relay_denied", 1), ("b.test", "no_such_user", OWN + 2), ("example.test", "no_such_user", 1),
    ]  # fmt: skip


async def test_whatever_strangers_do_a_minute_has_a_bounded_number_of_events_and_none_is_forgotten_in_the_count(store):
    total = ALL + COUNTED + 2000
    rows = await all_of(store, *(refused(f"2001:db8:{number:x}::1") for number in range(total)))
    assert len(rows) <= ALL + COUNTED + 1
    assert sum(row.event.count for row in rows) == total
    rest = [row.event for row in rows if not row.event.client.address]
    assert [(one.count, one.domain, one.sender, one.recipient) for one in rest] == [(2000, "", "", "")]


async def test_what_was_refused_is_written_while_the_receiver_runs_also_the_counts_of_a_minute_that_ended(
    store, monkeypatch
):
    monkeypatch.setattr(module, "FLUSH", 0.02)
    now = AT
    refusals = Refusals(Log(store.redis), 8, lambda: now)
    stop = asyncio.Event()
    task = asyncio.create_task(refusals.run(stop))
    for _ in range(OWN + 3):
        refusals.add(refused())

    async def there(number: int) -> bool:
        return len(await written(store)) == number

    await eventually(lambda: there(OWN))
    now += MINUTE
    await eventually(lambda: there(OWN + 1))
    stop.set()
    await task


async def test_a_store_that_is_away_costs_the_refusals_and_nothing_else(own_redis, monkeypatch):
    monkeypatch.setattr(module, "FLUSH", 0.02)
    store = await Store.connect(own_redis.url, 8)
    own_redis.kill()
    refusals = Refusals(Log(store.redis), 8, lambda: AT)
    stop = asyncio.Event()
    task = asyncio.create_task(refusals.run(stop))
    refusals.add(refused())

    async def given_up() -> bool:
        return not refusals._pending and not refusals._writing

    await eventually(given_up)
    own_redis.start()
    refusals.add(refused("192.0.2.2"))

    async def there() -> bool:
        return [row.event.client.address for row in await written(store)] == ["192.0.2.2"]

    await eventually(there)
    stop.set()
    await task
    await store.close()
