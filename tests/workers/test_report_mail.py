"""Reports that go out by mail: when, once, and what is in them."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import email
import gzip
import io
import random
import time
from email import policy

import msgspec
import pytest

from pipeline import keys
from pipeline.directory import Domain
from pipeline.directory.reports import ReportSchedule
from pipeline.events import Attempt, Delivered, ReportSent
from pipeline.faults import ConfigurationError, RefusedError
from pipeline.ids import partition_of
from pipeline.steps import message_step
from pipeline.zones import local, moment, ns, zone_of
from projections.reports.due import LATE
from projections.reports.letter import Rows
from tests.support.examples import ANNA, DOMAIN
from tests.workers.conftest import PARTITION, Parts
from workers.consume import Entry
from workers.janitor import Janitor
from workers.report_mail import ReportMail

HOUR = 3600
DAY = 24 * HOUR
BOSS = "boss@elsewhere.test"
OK = Attempt(
    server="mx.example.test:25", address="192.0.2.1", stage="dot", code=250, enhanced="2.0.0", reply="=250 2.0.0 ok"
)
WEEKLY = ReportSchedule(name="weekly", every="week", to=BOSS, at=7 * 60)
DAILY = ReportSchedule(name="daily", every="day", to=BOSS, at=7 * 60)


def at(text: str) -> int:
    return ns(dt.datetime.fromisoformat(text))


@pytest.fixture
async def make(parts):
    """Watchers that share a store; the clock of the first decides all."""

    async def made(start: str, *reports: ReportSchedule, language: str = "", others: int = 0) -> list[Parts]:
        found = [await parts() for _ in range(1 + others)]
        first = found[0]
        now = [at(start)]
        for one in found:
            one.clock = lambda: now[0]
            one.directory._clock = one.clock
        first.move = lambda text: now.__setitem__(0, at(text))
        first.move_to = lambda moment: now.__setitem__(0, moment)
        reports = tuple(msgspec.structs.replace(one, since=now[0]) for one in reports)
        domain = Domain(
            name=DOMAIN, route=("mx.example.test:25",), reports=reports, timezone="Europe/Berlin", language=language
        )
        await first.directory.set_domain(domain, by="test", now=now[0])
        return found

    return made


async def delivered(wiring: Parts, count: int = 1) -> None:
    for _ in range(count):
        message = await wiring.head(await wiring.queued())
        event = Delivered(
            at=wiring.clock(), domain=DOMAIN, recipients=(ANNA,), sender=message.sender, size=message.size, tries=1, attempt=OK,
            waited=3 * 10**9,
        )  # fmt: skip
        await wiring.log.commit(message_step(message, (event,), now=wiring.clock())[0])


async def mails(wiring: Parts) -> list[email.message.EmailMessage]:
    """What lies in the outbox, in order."""
    rows = await wiring.store.redis.xrange(keys.outbox(PARTITION))
    return [email.message_from_bytes(fields[b"b"], policy=policy.default) for _, fields in rows]


async def test_a_report_is_sent_when_its_hour_has_come_and_once(make):
    # Entries of the log have the time of the server, so this happens in the present week.
    now = local(time.time_ns(), zone_of("Europe/Berlin"))
    (wiring,) = await make(now.isoformat(), msgspec.structs.replace(WEEKLY, at=0))
    await delivered(wiring, 2)
    report_mail = ReportMail(wiring)
    assert await report_mail.send_due() == 0
    monday = now.date() + dt.timedelta(days=7 - now.weekday())
    week = (monday - dt.timedelta(days=7)).isoformat(), (monday - dt.timedelta(days=1)).isoformat()
    hour = moment(dt.datetime.combine(monday, dt.time()), now.tzinfo)
    wiring.move_to(hour - 60 * 10**9)
    assert await report_mail.send_due() == 0
    wiring.move_to(hour + LATE)
    assert await report_mail.send_due() == 1
    assert await report_mail.send_due() == 0
    assert await ReportMail(wiring).send_due() == 0
    (mail,) = await mails(wiring)
    assert (mail["To"], mail["Auto-Submitted"]) == (BOSS, "auto-generated")
    assert mail["Subject"] == f"Outbound mail of {DOMAIN}, {week[0]} to {week[1]}"
    bodies, attached = mail.iter_parts()
    text, html = (part.get_content() for part in bodies.iter_parts())
    assert "Delivered: messages 2, recipients 2" in text
    assert "<h1" in html
    assert "<script" not in html
    found = list(csv.DictReader(io.StringIO(attached.get_payload(decode=True).decode("utf-8-sig"), newline="")))
    assert [(one["status"], one["reply"]) for one in found] == [("delivered", "'=250 2.0.0 ok")] * 2
    assert attached.get_filename() == f"{DOMAIN}-{week[0]}-{week[1]}.csv"


async def test_it_becomes_a_message_that_no_scanner_judges_and_nobody_is_told_of(make):
    (wiring,) = await make("2026-11-18T12:00+01:00", DAILY)
    wiring.move("2026-11-19T08:00+01:00")
    await ReportMail(wiring).send_due()
    janitor = Janitor(wiring)
    rows = await wiring.store.redis.xrange(keys.outbox(PARTITION))
    for _ in range(2):
        await janitor.send_bounces(
            [Entry(PARTITION, keys.outbox(PARTITION), row.decode(), fields, True) for row, fields in rows]
        )
    sent = [row.event for row in await wiring.events() if isinstance(row.event, ReportSent)]
    message = await wiring.head(sent[0].message)
    assert (message.sender, message.origin, message.domain) == ("", "report", "elsewhere.test")
    assert await wiring.kinds(sent[0].message) == ["Received"]


async def test_of_any_number_of_watchers_one_sends_it(make):
    found = await make("2026-11-18T12:00+01:00", WEEKLY, DAILY, others=3)
    found[0].move("2026-11-23T08:00+01:00")
    sent = await asyncio.gather(*(ReportMail(one, order=list).send_due() for one in found))
    assert sum(sent) == 2
    assert len(await mails(found[0])) == 2


async def test_a_watcher_that_dies_before_its_step_has_sent_nothing_and_another_does(make, monkeypatch):
    first, second = await make("2026-11-18T12:00+01:00", DAILY, others=1)
    first.move("2026-11-19T08:00+01:00")

    async def dies(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(first.log, "commit", dies)
    with pytest.raises(asyncio.CancelledError):
        await ReportMail(first).send_due()
    assert await mails(second) == []
    assert await ReportMail(second).send_due() == 1
    assert len(await mails(second)) == 1


@pytest.mark.parametrize("seed", range(10))
async def test_wherever_watchers_die_each_report_is_sent_once(make, seed):
    rng = random.Random(seed)
    found = await make("2026-11-18T12:00+01:00", DAILY, WEEKLY, others=2)
    for day in ("2026-11-22", "2026-11-23", "2026-11-24"):
        found[0].move(f"{day}T08:00+01:00")
        tasks = [asyncio.create_task(ReportMail(one).send_due()) for one in found]
        for task in tasks:
            for _ in range(rng.randrange(200)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await ReportMail(found[0]).send_due()
    sent = [row.event for row in await found[0].events() if isinstance(row.event, ReportSent)]
    assert sorted((event.schedule, event.end) for event in sent) == sorted(
        [("daily", at(f"2026-11-{day}T00:00+01:00")) for day in (22, 23, 24)]
        + [("weekly", at("2026-11-23T00:00+01:00"))]
    )
    rows = await found[0].store.redis.xrange(keys.outbox(PARTITION))
    assert sorted(fields[b"id"].decode() for _, fields in rows) == sorted(event.message for event in sent)


async def test_after_days_without_a_watcher_only_the_newest_is_sent(make):
    (wiring,) = await make("2026-11-01T12:00+01:00", DAILY)
    wiring.move("2026-11-20T12:00+01:00")
    assert await ReportMail(wiring).send_due() == 1
    (mail,) = await mails(wiring)
    assert mail["Subject"].endswith("2026-11-19")
    wiring.move("2026-11-21T07:01+01:00")
    assert await ReportMail(wiring).send_due() == 1


async def test_what_is_sent_by_hand_does_not_stand_for_what_is_due(make):
    (wiring,) = await make("2026-11-18T12:00+01:00", DAILY)
    report_mail = ReportMail(wiring)
    by_hand = [await report_mail.send_now(DOMAIN, DAILY, by="cli:anna") for _ in range(2)]
    wiring.move("2026-11-19T08:00+01:00")
    assert await report_mail.send_due() == 1
    events = [row.event for row in await wiring.events() if isinstance(row.event, ReportSent)]
    assert [event.by for event in events] == ["cli:anna", "cli:anna", ""]
    assert len({*by_hand, events[-1].message}) == 3
    assert {partition_of(event.message) for event in events} == {partition_of(by_hand[0])}


async def test_a_report_speaks_the_language_of_its_domain_and_text_alone_where_that_was_asked_for(make):
    plain = msgspec.structs.replace(DAILY, format="text", statuses=("failed",))
    (wiring,) = await make("2026-11-18T12:00+01:00", plain, language="de")
    wiring.move("2026-11-19T08:00+01:00")
    await delivered(wiring)
    await ReportMail(wiring).send_due()
    (mail,) = await mails(wiring)
    assert mail.get_content_type() == "text/plain"
    assert mail["Subject"] == f"Ausgehende Mail von {DOMAIN}, 2026-11-18"
    assert "In dieser Zeit wurde nichts versucht." in mail.get_content()
    assert "nur status: failed" in mail.get_content()


async def test_trouble_with_one_report_does_not_keep_the_others(make, monkeypatch):
    broken = msgspec.structs.replace(DAILY, name="broken")
    (wiring,) = await make("2026-11-18T12:00+01:00", broken, DAILY)
    wiring.move("2026-11-19T08:00+01:00")
    report_mail = ReportMail(wiring, order=list)
    real = report_mail._letter

    async def letter(name, schedule, due):
        if schedule.name == "broken":
            raise RuntimeError("x")
        return await real(name, schedule, due)

    monkeypatch.setattr(report_mail, "_letter", letter)
    assert await report_mail.send_due() == 1


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"every": "year"}, "every 'year'"),
        ({"format": "pdf"}, "no format 'pdf'"),
        ({"at": 1440}, "no such time of day"),
        ({"to": "nobody"}, "'nobody'"),
        ({"to": "postmaster"}, "'postmaster'"),
        ({"to": "a@[192.0.2.1]"}, "names no domain"),
        ({"name": ""}, "is no name"),
        ({"name": "a/b"}, "is no name"),
    ],
)
async def test_what_cannot_be_a_schedule_is_refused(make, changes, fault):
    (wiring,) = await make("2026-11-18T12:00+01:00")
    domain = Domain(name=DOMAIN, route=("x.test:25",), reports=(msgspec.structs.replace(DAILY, **changes),))
    with pytest.raises(ConfigurationError, match=fault):
        await wiring.directory.set_domain(domain, by="test", now=1)


async def test_names_are_different_there_are_not_too_many_and_an_alias_has_none(make):
    (wiring,) = await make("2026-11-18T12:00+01:00")
    many = tuple(msgspec.structs.replace(DAILY, name=f"x{number}") for number in range(21))
    for reports in ((DAILY, DAILY), many):
        with pytest.raises(ConfigurationError):
            await wiring.directory.set_domain(
                Domain(name=DOMAIN, route=("x.test:25",), reports=reports), by="test", now=1
            )
    with pytest.raises(RefusedError, match="alias"):
        await wiring.directory.set_domain(Domain(name="b.test", alias_of=DOMAIN, reports=(DAILY,)), by="test", now=1)


def test_a_large_file_is_packed_and_one_that_is_too_large_ends_with_a_whole_piece():
    rng = random.Random(1)
    pieces = ["".join(f"{rng.getrandbits(60)}\r\n" for _ in range(100)) for _ in range(100)]
    for largest, whole in ((1 << 20, True), (20_000, False)):
        rows = Rows(as_it_is=5_000, largest=largest)
        for piece in pieces:
            rows.put(piece)
            rows.told(100)
        attached = rows.attachment("x")
        assert (attached.name, attached.kind) == ("x.csv.gz", "application/gzip")
        assert gzip.decompress(attached.content).decode() == "".join(pieces[: rows.rows // 100])
        assert (rows.rows == 10_000) == whole
        assert rows.rows
        assert len(attached.content) <= largest + (64 << 10)
