"""Senders who asked are told once that their mail still waits."""

from __future__ import annotations

import email

import pytest

from pipeline import keys
from pipeline.events import Attempt, Delivered, RouteDeferred, Warned
from pipeline.state import Stage
from pipeline.steps import Route, message_step, route_deferred_step
from pipeline.trace import date
from tests.support.examples import ATTEMPT, DOMAIN
from tests.workers.conftest import PARTITION
from workers.delays import Delays

DAY = 86400
BODY = b"From: boss@senders.test\r\nSubject: x\r\n\r\nhello\r\n"
AWAY = Attempt(server="mx.example.test:25", stage="connect", enhanced="4.4.1", reply="Connection refused")
HOUR = 3600


async def route_away(wiring):
    """No server of the domain can be used, and nobody tries a message of it."""
    now = wiring.clock()
    claimed = await wiring.schedule.claim(PARTITION, DOMAIN, "token", now=now, retry_at=now + 900 * 10**9, more=False)
    event = RouteDeferred(at=now, domain=DOMAIN, tries=1, since=now, next_try=now + 900 * 10**9, attempts=(AWAY,))
    held = [work.id for work in claimed.work]
    await wiring.log.commit(route_deferred_step(PARTITION, Route(), event, "token", held))
    return now


async def test_who_asked_is_told_once_that_a_message_waits_although_it_was_never_tried_by_itself(parts):
    wiring = await parts()
    delays = Delays(wiring)
    message_id = await wiring.queued(BODY, sender="boss@senders.test", notify="FAILURE,DELAY")
    tried = await route_away(wiring)
    wiring.forward(4 * HOUR - 10)
    assert await delays.warn() == 0
    wiring.forward(11)
    assert await delays.warn() == 1
    warned = (await wiring.events(message_id))[-1].event
    assert isinstance(warned, Warned)
    head = await wiring.head(message_id)
    assert (warned.recipients, warned.attempt, warned.until) == ((f"anna@{DOMAIN}",), AWAY, head.expires)
    ((_, fields),) = await wiring.store.redis.xrange(keys.outbox(PARTITION))
    assert fields[b"id"].decode() == warned.warning
    status = email.message_from_bytes(fields[b"b"]).get_payload()[1].get_payload()[1]
    assert {name: status[name] for name in ("Action", "Status", "Last-Attempt-Date", "Will-Retry-Until")} == {
        "Action": "delayed", "Status": "4.4.1", "Last-Attempt-Date": date(tried), "Will-Retry-Until": date(head.expires),
    }  # fmt: skip
    wiring.forward(DAY)
    assert await delays.warn() == 0
    assert await wiring.store.redis.exists(keys.warn(PARTITION)) == 0
    assert head.addresses(Stage.QUEUED) == (f"anna@{DOMAIN}",)
    assert await wiring.store.redis.zcard(keys.queue(PARTITION, DOMAIN)) == 1


@pytest.mark.parametrize(
    ("mode", "notify", "sender", "body", "told"),
    [
        ("asked", "DELAY", "boss@senders.test", BODY, True),
        ("asked", "", "boss@senders.test", BODY, False),
        ("always", "", "boss@senders.test", BODY, True),
        ("always", "FAILURE", "boss@senders.test", BODY, False),
        ("always", "NEVER", "boss@senders.test", BODY, False),
        ("never", "DELAY", "boss@senders.test", BODY, False),
        ("asked", "DELAY", "", BODY, False),
        ("asked", "DELAY", "boss@senders.test", b"List-Id: <x.senders.test>\r\n" + BODY, False),
        ("always", "", "boss@senders.test", b"Auto-Submitted: auto-generated\r\n" + BODY, False),
    ],
)
async def test_a_delay_is_told_to_who_asked_or_to_all_as_the_setting_says_and_never_to_a_machine(
    parts, mode, notify, sender, body, told
):
    wiring = await parts(delay_warnings=mode)
    message_id = await wiring.queued(body, sender=sender, notify=notify)
    wiring.forward(5 * HOUR)
    assert await Delays(wiring).warn() == told
    assert (await wiring.kinds(message_id))[-1] == ("Warned" if told else "Queued")
    assert await wiring.store.redis.exists(keys.warn(PARTITION)) == 0


async def test_mail_of_which_nobody_wants_to_be_told_is_in_no_schedule_and_what_has_left_neither(parts):
    wiring = await parts()
    await wiring.queued(BODY)
    assert await wiring.store.redis.exists(keys.warn(PARTITION)) == 0
    message_id = await wiring.queued(BODY, notify="DELAY")
    assert await wiring.store.redis.zcard(keys.warn(PARTITION)) == 1
    message = await wiring.head(message_id)
    gone = Delivered(
        at=1, domain=DOMAIN, recipients=message.addresses(Stage.QUEUED), sender="", size=1, tries=1, attempt=ATTEMPT
    )
    await wiring.log.commit(message_step(message, (gone,), now=wiring.clock())[0])
    assert await wiring.store.redis.exists(keys.warn(PARTITION)) == 0


async def test_many_messages_behind_one_server_that_is_away_are_each_told_of_once(parts):
    wiring = await parts()
    ids = [await wiring.queued(BODY, sender=f"s{n}@senders.test", notify="DELAY") for n in range(50)]
    wiring.forward(5 * HOUR)
    assert await Delays(wiring).warn() == 50
    assert await Delays(wiring).warn() == 0
    assert {tuple(await wiring.kinds(name)) for name in ids} == {("Received", "Scanned", "Queued", "Warned")}
    assert len({fields[b"id"] for _, fields in await wiring.store.redis.xrange(keys.outbox(PARTITION))}) == 50


async def test_who_was_told_enough_of_delays_is_told_of_the_next_one_later(parts):
    wiring = await parts(bounces_per_address=2)
    delays = Delays(wiring)
    for _ in range(3):
        await wiring.queued(BODY, sender="boss@senders.test", notify="DELAY")
    wiring.forward(4 * HOUR + 1)
    assert await delays.warn() == 2
    assert await delays.warn() == 0
    assert await wiring.store.redis.zcard(keys.warn(PARTITION)) == 1
    wiring.forward(HOUR + 1)
    assert await delays.warn() == 1
