"""What is said of the store as a whole."""

from __future__ import annotations

import asyncio

from pipeline.meters import OTHER
from pipeline.units import SECOND
from projections.readers.books import BooksReport, DomainBooks
from projections.readers.health import ViewHealth
from projections.readers.queue import DomainQueue, QueueReport
from tests.support.examples import DOMAIN
from workers.monitoring import store
from workers.monitoring.store import StoreView, of_books, of_queue, of_views

NOW = 1_000 * SECOND


def queue(*domains: DomainQueue) -> QueueReport:
    total = sum(one.messages for one in domains)
    return QueueReport(domains=domains, servers=(), recipients=total, messages=total, bytes=0, oldest=None)


def row(domain: str, messages: int, age: int, state: str = "open") -> DomainQueue:
    return DomainQueue(
        domain=domain, messages=messages, bytes=messages * 10, oldest=NOW - age * SECOND, oldest_id="x", state=state
    )


def values(gauges):
    return {gauge.name: {"/".join(labels): value for labels, value in gauge.values.items()} for gauge in gauges}


def test_the_largest_queues_are_named_and_all_others_are_one():
    report = queue(
        row("a.test", 1, 5), row("b.test", 30, 7, "held"), row("c.test", 2, 90, "deferred"), row("d.test", 20, 1)
    )
    found = values(of_queue(report, 2, NOW))
    assert found["gatepost_queue_messages"] == {"b.test": 30, "d.test": 20, OTHER: 3}
    assert found["gatepost_queue_bytes"] == {"b.test": 300, "d.test": 200, OTHER: 30}
    assert found["gatepost_queue_oldest_seconds"] == {"b.test": 7, "d.test": 1, OTHER: 90}
    assert found["gatepost_queue_stopped_domains"] == {"b.test": 1, "d.test": 0, OTHER: 1}
    assert found["gatepost_waiting_messages"] == {"": 53}


def test_no_domain_is_named_where_none_is_to_be():
    found = values(of_queue(queue(row("a.test", 1, 5)), 0, NOW))
    assert found["gatepost_queue_messages"] == {OTHER: 1}
    assert values(of_queue(queue(), 20, NOW))["gatepost_queue_messages"] == {OTHER: 0}


def test_what_is_missing_in_one_domain_and_too_much_in_another_is_two_wrong_books():
    domains = (DomainBooks(domain="a", received=2, delivered=1), DomainBooks(domain="b", received=1, delivered=2))
    found = values(of_books(BooksReport(domains=domains, total=DomainBooks(domain="", received=3, delivered=3))))
    assert found["gatepost_books_unbalanced_domains"] == {"": 2}
    assert found["gatepost_books_balanced"] == {"": 0}
    assert found["gatepost_books_recipients"]["received"] == found["gatepost_books_recipients"]["delivered"] == 3


def test_a_view_is_as_far_as_its_slowest_partition():
    parts = [
        ViewHealth(view="queue", partition=p, checkpoint="0", behind=p * SECOND, damaged=p, broken=1, newest_damaged=())
        for p in range(3)
    ]
    found = values(of_views(parts))
    assert found["gatepost_view_lag_seconds"] == {"queue": 2}
    assert found["gatepost_view_damaged_entries"] == {"queue": 3}
    assert found["gatepost_view_broken_writes"] == {"queue": 3}


async def test_an_answer_is_given_again_for_some_seconds_and_then_read_anew(parts, monkeypatch):
    wiring = await parts()
    await wiring.customer("127.0.0.1:25")
    view = StoreView(wiring)
    first = values(await view.read())
    await wiring.accept()
    again = values(await view.read())
    assert again["gatepost_unscanned_messages"] == first["gatepost_unscanned_messages"] == {"": 0}
    assert again["gatepost_store_read_timestamp_seconds"] == first["gatepost_store_read_timestamp_seconds"]
    monkeypatch.setattr(view, "_until", 0)
    found = values(await view.read())
    assert found["gatepost_unscanned_messages"] == {"": 1}
    assert found["gatepost_domains"] == {"": 1}
    assert found["gatepost_log_entries"] == {"": 1}
    assert found["gatepost_log_bytes"][""] > 100
    assert found["gatepost_view_lag_seconds"]["queue"] >= 0
    assert found["gatepost_store_up"] == {"": 1}
    assert set(found) == {gauge.name for gauge in store.metrics.OF_STORE}
    assert DOMAIN not in str(found["gatepost_books_recipients"])


async def test_without_redis_it_says_that_and_nothing_else(parts, own_redis):
    wiring = await parts(own_redis)
    view = StoreView(wiring)
    own_redis.kill()
    found = values(await view.read())
    assert found["gatepost_store_up"] == {"": 0}
    assert set(found) == {"gatepost_store_up", "gatepost_disk_free_bytes"}
    own_redis.start()


async def test_a_store_that_takes_long_to_read_is_shown_the_next_time(parts, monkeypatch):
    wiring = await parts()
    view, go_on = StoreView(wiring), asyncio.Event()
    reading = view._read

    async def slowly():
        await go_on.wait()
        return await reading()

    monkeypatch.setattr(view, "_read", slowly)
    assert set(values(await view.read(0.01))) == {"gatepost_store_up", "gatepost_disk_free_bytes"}
    go_on.set()
    assert "gatepost_waiting_messages" in values(await view.read())


async def test_what_cannot_be_read_leaves_the_rest_of_the_page(parts, monkeypatch):
    wiring = await parts()
    view = StoreView(wiring)

    async def broken():
        raise ValueError

    monkeypatch.setattr(view, "_read", broken)
    assert values(await view.read())["gatepost_store_up"] == {"": 1}
