"""What time does to messages, and tidying up."""

from __future__ import annotations

import email

import pytest

from pipeline import keys
from pipeline.directory import Domain
from pipeline.events import (
    Discarded,
    Failed,
    Quarantined,
    RouteDeferred,
    Scanned,
    Undeliverable,
)
from pipeline.faults import CorruptError
from pipeline.steps import MS, Route, message_step, route_deferred_step
from pipeline.unsent import TOO_MANY
from tests.support.examples import ATTEMPT, DOMAIN
from tests.workers.conftest import PARTITION
from workers.consume import Entry
from workers.janitor import Janitor

DAY = 86400
ROUTE = ("mx.example.test:25",)
BODY = b"From: boss@senders.test\r\nSubject: x\r\n\r\nhello\r\n"


async def keep(wiring, message_id):
    """Into the quarantine."""
    message = await wiring.head(message_id)
    now = wiring.clock()
    expires = now + int(wiring.settings.quarantine_retention)
    events = (
        Scanned(at=now, domain=DOMAIN, verdict="spam", score=9.0),
        Quarantined(
            at=now,
            domain=DOMAIN,
            recipients=message.addresses(*{r.stage for r in message.recipients}),
            reason="spam",
            expires=expires,
        ),
    )
    await wiring.log.commit(message_step(message, events, now=now)[0])


async def test_after_seven_days_a_message_is_returned_and_before_it_is_not(parts):
    wiring = await parts()
    janitor = Janitor(wiring)
    message_id = await wiring.queued(BODY, sender="boss@senders.test")
    wiring.forward(7 * DAY - 10)
    assert await janitor.expire() == 0
    wiring.forward(11)
    assert await janitor.expire() == 1
    last = (await wiring.events(message_id))[-1].event
    assert isinstance(last, Failed)
    assert last.reason == "expired"
    ((_, fields),) = await wiring.store.redis.xrange(keys.outbox(PARTITION))
    assert fields[b"id"].decode() == last.bounce
    assert await wiring.head(message_id) is None
    assert await wiring.store.redis.zcard(keys.queue(PARTITION, DOMAIN)) == 0


async def test_what_nobody_is_to_be_told_of_is_kept_for_the_postmaster_and_then_discarded(parts):
    wiring = await parts()
    janitor = Janitor(wiring)
    message_id = await wiring.queued(BODY, sender="")
    wiring.forward(7 * DAY + 1)
    assert await janitor.expire() == 1
    last = (await wiring.events(message_id))[-1].event
    assert isinstance(last, Undeliverable)
    assert (last.reason, last.unsent) == ("expired", "null sender")
    assert await wiring.store.redis.xlen(keys.outbox(PARTITION)) == 0
    assert await wiring.store.redis.zcard(keys.queue(PARTITION, DOMAIN)) == 0
    assert await wiring.store.redis.zrange(keys.kept(PARTITION), 0, -1) == [message_id.encode()]
    assert await janitor.cool() == 1
    assert await wiring.bodies.get(message_id) == BODY
    wiring.forward(29 * DAY)
    assert await janitor.expire() == 0
    wiring.forward(DAY)
    assert await janitor.expire() == 1
    assert await wiring.kinds(message_id) == ["Received", "Scanned", "Queued", "Undeliverable", "Discarded"]
    await wiring.bodies.close()  # files go behind the step that ends their message
    with pytest.raises(CorruptError):
        await wiring.bodies.get(message_id)


async def test_a_message_in_a_deliverers_hands_is_not_ended_under_it(parts):
    wiring = await parts()
    await wiring.queued(BODY)
    wiring.forward(8 * DAY)
    now = wiring.clock()
    claimed = await wiring.schedule.claim(PARTITION, DOMAIN, "token", now=now, retry_at=now + 1, more=False)
    assert len(claimed.work) == 1
    assert await Janitor(wiring).expire() == 0
    wiring.forward(120)
    assert await Janitor(wiring).expire() == 1


async def test_after_thirty_days_quarantined_mail_is_discarded(parts):
    wiring = await parts()
    message_id = await wiring.accept()
    await keep(wiring, message_id)
    wiring.forward(29 * DAY)
    assert await Janitor(wiring).expire() == 0
    wiring.forward(2 * DAY)
    assert await Janitor(wiring).expire() == 1
    last = (await wiring.events(message_id))[-1].event
    assert isinstance(last, Discarded)
    assert last.reason == "retention"
    with pytest.raises(CorruptError):
        await wiring.bodies.get(message_id)


async def test_one_sender_gets_no_more_than_so_many_reports_in_an_hour_and_the_rest_is_kept(parts):
    wiring = await parts(bounces_per_address=3)
    janitor = Janitor(wiring)
    ids = [await wiring.queued(BODY, sender="victim@senders.test") for _ in range(10)]
    other = await wiring.queued(BODY, sender="other@senders.test")
    wiring.forward(7 * DAY + 1)
    assert await janitor.expire() == 11
    ends = [(await wiring.events(name))[-1].event for name in (*ids, other)]
    assert sorted(type(end).__name__ for end in ends[:10]) == ["Failed"] * 3 + ["Undeliverable"] * 7
    assert isinstance(ends[10], Failed)
    assert {end.unsent for end in ends if isinstance(end, Undeliverable)} == {TOO_MANY}
    assert len(await outbox(wiring)) == 4


@pytest.mark.parametrize(
    ("ours", "senders", "said"),
    [("", "", "en"), ("de", "", "de"), ("de", "en", "en"), ("en", "de", "de"), ("", "de", "de")],
)
async def test_a_report_is_in_the_language_of_the_senders_domain_if_that_is_ours_else_of_the_recipients(
    parts, ours, senders, said
):
    wiring = await parts()
    await wiring.directory.set_domain(Domain(name=DOMAIN, route=ROUTE, language=ours), by="test", now=1)
    if senders:
        await wiring.directory.set_domain(Domain(name="senders.test", route=ROUTE, language=senders), by="test", now=1)
    await wiring.directory.refresh()
    await wiring.queued(BODY, sender="boss@senders.test")
    wiring.forward(7 * DAY + 1)
    assert await Janitor(wiring).expire() == 1
    (entry,) = await outbox(wiring)
    assert email.message_from_bytes(entry.fields[b"b"]).get_payload()[0]["Content-Language"] == said


async def outbox(wiring):
    rows = await wiring.store.redis.xrange(keys.outbox(PARTITION))
    return [Entry(PARTITION, keys.outbox(PARTITION), entry.decode(), fields) for entry, fields in rows]


async def test_a_promised_bounce_becomes_one_message_however_often_it_is_tried(parts):
    wiring = await parts()
    janitor = Janitor(wiring)
    await wiring.store.redis.xgroup_create(keys.outbox(PARTITION), keys.JANITORS, id="0", mkstream=True)
    await wiring.queued(BODY, sender=f"anna@{DOMAIN}")
    wiring.forward(8 * DAY)
    await janitor.expire()
    (entry,) = await outbox(wiring)
    bounce = entry.fields[b"id"].decode()
    again = Entry(entry.partition, entry.stream, entry.id, entry.fields, again=True)
    assert await janitor.send_bounces([entry]) == {}
    assert await janitor.send_bounces([again]) == {}
    assert await wiring.kinds(bounce) == ["Received"]
    assert await outbox(wiring) == []
    assert b"hello" not in await wiring.bodies.get(bounce)
    message = await wiring.head(bounce)
    assert (message.sender, message.origin) == ("", "bounce")


async def test_a_bounce_that_cannot_be_read_is_a_failure_of_its_own_and_not_of_the_others(parts):
    wiring = await parts()
    bad = Entry(PARTITION, keys.outbox(PARTITION), "1-1", {b"id": b"x", b"e": b"\xc1", b"b": b""})
    assert list(await Janitor(wiring).send_bounces([bad])) == ["1-1"]


async def test_bodies_that_have_to_wait_leave_redis_and_can_still_be_read(parts):
    wiring = await parts()
    janitor = Janitor(wiring)
    waiting = [await wiring.queued(BODY) for _ in range(70)]
    flowing = await wiring.accept(BODY)
    assert await janitor.cool() == 0
    now = wiring.clock()
    claimed = await wiring.schedule.claim(PARTITION, DOMAIN, "token", now=now, retry_at=now + 900 * 10**9, more=False)
    assert await janitor.cool() == 0  # somebody is trying for the first time
    away = RouteDeferred(at=now, domain=DOMAIN, tries=1, since=now, next_try=now + 900 * 10**9, attempts=(ATTEMPT,))
    held = [work.id for work in claimed.work]
    await wiring.log.commit(route_deferred_step(PARTITION, Route(), away, "token", held))
    assert await janitor.cool() == 70
    assert await janitor.cool() == 0
    kept = await wiring.accept(BODY)
    await keep(wiring, kept)
    assert await janitor.cool() == 1
    for message_id in (*waiting, kept):
        assert await wiring.store.redis.exists(keys.body(PARTITION, message_id)) == 0
        assert await wiring.bodies.get(message_id) == BODY
    assert await wiring.store.redis.exists(keys.body(PARTITION, flowing)) == 1


async def test_the_damaged_head_of_an_old_message_is_left_for_an_operator(parts):
    wiring = await parts()
    message_id = await wiring.queued(BODY)
    await wiring.store.redis.hset(keys.head(PARTITION, message_id), "m", b"\xc1")
    wiring.forward(8 * DAY)
    assert await Janitor(wiring).expire() == 0
    assert await wiring.store.redis.zscore(keys.expiry(PARTITION), message_id) > wiring.clock() // MS
