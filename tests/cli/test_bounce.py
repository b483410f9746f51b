"""What a sender would be told, shown before anybody is."""

from __future__ import annotations

import email

import pytest

from pipeline import keys
from pipeline.events import Deferred, Delivered, Queued, Scanned, Undeliverable
from pipeline.ids import partition_for
from tests.cli.conftest import ANNA, BUSY, DOMAIN, SECOND, SENDER, Shop

LIST = b"List-Id: <x.elsewhere.test>\r\nSubject: hello\r\n\r\nHello\r\n"


def waiting(shop: Shop, **received: object) -> str:
    """A message that was told to come again."""
    shop.add("anna")
    message_id = shop.receive(ANNA, **received)  # type: ignore[arg-type]
    shop.append(
        message_id,
        lambda common: Scanned(**common, verdict="clean", score=0.0, subject="hello"),
        lambda common: Queued(**common, recipients=(ANNA,)),
        lambda common: Deferred(
            **common,
            recipients=(ANNA,),
            sender=SENDER,
            size=1,
            tries=1,
            attempt=BUSY,
            next_try=common["at"] + 900 * SECOND,
        ),
    )
    return message_id


def test_the_bounce_of_a_waiting_message_is_shown_and_nothing_is_sent(shop: Shop):
    message_id = waiting(shop)
    before = shop.run("trace", message_id, "--json").json["events"]
    shown = shop.run("bounce", "preview", message_id)
    assert shown.code == 0
    assert f"to        {SENDER}" in shown.out
    assert "Subject   Undelivered mail: returned to sender" in shown.out
    assert "450-4.2.1 The mailbox is busy," in shown.out
    assert "Final-Recipient: rfc822; anna@example.test" in shown.out
    assert "Action: failed" in shown.out
    assert "Last-Attempt-Date: " in shown.out
    assert "\x1b" not in shown.out
    assert shop.run("trace", message_id, "--json").json["events"] == before

    async def outbox(wiring):
        return await wiring.store.redis.xlen(keys.outbox(partition_for(DOMAIN, wiring.store.partitions)))

    assert shop.do(outbox) == 0


def test_the_same_for_scripts_and_as_bytes(shop: Shop):
    message_id = waiting(shop)
    form = shop.run("bounce", "preview", message_id, "--json").json
    assert (form["sent"], form["to"], form["unsent"], form["language"]) == (True, SENDER, {}, "en")
    assert "Status: 4.4.7" in form["status"]
    report = email.message_from_string(form["raw"])
    assert report["To"] == f"<{SENDER}>"
    assert report.get_content_type() == "multipart/report"
    assert report["Auto-Submitted"] == "auto-replied"


@pytest.mark.parametrize(
    ("received", "why"),
    [({"content": LIST}, "message is from a list"), ({"sender": ""}, "null sender")],
    ids=["list", "null sender"],
)
def test_where_there_would_be_none_it_says_why(shop: Shop, received, why):
    message_id = waiting(shop, **received)
    shown = shop.run("bounce", "preview", message_id)
    assert shown.code == 0
    assert f"no bounce for {ANNA}: {why}" in shown.out
    assert "It would be kept in quarantine as undeliverable" in shown.out
    assert shop.run("bounce", "preview", message_id, "--json").json["unsent"] == {ANNA: why}
    raw = shop.run("bounce", "preview", message_id, "--raw")
    assert raw.code == 4
    assert why in raw.err


def test_of_what_is_kept_as_undeliverable_it_says_why_nobody_was_told(shop: Shop):
    message_id = waiting(shop, content=LIST)
    shop.append(
        message_id,
        lambda common: Undeliverable(
            **common, recipients=(ANNA,), sender=SENDER, size=1, tries=2, reason="refused", attempt=BUSY,
            unsent="message is from a list", expires=common["at"] + 30 * 86400 * SECOND,
        ),
    )  # fmt: skip
    assert f"no bounce for {ANNA}: message is from a list" in shop.run("bounce", "preview", message_id).out
    shop.fold()
    assert [
        row["id"] for row in shop.run("quarantine", "list", "--reason", "undeliverable", "--json").json["messages"]
    ] == [message_id]
    shown = shop.run("quarantine", "show", message_id).out
    assert f"could not be delivered to {ANNA}, no bounce: message is from a list" in shown
    assert "│ 450-4.2.1 The mailbox is busy," in shown


def test_a_message_that_does_not_wait_has_no_bounce(shop: Shop):
    message_id = waiting(shop)
    shop.append(
        message_id,
        lambda common: Delivered(**common, recipients=(ANNA,), sender=SENDER, size=1, tries=2, attempt=BUSY),
    )
    assert shop.run("bounce", "preview", message_id).code == 4
    assert shop.run("bounce", "preview", "1m84j2kvgs81rzzvz06y07").code == 3
