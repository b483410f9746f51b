"""The test message says what it is, to people and to programs."""

from __future__ import annotations

from email import message_from_bytes, policy

from pipeline.probing.message import compose, subject
from tests.pipeline.probing.support import NOW, plan

MARKED = plan(send="ab12cd")


def test_the_message_is_marked_and_nobody_answers_it():
    raw = compose(MARKED, NOW)
    message = message_from_bytes(raw, policy=policy.default)
    assert not message.defects
    assert message["Subject"] == subject(MARKED) == "Gatepost delivery test ab12cd"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Gatepost-Test"] == "ab12cd"
    assert message["To"] == "anna@example.test"
    assert message["Message-ID"] == "<gatepost-test.ab12cd@gateway.example>"
    assert message["Date"].datetime.timestamp() == NOW // 1_000_000_000
    assert "ab12cd" in message.get_content()


def test_the_message_needs_no_care_on_the_wire():
    raw = compose(MARKED, NOW)
    lines = raw.split(b"\r\n")
    assert raw.isascii()
    assert raw.endswith(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or line.startswith(b".") or len(line) > 78 for line in lines)
