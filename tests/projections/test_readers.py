"""What people are shown, merged over partitions."""

from __future__ import annotations

import msgspec
import pytest

from pipeline import keys
from pipeline.directory import Hold
from pipeline.events import Attempt, Deferred, Delivered, Quarantined, RouteDeferred
from pipeline.faults import CorruptError
from pipeline.ids import new_id, partition_for
from pipeline.log import Damaged
from projections import builds
from projections.base import START, Portion, advance, position
from projections.books import Books
from projections.failures import Failures
from projections.queue import Queue
from projections.readers import read_books, read_failures, read_health, read_queue, read_waiting
from projections.readers.ages import DAY, HOUR, MINUTE
from projections.readers.selfcheck import CheckedView, SelfCheck, last_selfcheck
from tests.support.examples import ANNA, AT, ATTEMPT, SECOND, event, received
from tests.support.histories import recorded, write_log

PARTITIONS = 8
A, B, C = "a.test", "b.test", "c.test"


def about(domain: str, made, **changes):
    return msgspec.structs.replace(made, domain=domain, **changes)


def message(domain: str, number: int) -> str:
    return new_id(AT, partition_for(domain, PARTITIONS), number)


async def project(redis, log, history) -> None:
    """Write (subject, event) pairs to the logs of their domains, and fold them."""
    for partition in range(PARTITIONS):
        mine = [pair for pair in history if partition_for(pair[1].domain, PARTITIONS) == partition]
        await write_log(redis, recorded(mine, partition))
        for projection in (Queue(), Failures(), Books()):
            view, _ = await builds.to_fold(redis, partition, projection)
            reached = await position(redis, view)
            entries = await log.read(partition, reached, 1000)
            if entries:
                assert await advance(redis, [Portion([view], reached, entries)]) == [True]


def down(domain: str, server: str, **changes) -> RouteDeferred:
    attempt = Attempt(server=server, stage="connect", reply="Connection refused")
    made = RouteDeferred(
        at=AT + SECOND, domain=domain, tries=4, since=AT, next_try=AT + 900 * SECOND, attempts=(attempt,)
    )
    return msgspec.structs.replace(made, **changes)


async def test_the_queue_of_all_domains_and_servers(redis, log):
    await project(
        redis,
        log,
        [
            (message(A, 1), received("x@a.test", "y@a.test", domain=A, at=AT)),
            (message(A, 2), received("x@a.test", domain=A, at=AT + SECOND, size=1000)),
            ("@" + A, down(A, "mx.shared.test:25")),
            (message(B, 3), received("x@b.test", domain=B, at=AT - SECOND)),
            ("@" + B, down(B, "mx.shared.test:25", next_try=AT + 60 * SECOND)),
            (message(C, 4), received("x@c.test", domain=C)),
            (message(C, 4), about(C, event(Delivered, ("x@c.test",)))),
        ],
    )
    report = await read_queue(redis, PARTITIONS)
    assert [one.domain for one in report.domains] == [A, B]
    assert (report.recipients, report.messages, report.bytes, report.oldest) == (4, 3, 2 * 1234 + 1000, AT - SECOND)
    first = report.domains[0]
    assert (first.recipients, first.messages, first.bytes, first.oldest) == (3, 2, 2234, AT)
    assert (first.oldest_id, first.odd) == (message(A, 1), 0)
    assert (first.state, first.since, first.tries, first.next_try) == ("deferred", AT, 4, AT + 900 * SECOND)
    assert first.error is not None
    assert first.error.attempts[0].reply == "Connection refused"
    (server,) = report.servers
    assert (server.server, server.domains, server.messages) == ("mx.shared.test:25", (A, B), 3)
    assert (server.state, server.next_try, server.oldest) == ("deferred", AT + 60 * SECOND, AT - SECOND)


async def test_what_waits_is_counted_by_how_long_it_has_waited(redis, log):
    waited = [0, 14 * MINUTE, 15 * MINUTE, 59 * MINUTE, HOUR, 5 * HOUR, 2 * DAY, 3 * DAY, 7 * DAY]
    history = [
        (message(A, number), received("x@a.test", domain=A, at=AT - ago - SECOND)) for number, ago in enumerate(waited)
    ]
    await project(redis, log, [*history, (message(B, 99), received("x@b.test", domain=B, at=AT - HOUR - SECOND))])
    report = await read_queue(redis, PARTITIONS, now=AT)
    assert [one.ages for one in report.domains] == [(2, 2, 1, 1, 1, 2), (0, 0, 1, 0, 0, 0)]
    assert report.ages == (2, 2, 2, 1, 1, 2)
    assert sum(report.ages) == report.messages
    assert (await read_queue(redis, PARTITIONS)).ages == ()


async def test_a_destination_says_for_whom_it_is_down_held_and_what_it_said_last(redis, log):
    hold = Hold(since=AT, reason="they move house", by="root")
    await project(
        redis,
        log,
        [
            (message(A, 1), received("x@a.test", domain=A)),
            ("@" + A, down(A, "mx.a.test:25")),
            (message(B, 2), received("x@b.test", domain=B)),
            (message(B, 3), received("x@b.test", domain=B)),
            ("@" + B, down(B, "mx.a.test:25", at=AT + 2 * SECOND, since=AT - SECOND)),
            (message(C, 4), received("x@c.test", domain=C)),
        ],
    )
    routes = {C: ("mx.c.test:25",)}
    shared, other = (await read_queue(redis, PARTITIONS, routes=routes, held_servers={"mx.c.test:25": hold})).servers
    assert (shared.server, shared.domains, shared.state, shared.since) == (
        "mx.a.test:25",
        (B, A),
        "deferred",
        AT - SECOND,
    )
    assert shared.error is not None
    assert (shared.error_of, shared.error.at) == (B, AT + 2 * SECOND)
    assert (other.server, other.state, other.hold, other.hold_of) == ("mx.c.test:25", "held", hold, "")
    report = await read_queue(redis, PARTITIONS, holds={A: hold})
    assert (report.servers[0].state, report.servers[0].hold, report.servers[0].hold_of) == ("mixed", hold, A)


async def test_a_domain_where_nothing_waits_is_shown_when_asked_for(redis, log):
    report = await read_queue(redis, PARTITIONS, C)
    assert [(one.domain, one.messages, one.next_try, one.state) for one in report.domains] == [(C, 0, None, "open")]
    await project(redis, log, [(message(C, 4), received("x@c.test", domain=C))])
    assert [one.messages for one in (await read_queue(redis, PARTITIONS, C)).domains] == [1]


async def test_a_domain_that_was_never_dialled_waits_for_the_server_of_its_route(redis, log):
    await project(redis, log, [(message(C, 4), received("x@c.test", domain=C))])
    report = await read_queue(redis, PARTITIONS, routes={C: ("mx.c.test:25", "mx2.c.test:25")})
    assert [one.server for one in report.servers] == ["mx.c.test:25"]
    assert report.domains[0].next_try == 0


async def test_a_domain_that_is_held_has_no_next_attempt_whatever_its_server_does(redis, log):
    hold = Hold(since=AT, reason="they move house", by="root")
    await project(redis, log, [(message(A, 1), received("x@a.test", domain=A)), ("@" + A, down(A, "mx.a.test:25"))])
    (domain,) = (await read_queue(redis, PARTITIONS, holds={A: hold})).domains
    assert (domain.state, domain.hold, domain.next_try, domain.messages) == ("held", hold, None, 1)
    report = await read_queue(redis, PARTITIONS, holds={A: hold})
    assert [(one.state, one.next_try) for one in report.servers] == [("held", None)]


@pytest.mark.parametrize(("messages", "expected"), [(1, AT + 901 * SECOND), (2, 0)])
async def test_the_next_attempt_is_the_earliest_of_any_message(redis, log, messages, expected):
    history = [(message(A, number), received("x@a.test", domain=A)) for number in range(messages)]
    await project(redis, log, [*history, (message(A, 0), about(A, event(Deferred, ("x@a.test",))))])
    (domain,) = (await read_queue(redis, PARTITIONS)).domains
    assert (domain.next_try, domain.backing_off, domain.state) == (expected, 1, "open")
    assert domain.error is not None
    assert (domain.error.message, domain.error.attempts) == (message(A, 0), (ATTEMPT,))


async def test_waiting_messages_one_by_one_the_longest_waiting_first(redis, log):
    history = [(message(A, number), received("x@a.test", domain=A, at=AT - number)) for number in range(0, 5000, 1000)]
    await project(redis, log, [*history, (message(A, 1000), about(A, event(Deferred, ("x@a.test",))))])
    found = await read_waiting(redis, PARTITIONS, A, start=1, count=3)
    assert [one.id for one in found] == [message(A, 3000), message(A, 2000), message(A, 1000)]
    assert (found[2].tries, found[2].next_try, found[2].recipients) == (1, AT + 901 * SECOND, ("x@a.test",))
    assert await read_waiting(redis, PARTITIONS, B) == []


async def test_failures_of_one_domain_or_of_all(redis, log):
    await project(
        redis,
        log,
        [
            *[(message(domain, 0), received(domain=domain)) for domain in (A, B)],
            (message(A, 1), about(A, event(Deferred, ("x@a.test",)))),
            (message(A, 2), about(A, event(Deferred, ("y@a.test",)))),
            ("@" + B, down(B, "mx.b.test:25")),
        ],
    )
    found = await read_failures(redis, PARTITIONS)
    assert [(one.domain, len(one.failures), len(one.groups)) for one in found] == [(A, 2, 1), (B, 1, 1)]
    (only,) = await read_failures(redis, PARTITIONS, B)
    assert only.failures[0].attempt.reply == "Connection refused"
    assert [one.failures for one in await read_failures(redis, PARTITIONS, C)] == [()]


async def test_what_servers_of_the_world_said_to_our_own_mail_is_in_one_place_and_found_by_domain(redis, log):
    bounces = [(message(domain, 1), received(domain=domain, origin="bounce")) for domain in (A, B, C)]
    failed = [(message(domain, 1), about(domain, event(Deferred), at=AT + at)) for at, domain in enumerate((A, B, C))]
    await project(redis, log, [(message(A, 0), received(domain=A)), *bounces, *failed])
    ours, own = await read_failures(redis, PARTITIONS)
    assert (ours.domain, len(ours.failures), own.domain) == (A, 1, "*")
    assert [failure.domain for failure in own.failures] == [C, B]
    assert [group.newest.domain for group in own.groups] == [C, B]
    (only,) = await read_failures(redis, PARTITIONS, B)
    assert (only.domain, [one.at for one in only.failures], [one.count for one in only.groups]) == (B, [AT + 1], [1])


async def test_our_own_mail_is_one_row_of_the_books_whatever_partition_it_is_in(redis, log):
    bounces = [(message(domain, 1), received(ANNA, ANNA + "x", domain=domain, origin="bounce")) for domain in (A, B, C)]
    await project(redis, log, [(message(A, 0), received(domain=A)), *bounces])
    report = await read_books(redis, PARTITIONS)
    assert [(one.domain, one.received) for one in report.domains] == [(A, 3), ("*", 4)]
    assert report.total.received == 7


async def test_books_of_one_domain_and_of_all(redis, log):
    await project(
        redis,
        log,
        [
            (message(A, 1), received("x@a.test", "y@a.test", "z@a.test", domain=A)),
            (message(A, 1), about(A, event(Quarantined, ("z@a.test",)))),
            (message(A, 1), about(A, event(Delivered, ("x@a.test",)))),
            (message(B, 2), about(B, event(Delivered, ("x@b.test",)))),
        ],
    )
    report = await read_books(redis, PARTITIONS)
    first, second = report.domains
    assert (first.received, first.delivered, first.waiting, first.quarantined) == (3, 1, 1, 1)
    assert first.balanced
    assert (second.received, second.delivered, second.difference, second.odd) == (0, 1, -1, 1)
    assert not second.balanced
    assert not report.balanced
    assert (report.total.received, report.total.delivered) == (3, 2)
    assert (await read_books(redis, PARTITIONS, A)).domains == (first,)


async def test_health_shows_how_far_behind_a_view_is_and_what_it_could_not_read(redis, log):
    (entry,) = await write_log(redis, recorded([(message(A, 1), received(domain=A))], partition_for(A, PARTITIONS)))
    now = int(entry.partition("-")[0]) * 1_000_000 + 5 * SECOND
    health = {one.partition: one for one in await read_health(redis, log, PARTITIONS, ["queue"], now)}
    assert health[partition_for(A, PARTITIONS)].behind == 5 * SECOND
    assert health[partition_for(A, PARTITIONS)].checkpoint == START
    assert {one.behind for number, one in health.items() if number != partition_for(A, PARTITIONS)} == {0}

    await write_log(redis, [Damaged(partition_for(A, PARTITIONS), "", "lost", "")])
    await project(redis, log, [])
    health = {one.partition: one for one in await read_health(redis, log, PARTITIONS, ["queue"], now)}
    mine = health[partition_for(A, PARTITIONS)]
    assert (mine.behind, mine.damaged, mine.broken) == (0, 1, 0)
    assert mine.newest_damaged[0].subject == "lost"


async def test_health_counts_the_events_that_are_missing_and_estimates_many(redis, log):
    place = partition_for(A, PARTITIONS)
    await project(redis, log, [(message(A, 0), received(domain=A))])
    await write_log(redis, recorded([(message(A, number), received(domain=A)) for number in range(1, 4)], place))
    mine = [one for one in await read_health(redis, log, PARTITIONS, ["queue", "books"], AT) if one.partition == place]
    assert [(one.view, one.version, one.events, one.exact) for one in mine] == [
        ("queue", Queue().version, 3, True),
        ("books", Books().version, 3, True),
    ]
    await write_log(redis, recorded([(message(A, number), received(domain=A)) for number in range(4, 200)], place))
    (mine,) = [one for one in await read_health(redis, log, PARTITIONS, ["queue"], AT) if one.partition == place]
    assert not mine.exact
    assert 100 <= mine.events <= 200


async def test_health_shows_how_far_a_build_has_grown(redis, log):
    place = partition_for(A, PARTITIONS)
    await project(redis, log, [(message(A, 0), received(domain=A))])
    fresh, live = await builds.to_fold(redis, place, Failures(9))
    assert not live

    async def growing():
        health = await read_health(redis, log, PARTITIONS, ["failures"], AT)
        assert {one.growing for one in health if one.partition != place} == {None}
        return next(one.growing for one in health if one.partition == place)

    before = await growing()
    assert (before.version, before.checkpoint, before.done) == (Failures(9).version, START, 0.0)
    entries = await log.read(place, START, 10)
    assert await advance(redis, [Portion([fresh], START, entries)]) == [True]
    assert (await growing()).done == 1.0


async def test_a_record_that_cannot_be_read_is_a_fault_that_says_how_to_mend_it(redis, log):
    await project(
        redis, log, [(message(A, 0), received(domain=A)), (message(A, 1), about(A, event(Deferred, (ANNA,))))]
    )
    live = await builds.live(redis, partition_for(A, PARTITIONS), Failures())
    assert live is not None
    await redis.lset(live[0].prefix + "f:" + A, 0, b"\xc1")
    with pytest.raises(CorruptError) as caught:
        await read_failures(redis, PARTITIONS, A)
    assert "gatepost replay failures --mend" in caught.value.remedy


async def test_readers_look_at_the_builds_that_a_source_names(redis, log):
    await project(redis, log, [(message(A, 1), received("x@a.test", domain=A))])
    partition = partition_for(A, PARTITIONS)
    view = await builds.temporary(redis, partition, Queue(), AT)
    events = recorded([(message(A, 1), received("x@a.test", domain=A, at=AT, size=7))], partition)
    assert await advance(redis, [Portion([view], START, events)]) == [True]
    source = builds.Source(redis, {"queue": {partition: view.prefix}})
    assert [one.bytes for one in (await read_queue(source, PARTITIONS)).domains] == [7]
    assert (await read_waiting(source, PARTITIONS, A))[0].size == 7
    assert (await read_books(source, PARTITIONS)).domains == ()
    assert (await read_queue(redis, PARTITIONS)).bytes == 1234


async def test_the_last_self_check_is_what_was_stored_last(redis):
    assert await last_selfcheck(redis) is None
    views = (
        CheckedView(view="queue", events=10, seconds=0.5),
        CheckedView(view="books", events=10, seconds=0.5, differences=2, named=("a", "b")),
    )
    check = SelfCheck(night="2026-11-30", started=AT, ended=AT + SECOND, views=views)
    await redis.hset(keys.SELFCHECK, "last", msgspec.msgpack.encode(check))
    assert await last_selfcheck(redis) == check
    assert not check.equal
    assert (check.events, check.differences) == (20, 2)
