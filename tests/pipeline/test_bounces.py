"""What is put into the outbox for a sender: the report, and the first event of the message that it becomes."""

from __future__ import annotations

import email

import pytest
from msgspec.structs import replace

from pipeline import bounces, decide
from pipeline.events import Failed, Received, decode
from pipeline.outcome import Kind, Outcome
from pipeline.state import Message, Recipient, Stage
from tests.support.examples import ANNA, AT, ATTEMPT, BEN, SECOND, message_in

NOW = AT + 60 * SECOND
CONTENT = b"Subject: x\r\n\r\nhello\r\n"


def refused(message: Message, **changes: object) -> tuple[Received, bytes]:
    """Its first event and its bytes, when the message is refused now."""
    events = decide.answered(
        message,
        {one.address: Outcome(kind=Kind.REFUSED, attempt=replace(ATTEMPT, code=550)) for one in message.recipients},
        now=NOW, next_try=NOW, unsent=bounces.unsent(message, CONTENT), partition_of_sender=5, retention=SECOND,
    )  # fmt: skip
    (effect,) = bounces.promise(message, events, CONTENT, hostname="gw.test", now=NOW, lifetime=SECOND, **changes)
    fields = dict(zip(effect[3::2], effect[4::2], strict=True))
    assert isinstance(events[0], Failed)
    assert fields["id"] == events[0].bounce
    event = decode(fields["e"])
    assert isinstance(event, Received)
    return event, fields["b"]


@pytest.mark.parametrize(
    ("sender", "asked_utf8", "needs"),
    [("boss@senders.test", False, False), ("boss@senders.test", True, False), ("jürgen@senders.test", True, True)],
)
def test_a_report_needs_smtputf8_only_for_an_address_that_is_not_ascii(sender, asked_utf8, needs):
    message = replace(message_in(Stage.QUEUED), sender=sender, smtputf8=asked_utf8, eight_bit=asked_utf8)
    event, body = refused(message)
    assert (event.smtputf8, event.eight_bit, body.isascii()) == (needs, needs, not needs)
    assert (event.sender, event.recipients[0].address, event.domain) == ("", sender, "senders.test")
    assert (event.origin, event.cause, event.size, event.expires) == ("bounce", message.id, len(body), NOW + SECOND)


def status(body: bytes) -> list[email.message.Message]:
    return email.message_from_bytes(body).get_payload()[1].get_payload()[1:]


def test_a_refusal_was_said_now():
    _, body = refused(message_in(Stage.QUEUED, ANNA, BEN))
    assert [one["Last-Attempt-Date"] for one in status(body)] == ["Wed, 18 Nov 2026 11:07:40 +0000"] * 2


@pytest.mark.parametrize(
    ("route", "tried", "said"),
    [(None, 0, AT + 3 * SECOND), (ATTEMPT, AT + 5 * SECOND, AT + 5 * SECOND)],
    ids=["its own try", "its route's"],
)
def test_what_was_given_up_says_when_it_was_tried_last(route, tried, said):
    recipient = Recipient(address=ANNA, stage=Stage.QUEUED, tries=2, last=ATTEMPT, tried_at=AT + 3 * SECOND)
    message = replace(message_in(Stage.QUEUED), recipients=(recipient,), expires=NOW)
    events = decide.expired(message, now=NOW, route=route, unsent=lambda _: "", partition_of_sender=5, retention=SECOND)
    body = bounces.written(message, events, CONTENT, hostname="gw.test", now=NOW, tried=tried)
    (found,) = status(body)
    assert email.utils.parsedate_to_datetime(found["Last-Attempt-Date"]).timestamp() == said // SECOND
    assert found["Status"] == "4.4.7"


def test_the_header_is_looked_at_once_however_many_recipients_are_asked_about():
    class Content(bytes):
        looks = 0

        def find(self, *where: object) -> int:
            Content.looks += 1
            return super().find(*where)

    why = bounces.unsent(replace(message_in(Stage.QUEUED, ANNA, BEN), verdict="clean"), Content(CONTENT))
    assert [why(Recipient(address=str(n), stage=Stage.QUEUED)) for n in range(100)] == [""] * 100
    assert Content.looks == 1
