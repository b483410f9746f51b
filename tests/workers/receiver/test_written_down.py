"""Which refusals are facts: mail that did not get in, and only that."""

from __future__ import annotations

import pytest

from pipeline.faults import StoreAwayError, StoreFullError
from pipeline.units import SECOND, Duration
from tests.support.receiver import receiver
from workers.receiver.refusals import MAX_TEXT

MAIL, USER = b"MAIL FROM:<A@b.example>", b"RCPT TO:<user@example.test>"
STRANGER = {"unlimited_networks": ()}


def kept(gate) -> list[tuple[str, str, str, str, str]]:
    return [(one.reason, one.stage, one.domain, one.sender, one.recipient) for one in gate.record.refused]


@pytest.mark.parametrize(
    ("commands", "facts"),
    [
        (
            [MAIL, b"RCPT TO:<Nobody@Example.test> NOTIFY=NEVER"],
            [("no_such_user", "rcpt", "example.test", "A@b.example", "Nobody@example.test")],
        ),
        ([MAIL, b"RCPT TO:<x@strange.example>"], [("relay_denied", "rcpt", "", "A@b.example", "x@strange.example")]),
        ([MAIL, b"RCPT TO:<x y@z>"], [("bad_recipient", "rcpt", "", "A@b.example", "<x y@z>")]),
        (
            [MAIL, "RCPT TO:<ü@example.test>".encode()],
            [("needs_smtputf8", "rcpt", "", "A@b.example", "ü@example.test")],
        ),
        ([b"MAIL FROM:<a..b@c>"], [("bad_sender", "mail", "", "<a..b@c>", "")]),
        ([MAIL + b" SIZE=99999999"], [("too_big", "mail", "", "A@b.example", "")]),
        ([MAIL + b" AUTH=<>"], [("unknown_parameter", "mail", "", "A@b.example", "")]),
        (
            [MAIL, USER, b"DATA", b"Subject: x\n.\r\n."],
            [("bare_newline", "data", "example.test", "A@b.example", "user@example.test")],
        ),
        (
            [MAIL, b"RCPT TO:<no@example.test>", USER, b"RCPT TO:<no@strange.example>"],
            [
                ("no_such_user", "rcpt", "example.test", "A@b.example", "no@example.test"),
                ("relay_denied", "rcpt", "", "A@b.example", "no@strange.example"),
            ],
        ),
    ],
)
async def test_what_turned_mail_away_is_written_down_with_what_was_asked(gate, commands, facts):
    client = await gate.client()
    for command in commands:
        await client.ask(command)
    assert kept(gate) == facts
    (first, *_) = gate.record.refused
    assert first.client == first.client.__class__(
        address="127.0.0.1", port=first.client.port, helo="client.example", protocol="ESMTP"
    )
    assert first.client.port
    assert first.at


async def test_the_words_that_the_client_heard_are_kept(gate):
    client = await gate.client()
    await client.ask(MAIL)
    heard = await client.ask(b"RCPT TO:<x@strange.example>")
    (fact,) = gate.record.refused
    assert heard == f"{fact.code} {fact.enhanced} {fact.reply}"


@pytest.mark.parametrize(
    "commands",
    [
        [b"junk", b"EHLO a b", b"MAIL FROM:a", b"RCPT TO:<user@example.test>", b"DATA", b"EXPN x", b"RSET x", b"", b"X" * 5000],
        [MAIL, MAIL, b"RCPT TO:user", b"DATA", b"RCPT TO:<user@example.test> NOTIFY=X", b"AUTH PLAIN"],
        [MAIL, USER, b"QUIT"],
        [MAIL, USER, b"POST / HTTP/1.1"],
    ],
)  # fmt: skip
async def test_commands_that_no_mail_server_sends_are_no_facts(gate, commands):
    client = await gate.client()
    for command in commands:
        await client.ask(command)
    assert kept(gate) == []


async def test_what_follows_from_another_refusal_is_no_fact_of_its_own(gate):
    client = await gate.client()
    client.send(MAIL + b"\r\nRCPT TO:<no@example.test>\r\nDATA\r\n")
    await client.expect("250", "550", "554 5.5.1")
    assert [one.reason for one in gate.record.refused] == ["no_such_user"]


async def test_a_loop_is_written_down_for_each_recipient_and_its_domains_are_seen_to(gate):
    ours = b"Received: from x by mx.example.test with ESMTP id 1\r\n\tfor <user@example.test>; now\r\n"
    client = await gate.client()
    reply = await client.deliver(ours * 3 + b"\r\nx", b"<>", b"<user@example.test>", b"<other@example.test>")
    assert reply == "554 5.4.6 Mail loop: this message was here three times for the same recipient"
    assert kept(gate) == [
        ("mail_loop", "data", "example.test", "", "user@example.test"),
        ("mail_loop", "data", "example.test", "", "other@example.test"),
    ]
    assert gate.record.loops == [("example.test", "127.0.0.1", "user@example.test")]
    assert (await client.deliver(ours * 2 + b"\r\nx")).startswith("250")


async def test_a_way_that_is_too_long_concerns_a_domain_only_when_it_led_by_way_of_us(gate):
    others = b"Received: from x by other.example with ESMTP id 1; now\r\n"
    ours = b"Received: from x by mx.example.test with ESMTP id 1\r\n\tfor <user@example.test>; now\r\n"
    client = await gate.client()
    assert (await client.deliver(others * 50 + b"\r\nx")).startswith("250")
    assert await client.deliver(others * 51 + b"\r\nx") == "554 5.4.6 Mail loop: too many Received lines"
    assert gate.record.loops == []
    assert (await client.deliver(ours + others * 50 + b"\r\nx")).startswith("554 5.4.6")
    assert gate.record.loops == [("example.test", "127.0.0.1", "user@example.test")]
    assert gate.record.reasons == ["hops_exceeded"] * 2
    assert len(gate.intake.accepted) == 1


@pytest.mark.parametrize(
    ("fault", "reason"), [(StoreFullError("full"), "store_full"), (StoreAwayError("away"), "trouble")]
)
async def test_our_own_trouble_is_a_fact_too(gate, fault, reason):
    gate.intake.fault = fault
    client = await gate.client()
    await client.deliver(b"x", b"<a@b.example>", b"<user@example.test>", b"<user@second.test>")
    assert kept(gate) == [
        (reason, "data", "example.test", "a@b.example", "user@example.test"),
        (reason, "data", "second.test", "a@b.example", "user@second.test"),
    ]


async def test_a_body_that_has_no_room_is_refused_for_those_it_was_for(gate):
    gate.drafts.refuse = StoreFullError("full")
    client = await gate.client()
    await client.ask(MAIL)
    await client.ask(USER)
    assert (await client.ask(b"DATA")).startswith("452 4.3.1")
    assert kept(gate) == [("store_full", "data", "example.test", "A@b.example", "user@example.test")]


async def test_a_client_that_may_not_come_in_is_a_fact_of_the_connection(tmp_path):
    async with receiver(tmp_path, client_connections=1, client_connection_rate=0, **STRANGER) as gate:
        await gate.client()
        second = await gate.connect()
        await second.expect("421 4.7.0")
        assert kept(gate) == [("too_many_connections", "connect", "", "", "")]
        assert gate.record.refused[0].client.address == "127.0.0.1"


async def test_more_connections_than_a_receiver_has_are_facts(tmp_path):
    async with receiver(tmp_path, max_sessions=1) as gate:
        await gate.client()
        await (await gate.connect()).expect("421 4.7.0 Too many sessions")
        assert kept(gate) == [("too_many_sessions", "connect", "", "", "")]


async def test_who_speaks_before_the_greeting_is_a_fact(tmp_path):
    async with receiver(tmp_path, greeting_delay=Duration(5 * SECOND), **STRANGER) as gate:
        client = await gate.connect()
        client.send(b"EHLO early.example\r\n")
        await client.expect("554 5.5.1")
        assert kept(gate) == [("spoke_early", "connect", "", "", "")]


async def test_the_end_of_a_session_is_a_fact_when_it_had_mail_to_send(tmp_path):
    async with receiver(tmp_path, session_unknown=2, session_messages=2, **STRANGER) as gate:
        client = await gate.client()
        await client.ask(MAIL)
        await client.ask(USER)
        await client.ask(b"RCPT TO:<no@example.test>")
        assert (await client.ask(b"RCPT TO:<nono@example.test>")).startswith("421")
        assert kept(gate) == [
            ("no_such_user", "rcpt", "example.test", "A@b.example", "no@example.test"),
            ("no_such_user", "rcpt", "example.test", "A@b.example", "nono@example.test"),
            ("enough_unknown", "rcpt", "example.test", "A@b.example", "user@example.test"),
        ]
        gate.record.refused.clear()
        client = await gate.client()
        for _ in range(2):
            await client.ask(MAIL)
            await client.ask(b"RSET")
        assert (await client.ask(b"MAIL FROM:<last@b.example>")).startswith("421")
        assert kept(gate) == [("enough_messages", "mail", "", "last@b.example", "")]


async def test_a_process_that_ends_turns_away_only_what_is_under_way(gate):
    idle, busy = await gate.client(), await gate.client()
    await busy.ask(MAIL)
    await busy.ask(USER)
    await gate.server.close(grace=0.01)
    await idle.expect("421")
    assert kept(gate) == [("shutting_down", "rcpt", "example.test", "A@b.example", "user@example.test")]


async def test_hostile_text_is_kept_short(gate):
    client = await gate.client()
    await client.ask(MAIL)
    await client.ask(b"RCPT TO:<" + b"x" * 1500)
    (fact,) = gate.record.refused
    assert len(fact.recipient) <= MAX_TEXT + 3
