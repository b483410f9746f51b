"""The scanner and the engines outside: what passes, what is kept, what waits and how it comes back."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from pipeline import keys
from pipeline.directory import Domain
from pipeline.events import Finding, Postponed, Quarantined, Queued, Scanned
from pipeline.rescan import Rescans
from pipeline.scanning.engines.board import Board
from pipeline.scanning.engines.guard import Guard
from pipeline.scanning.engines.health import AFTER, together
from pipeline.scanning.faults import EngineFault, Unable
from pipeline.units import SECOND, Duration
from tests.support.examples import ANNA, BEN, DOMAIN
from tests.workers.conftest import PARTITION
from workers.consume import Entry, ensure_groups
from workers.engines import Watch
from workers.janitor import Janitor
from workers.scanner import Scanner

VIRUS = Finding(name="CLAMAV", score=100.0, kind="virus", engine="clamav")


class Scripted:
    """A client that answers as it is told."""

    name, version = "clamav", "1"

    def __init__(self):
        self.answer: object = ()
        self.asked = self.pinged = 0

    async def scan(self, mail):
        self.asked += 1
        return await self._said()

    async def ping(self):
        self.pinged += 1
        await self._said()

    async def _said(self):
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self):
        pass


class NoNames:
    def expect(self, name, kind):
        pass

    async def _none(self, *_):
        return ()

    txt = addresses = mx = names = ptr = _none


AWAY = EngineFault("cannot be reached", "127.0.0.1:3310: refused")


class Desk:
    """A scanner's part with one engine, in the test's hands."""

    def __init__(self, wiring, client):
        self.wiring, self.client = wiring, client
        self.guard = Guard(client, Duration(SECOND), 10, wiring.clock)
        self.scanner = Scanner(wiring, [self.guard], NoNames())

    async def work(self):
        """All that lies in the stream, as a consumer gives it."""
        redis, stream = self.wiring.store.redis, keys.scan(PARTITION)
        await ensure_groups(redis, [stream], keys.SCANNERS)
        rows = await redis.xreadgroup(keys.SCANNERS, "me", {stream: ">"}, count=100)
        entries = [Entry(PARTITION, stream, entry.decode(), fields) for _, found in rows for entry, fields in found]
        assert await self.scanner.handle(entries) == {}
        assert await redis.xlen(stream) == 0
        return len(entries)


@pytest.fixture
async def desk(parts):
    async def make(rule="", **settings):
        wiring = await parts(**settings)
        await wiring.directory.set_domain(
            Domain(name=DOMAIN, route=("mx.example.test:25",), engines_missing=rule), by="test", now=1
        )
        await wiring.directory.refresh()
        return Desk(wiring, Scripted())

    return make


def last(events, kind):
    return [row.event for row in events if isinstance(row.event, kind)][-1]


async def test_with_pass_it_goes_on_and_the_event_says_who_did_not_look(desk):
    one = await desk()
    one.client.answer = AWAY
    message_id = await one.wiring.accept()
    await one.work()
    assert await one.wiring.kinds(message_id) == ["Received", "Scanned", "Queued"]
    scanned = last(await one.wiring.events(message_id), Scanned)
    assert scanned.missing == ("clamav (cannot be reached)",)
    assert [(finding.name, finding.text) for finding in scanned.findings] == [
        ("ENGINE_ERROR", "clamav cannot be reached")
    ]
    head = await one.wiring.head(message_id)
    outgoing = await one.wiring.forwarding.prepare(head, b"Subject: x\r\n\r\n")
    assert b"\r\nX-Gatepost-Not-Scanned-By: clamav\r\n" in outgoing.top
    assert "3310" not in outgoing.top.decode()


async def test_with_quarantine_every_copy_is_kept_and_says_why(desk):
    one = await desk("quarantine")
    one.client.answer = AWAY
    message_id = await one.wiring.accept(b"Subject: x\r\n\r\nhello\r\n", ANNA, BEN)
    await one.work()
    kept = last(await one.wiring.events(message_id), Quarantined)
    assert kept.recipients == (ANNA, BEN)
    assert kept.reason == "not scanned by clamav (cannot be reached)"


async def test_with_wait_it_is_scanned_again_and_goes_on_when_the_engine_is_back(desk):
    one = await desk("wait")
    one.client.answer = AWAY
    message_id = await one.wiring.accept()
    await one.work()
    assert await one.wiring.kinds(message_id) == ["Received", "Postponed"]
    event = last(await one.wiring.events(message_id), Postponed)
    assert event.missing == ("clamav (cannot be reached)",)
    rescans = Rescans(one.wiring.store)
    for _ in range(3):
        one.wiring.forward(61)
        assert await rescans.put_back(one.wiring.clock()) == 1
        await one.work()
    assert await one.wiring.kinds(message_id) == ["Received", "Postponed"]
    one.client.answer = ()
    one.wiring.forward(61)
    await rescans.put_back(one.wiring.clock())
    await one.work()
    assert await one.wiring.kinds(message_id) == ["Received", "Postponed", "Scanned", "Queued"]
    head = await one.wiring.head(message_id)
    assert (head.missing, head.waits_since) == ((), 0)
    assert await rescans.put_back(one.wiring.clock() + 10**15) == 0


async def test_what_was_bad_all_the_while_is_kept_for_that_when_the_engine_is_back(desk):
    one = await desk("wait")
    one.client.answer = AWAY
    message_id = await one.wiring.accept()
    await one.work()
    one.client.answer = (VIRUS,)
    one.wiring.forward(61)
    await Rescans(one.wiring.store).put_back(one.wiring.clock())
    await one.work()
    assert last(await one.wiring.events(message_id), Scanned).verdict == "virus"
    assert (await one.wiring.kinds(message_id))[-1] == "Quarantined"


async def test_after_the_longest_wait_it_is_kept_and_says_for_how_long_it_waited(desk):
    one = await desk("wait", engines_wait="1h")
    one.client.answer = AWAY
    message_id = await one.wiring.accept()
    await one.work()
    one.wiring.forward(3600)
    await Rescans(one.wiring.store).put_back(one.wiring.clock())
    await one.work()
    kept = last(await one.wiring.events(message_id), Quarantined)
    assert kept.reason == "not scanned by clamav (cannot be reached), waited for 1 h 0 min"


async def test_half_of_a_message_s_life_is_left_for_its_delivery(desk):
    one = await desk("wait", queue_lifetime="2h")
    one.client.answer = AWAY
    message_id = await one.wiring.accept()
    await one.work()
    event = last(await one.wiring.events(message_id), Postponed)
    assert event.until - event.at == 3600 * SECOND
    one.wiring.forward(3600)
    await Rescans(one.wiring.store).put_back(one.wiring.clock())
    await one.work()
    assert (await one.wiring.kinds(message_id))[-1] == "Quarantined"


async def test_a_domain_that_changes_its_mind_lets_what_waits_pass(desk):
    one = await desk("wait")
    one.client.answer = AWAY
    message_id = await one.wiring.accept()
    await one.work()
    await one.wiring.directory.set_domain(Domain(name=DOMAIN, route=("mx.example.test:25",)), by="test", now=2)
    await one.wiring.directory.refresh()
    one.wiring.forward(61)
    await Rescans(one.wiring.store).put_back(one.wiring.clock())
    await one.work()
    assert isinstance(last(await one.wiring.events(message_id), Queued), Queued)


async def test_while_an_engine_is_left_alone_what_waits_for_it_is_not_looked_at_and_new_mail_says_so(desk):
    one = await desk("wait")
    one.client.answer = AWAY
    for _ in range(AFTER):
        await one.wiring.accept()
    await one.work()
    asked = one.client.asked
    new = await one.wiring.accept()
    await one.work()
    assert one.client.asked == asked
    event = last(await one.wiring.events(new), Postponed)
    assert event.missing == ("clamav (is not asked for a while, as it cannot be reached)",)


async def test_a_message_that_an_engine_cannot_look_at_does_not_take_it_from_the_others(desk):
    one = await desk()
    one.client.answer = Unable("INSTREAM: Can't write to temporary file. ERROR")
    ids = [await one.wiring.accept() for _ in range(AFTER * 2)]
    await one.work()
    assert one.client.asked == len(ids)
    assert last(await one.wiring.events(ids[-1]), Scanned).missing == ("clamav (could not look at it)",)


async def test_a_late_engine_is_missing_as_well(desk):
    one = await desk(scan_budget="50ms")
    one.client.answer = None
    message_id = await one.wiring.accept()
    await one.work()
    assert last(await one.wiring.events(message_id), Scanned).missing == ("clamav (did not answer within 0.05 s)",)
    assert one.guard.health().last_error == "did not answer in time"


async def test_a_bounce_of_ours_passes_whatever_the_rule(desk):
    one = await desk("quarantine")
    one.client.answer = AWAY
    message_id = await one.wiring.accept()
    message = await one.wiring.head(message_id)
    entry = Entry(PARTITION, keys.scan(PARTITION), "0-1", {b"id": message_id.encode()})
    step = await one.scanner._judge(msgspec.structs.replace(message, origin="bounce"), b"Subject: x\r\n\r\n", entry)
    await one.wiring.log.commit(step)
    assert (await one.wiring.kinds(message_id))[-1] == "Queued"


async def test_all_processes_write_down_how_engines_are_and_take_it_back_when_they_end(desk):
    one = await desk()
    one.client.answer = AWAY
    for _ in range(AFTER):
        await one.wiring.accept()
    await one.work()
    watch, stop, board = Watch(one.wiring, [one.guard]), asyncio.Event(), Board(one.wiring.store)
    await watch.report()
    (row,) = together(await board.read(), ("clamav",))
    assert (row.state, row.messages, row.errors, row.versions) == ("away", AFTER, AFTER, ("1",))
    assert row.last_error == "cannot be reached: 127.0.0.1:3310: refused"
    stop.set()
    await watch.run(stop)
    assert await board.read() == []


async def test_an_idle_engine_is_visited_and_one_that_is_away_is_back_without_any_mail(desk):
    one = await desk()
    watch = Watch(one.wiring, [one.guard])
    await watch.visit()
    await watch.visit()
    assert one.client.pinged == 1
    one.wiring.forward(31)
    one.client.answer = AWAY
    for _ in range(AFTER):
        await watch.visit()
    assert one.guard.health().failing == AFTER
    until = one.guard.health().skipped_until
    await watch.visit()
    assert one.guard.health().skipped_until == until
    one.client.answer = ()
    await watch.visit()
    assert one.guard.health().skipped_until == 0


async def test_when_an_engine_is_back_all_that_waits_is_scanned_at_once_and_what_it_fails_at_has_its_time(desk):
    one = await desk("wait")
    one.client.answer = AWAY
    ids = [await one.wiring.accept() for _ in range(AFTER)]
    await one.work()
    watch = Watch(one.wiring, [one.guard])
    await watch.put_back()
    assert await one.work() == 0
    one.client.answer = ()
    await watch.visit()
    await watch.put_back()
    one.client.answer = Unable("not this one")
    assert await one.work() == AFTER
    await watch.put_back()
    assert await one.work() == 0
    one.client.answer = ()
    one.wiring.forward(60)
    await watch.put_back()
    assert await one.work() == AFTER
    assert [(await one.wiring.kinds(name))[-1] for name in ids] == ["Queued"] * AFTER


async def test_the_body_of_a_message_that_waits_leaves_memory(desk):
    one = await desk("wait")
    one.client.answer = AWAY
    message_id = await one.wiring.accept()
    await one.work()
    assert await Janitor(one.wiring).cool() == 1
    one.client.answer = ()
    one.wiring.forward(61)
    await Rescans(one.wiring.store).put_back(one.wiring.clock())
    await one.work()
    assert (await one.wiring.kinds(message_id))[-1] == "Queued"
