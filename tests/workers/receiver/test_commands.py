"""Dialogues: what is answered to which command in which state."""

from __future__ import annotations

import pytest

from pipeline.brake import FREE, Brake
from pipeline.events import RecipientSpec
from pipeline.faults import StoreAwayError, StoreFullError
from tests.support.receiver import receiver

MESSAGE = b"Subject: hello\r\n\r\nbody\r\n"


async def test_ehlo_announces_what_we_can_do(gate):
    client = await gate.connect()
    assert await client.reply() == "220 mx.example.test ESMTP Gatepost"
    client.send(b"EHLO client.example\r\n")
    lines = await client.lines()
    assert lines[0] == "250-mx.example.test"
    assert {line[4:] for line in lines[1:]} == {
        "SIZE 35883008", "8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES", "DSN", "STARTTLS", "LIMITS RCPTMAX=1000", "HELP",
    }  # fmt: skip


async def test_helo_gets_one_line_and_makes_it_plain_smtp(gate):
    client = await gate.connect()
    await client.expect("220 ")
    assert await client.ask(b"HELO client.example") == "250 mx.example.test"
    await client.deliver(MESSAGE)
    assert gate.intake.last.client.protocol == "SMTP"


async def test_a_message_is_accepted_with_everything_the_envelope_said(gate):
    client = await gate.client(b"EHLO [192.0.2.7]")
    assert (
        await client.ask(b"mail from:<Sender@B.Example> size=100 body=8bitmime ret=hdrs envid=q1")
        == "250 2.1.0 Sender OK"
    )
    assert (
        await client.ask(b"rcpt to: <USER@EXAMPLE.TEST> notify=failure orcpt=rfc822;x@y.example")
        == "250 2.1.5 Recipient OK"
    )
    await client.ask(b"DATA")
    client.send(MESSAGE + b".\r\n")
    assert await client.reply() == "250 2.0.0 accepted as id-1-example.test"
    envelope, body = gate.intake.accepted[0]
    assert body == MESSAGE
    assert envelope.sender == "Sender@b.example"
    assert envelope.recipients == (
        RecipientSpec(address="USER@example.test", notify="FAILURE", orcpt="rfc822;x@y.example"),
    )
    assert (envelope.eight_bit, envelope.smtputf8, envelope.ret, envelope.envid) == (True, False, "HDRS", "q1")
    assert (envelope.client.address, envelope.client.helo, envelope.client.protocol, envelope.client.tls) == (
        "127.0.0.1", "[192.0.2.7]", "ESMTP", "",
    )  # fmt: skip
    assert envelope.client.port > 0


async def test_recipients_in_several_of_our_domains_get_an_id_each(gate):
    client = await gate.client()
    reply = await client.deliver(MESSAGE, b"<>", b"<user@example.test>", b"<user@second.test>", b"<x@all.test>")
    assert reply == "250 2.0.0 accepted as id-1-example.test, id-1-second.test, id-1-all.test"
    assert gate.intake.last.sender == ""


async def test_a_recipient_named_twice_is_accepted_and_kept_once(gate):
    client = await gate.client()
    await client.deliver(
        MESSAGE, b"<a@b.example>", b"<user@example.test>", b"<USER@Example.Test>", b'<"user"@example.test>', b"<other@example.test>"
    )  # fmt: skip
    assert [spec.address for spec in gate.intake.last.recipients] == ["user@example.test", "other@example.test"]


@pytest.mark.parametrize(
    ("recipient", "reply"),
    [
        (b"<nobody@example.test>", "550 5.1.1 "),
        (b"<user@elsewhere.example>", "550 5.7.1 "),
        (b"<user@sub.example.test>", "550 5.7.1 "),
        (b"<user@[127.0.0.1]>", "550 5.7.1 "),
        (b"<user%example.test@elsewhere.example>", "550 5.7.1 "),
        (b"<@example.test:user@elsewhere.example>", "550 5.7.1 "),
        (b"<@elsewhere.example:user@example.test>", "250 2.1.5 "),
        (b"<anybody@all.test>", "250 2.1.5 "),
        (b"<anybody@ALL.test>", "250 2.1.5 "),
        (b"<>", "501 5.1.3 "),
        (b"<user>", "501 5.1.3 "),
        (b"<user@>", "501 5.1.3 "),
        (b"<us er@example.test>", "501 5.1.3 "),
        (b"<user@example.test", "501 5.1.3 "),
        (b"user@example.test", "501 5.5.2 "),
        (b"", "501 5.5.2 "),
        (b"<user@example.test> NOTIFY=LATER", "501 5.5.4 "),
        (b"<user@example.test> FOO=BAR", "555 5.5.4 "),
        ("<üser@example.test>".encode(), "553 5.6.7 "),
        (b"<us\xffer@example.test>", "500 5.5.2 "),
    ],
)
async def test_only_listed_recipients_pass(gate, recipient, reply):
    client = await gate.client()
    await client.ask(b"MAIL FROM:<a@b.example>")
    assert (await client.ask(b"RCPT TO:" + recipient)).startswith(reply)


async def test_a_domain_added_a_moment_ago_is_found_in_the_store(gate):
    gate.directory.late["late.test"] = gate.directory.home("all.test")
    client = await gate.client()
    await client.ask(b"MAIL FROM:<>")
    assert (await client.ask(b"RCPT TO:<x@late.test>")).startswith("250")


@pytest.mark.parametrize(
    "recipient", [b"<postmaster>", b"<PostMaster>", b"<postmaster@example.test>", b"<POSTMASTER@Example.Test>"]
)
async def test_the_postmaster_is_always_accepted(gate, recipient):
    client = await gate.client()
    await client.deliver(MESSAGE, b"<>", recipient)
    address = gate.intake.last.recipients[0].address
    assert address.casefold() == "postmaster@example.test"
    assert address.endswith("@example.test")


async def test_without_any_domain_the_postmasters_mail_may_wait(gate):
    gate.directory._domains.clear()
    client = await gate.client()
    await client.ask(b"MAIL FROM:<>")
    assert (await client.ask(b"RCPT TO:<postmaster>")).startswith("451 4.3.0")


@pytest.mark.parametrize(
    ("sender", "reply"),
    [
        (b"<>", "250 2.1.0 "),
        (b" <a@b.example>", "250 2.1.0 "),
        (b"<a@[IPv6:2001:db8::1]>", "250 2.1.0 "),
        (b'<"a b"@c.example>', "250 2.1.0 "),
        (b"<a b@c.example>", "501 5.1.7 "),
        (b"<a@b.example>>", "501 5.1.7 "),
        (b"<<>>", "501 5.1.7 "),
        (b"<a>", "501 5.1.7 "),
        (b"a@b.example", "501 5.5.2 "),
        (b"", "501 5.5.2 "),
        (b"<a@b.example> SIZE=35883008", "250 2.1.0 "),
        (b"<a@b.example> SIZE=35883009", "552 5.3.4 "),
        (b"<a@b.example> SIZE=many", "501 5.5.4 "),
        (b"<a@b.example> BODY=BINARYMIME", "501 5.5.4 "),
        (b"<a@b.example> AUTH=<>", "555 5.5.4 "),
        ("<ä@b.example>".encode(), "553 5.6.7 "),
        ("<a@bücher.example>".encode(), "553 5.6.7 "),
        ("<ä@bücher.example> SMTPUTF8".encode(), "250 2.1.0 "),
    ],
)
async def test_senders(gate, sender, reply):
    client = await gate.client()
    assert (await client.ask(b"MAIL FROM:" + sender)).startswith(reply)


async def test_smtputf8_mail_is_recorded_as_such(gate):
    client = await gate.client()
    await client.ask("MAIL FROM:<ä@bücher.example> SMTPUTF8 BODY=8BITMIME".encode())
    await client.ask("RCPT TO:<δ@all.test>".encode())
    await client.ask(b"DATA")
    content = "Subject: Übung\r\n\r\nŸ\r\n".encode()
    client.send(content + b".\r\n")
    await client.expect("250 ")
    assert gate.intake.last.smtputf8
    assert gate.intake.last.sender == "ä@xn--bcher-kva.example"
    assert gate.intake.last.client.protocol == "UTF8SMTP"
    assert gate.intake.last.recipients[0].address == "δ@all.test"
    assert gate.intake.bodies == [content]
    await client.deliver(MESSAGE)
    assert gate.intake.last.client.protocol == "ESMTP"


async def test_commands_out_of_order_get_503_and_change_nothing(gate):
    client = await gate.connect()
    await client.expect("220 ")
    assert await client.ask(b"MAIL FROM:<a@b.example>") == "503 5.5.1 Send HELO or EHLO first"
    assert await client.ask(b"RCPT TO:<user@example.test>") == "503 5.5.1 Send MAIL first"
    assert await client.ask(b"DATA") == "503 5.5.1 Send MAIL first"
    client.send(b"EHLO x\r\n")
    await client.expect("250 ")
    assert await client.ask(b"RCPT TO:<user@example.test>") == "503 5.5.1 Send MAIL first"
    await client.ask(b"MAIL FROM:<>")
    assert await client.ask(b"MAIL FROM:<a@b.example>") == "503 5.5.1 Sender already given"
    assert await client.ask(b"DATA") == "503 5.5.1 Send RCPT first"
    await client.ask(b"RCPT TO:<nobody@example.test>")
    assert await client.ask(b"DATA") == "554 5.5.1 No valid recipients"


@pytest.mark.parametrize("reset", [b"RSET", b"EHLO again", b"HELO again"])
async def test_rset_and_a_new_greeting_forget_the_transaction(gate, reset):
    client = await gate.client()
    await client.ask(b"MAIL FROM:<a@b.example>")
    await client.ask(b"RCPT TO:<user@example.test>")
    assert (await client.ask(reset)).startswith("250 ")
    assert (await client.ask(b"DATA")).startswith("503 5.5.1 Send MAIL first")
    assert (await client.ask(b"MAIL FROM:<a@b.example>")).startswith("250 ")


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"NOOP", "250 2.0.0 OK"),
        (b"noop whatever", "250 2.0.0 OK"),
        (b"RSET", "250 2.0.0 OK"),
        (b"VRFY user", "252 2.0.0 Cannot verify; send the message and see"),
        (b"HELP", "214 2.0.0 HELO EHLO STARTTLS MAIL RCPT DATA RSET NOOP VRFY HELP QUIT"),
        (b"EXPN staff", "502 5.5.1 Command not implemented"),
        (b"AUTH PLAIN AGEAYg==", "502 5.5.1 Command not implemented"),
        (b"BDAT 10 LAST", "502 5.5.1 Command not implemented"),
        (b"FOO \x1b[31m", "500 5.5.2 Command not recognised"),
        (b"", "500 5.5.2 Command not recognised"),
        (b" NOOP", "500 5.5.2 Command not recognised"),
        (b"\xff\xfe", "500 5.5.2 Command not recognised"),
        (b"NO\0OP", "500 5.5.2 Syntax error"),
        (b"NOOP\rRSET", "500 5.5.2 Syntax error"),
        (b"RSET now", "501 5.5.4 No argument allowed"),
        (b"QUIT now", "501 5.5.4 No argument allowed"),
        (b"DATA now", "501 5.5.4 No argument allowed"),
        (b"STARTTLS now", "501 5.5.4 No argument allowed"),
        (b"EHLO", "501 5.5.4 Syntax: HELO or EHLO, and a host name or address literal"),
        (b"HELO a b", "501 5.5.4 Syntax: HELO or EHLO, and a host name or address literal"),
        (b"EHLO \xc3\xa4", "501 5.5.4 Syntax: HELO or EHLO, and a host name or address literal"),
        (b"EHLO " + b"x" * 256, "501 5.5.4 Syntax: HELO or EHLO, and a host name or address literal"),
        (b"MAIL", "501 5.5.2 Syntax: MAIL FROM:<address>"),
        (b"MAIL TO:<a@b.example>", "501 5.5.2 Syntax: MAIL FROM:<address>"),
        (b"NOOP " + b"x" * 2041, "250 2.0.0 OK"),
        (b"NOOP " + b"x" * 2042, "500 5.5.2 Command line too long"),
        (b"NOOP " + b"x" * 300_000, "500 5.5.2 Command line too long"),
    ],
)
async def test_single_commands(gate, line, reply):
    client = await gate.client()
    assert await client.ask(line) == reply
    assert await client.ask(b"NOOP") == "250 2.0.0 OK"


async def test_a_command_must_end_with_crlf(gate):
    client = await gate.client()
    client.send(b"NOOP\n")
    assert await client.reply() == "500 5.5.2 Lines must end with CR LF"


async def test_quit_closes_the_connection(gate):
    client = await gate.client()
    assert await client.ask(b"QUIT") == "221 2.0.0 Bye"
    assert await client.closed()


async def test_recipients_above_the_limit_get_452_and_the_others_their_mail(tmp_path):
    async with receiver(tmp_path, max_recipients=100) as gate:
        client = await gate.client()
        client.send(b"MAIL FROM:<>\r\n" + b"".join(b"RCPT TO:<u%d@all.test>\r\n" % n for n in range(101)))
        await client.expect("250", *["250 2.1.5"] * 100, "452 4.5.3")
        assert (await client.ask(b"RCPT TO:<u7@all.test>")).startswith("250 2.1.5")
        client.send(b"DATA\r\n" + MESSAGE + b".\r\n")
        await client.expect("354", "250 2.0.0")
        assert len(gate.intake.last.recipients) == 100


async def test_without_room_mail_is_put_off_before_it_is_sent(gate):
    gate.pressure.reason = "disk"
    client = await gate.client()
    assert await client.ask(b"MAIL FROM:<a@b.example>") == "452 4.3.1 Out of storage, try again later"
    assert (await client.ask(b"RCPT TO:<user@example.test>")).startswith("503")
    gate.pressure.reason = None
    assert (await client.deliver(MESSAGE)).startswith("250")


async def test_with_too_much_to_do_mail_is_taken_later_and_later_and_then_put_off(gate):
    client = await gate.client()
    gate.pressure.brake = Brake(delay=0.01, reason="much")
    assert (await client.deliver(MESSAGE)).startswith("250")
    gate.pressure.brake = Brake(delay=0.01, closed=True, reason="more")
    assert (
        await client.ask(b"MAIL FROM:<a@b.example>") == "452 4.3.1 More mail than can be handled now, try again later"
    )
    gate.pressure.brake = FREE
    assert (await client.deliver(MESSAGE)).startswith("250")


@pytest.mark.parametrize(
    ("fault", "reply"),
    [
        (StoreFullError("full"), "452 4.3.1 Out of storage, try again later"),
        (StoreAwayError("away"), "451 4.3.0 Temporary trouble here, try again later"),
        (RuntimeError("secret \x1b[31m"), "451 4.3.0 Temporary trouble here, try again later"),
    ],
)
async def test_what_fails_in_the_intake_is_temporary_and_the_session_goes_on(gate, fault, reply):
    gate.intake.fault = fault
    client = await gate.client()
    assert await client.deliver(MESSAGE) == reply
    gate.intake.fault = None
    assert (await client.deliver(MESSAGE)).startswith("250")


async def test_a_directory_that_is_away_is_temporary_only_for_whom_it_is_needed(gate):
    gate.directory.away = StoreAwayError("away")
    client = await gate.client()
    await client.ask(b"MAIL FROM:<a@b.example>")
    assert (await client.ask(b"RCPT TO:<user@example.test>")).startswith("451 4.3.0")
    assert (await client.ask(b"RCPT TO:<postmaster@example.test>")).startswith("250 2.1.5")


async def test_a_draft_that_cannot_be_made_is_temporary(gate):
    gate.drafts.refuse = StoreFullError("full")
    client = await gate.client()
    await client.ask(b"MAIL FROM:<a@b.example>")
    await client.ask(b"RCPT TO:<user@example.test>")
    assert (await client.ask(b"DATA")).startswith("452 4.3.1")
    assert (await client.ask(b"DATA")).startswith("503")


async def test_the_unforeseen_is_logged_without_control_characters(gate, capsys):
    gate.intake.fault = RuntimeError("secret \x1b[31m\n\u202e")
    client = await gate.client()
    await client.deliver(MESSAGE)
    logged = capsys.readouterr().out
    assert "RuntimeError" in logged
    assert "\\x1b[31m\\n\\u202e" in logged.replace("\\\\", "\\")
    assert "\u202e" not in logged


async def test_a_message_that_went_round_in_circles_is_refused(gate):
    client = await gate.client()
    assert (await client.deliver(b"Received: x\r\n" * 50 + b"\r\n")).startswith("250")
    assert (await client.deliver(b"Received: x\r\n" * 51 + b"\r\n")).startswith("554 5.4.6")
    assert (await client.deliver(b"\r\n" + b"Received: x\r\n" * 51)).startswith("250")
    assert len(gate.intake.accepted) == 2
