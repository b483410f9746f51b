"""Hostile sessions with a whole gateway: what is in the log, at the customer's server, on a terminal and in the program's own log."""

from __future__ import annotations

import contextlib
import email
import re
import smtplib
from collections.abc import Iterator

import pytest

from pipeline.events import Received
from tests.support.hostile import SMUGGLED
from tests.support.servers import wait_until

PLAIN = b"From: a@b.test\r\nSubject: proper\r\n\r\nhello\r\n"
HELOS = [
    "[bold]x[/bold]", "a)(b;c,d<e>@f", '"quoted;dkim=pass"', "\\", "=?utf-8?q?=0A?=", "[link=http://evil.example]x", "%s${jndi:x}", "x" * 255,
]  # fmt: skip


@contextlib.contextmanager
def speaking(running, helo: str = "sender.test") -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
        assert client.ehlo(helo)[0] == 250
        yield client


def say(client: smtplib.SMTP, data: bytes, replies: int) -> list[str]:
    """Octets as they are, and what is answered: code and enhanced code."""
    client.send(data)
    found = []
    for _ in range(replies):
        code, text = client.getreply()
        found.append(f"{code} {text.split(b' ')[0].decode()}" if code != 354 else "354")
    return found


def deliver(client: smtplib.SMTP, recipient: str, content: bytes, sender: str = "") -> str:
    """The id that the gateway gave."""
    say(client, f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode(), 3)
    client.send(content + b".\r\n")
    code, reply = client.getreply()
    assert code == 250, reply
    return re.search(rb"[0-9a-z]{22}", reply)[0].decode()


def test_of_probes_and_smuggled_mail_there_is_no_message_in_the_log_and_none_at_the_customer_s_server(
    running, server, domain
):
    before = set(running.message_events())
    d = domain.encode()
    probes = [
        b"<user@strange.test>", b"<anna%strange.test@" + d + b">", b'<"anna@strange.test"@' + d + b">", b"<@" + d + b":user@strange.test>",
        b"<anna%" + d + b"@strange.test>", b"<" + d + b"!anna@strange.test>", b"<anna@" + d + b".>", b"<anna@" + d + b"@strange.test>",
        b"<anna@[127.0.0.1]>", b"<anna@gateway.test>",
    ]  # fmt: skip
    with speaking(running) as client:
        said = say(
            client, b"MAIL FROM:<>\r\n" + b"".join(b"RCPT TO:" + probe + b"\r\n" for probe in probes) + b"DATA\r\n", 12
        )
        assert said == [
            "250 2.1.0", "550 5.7.1", "550 5.1.1", "550 5.1.1", "550 5.7.1", "550 5.7.1", "550 5.7.1", "501 5.1.3", "501 5.1.3", "550 5.7.1",
            "550 5.7.1", "554 5.5.1",
        ]  # fmt: skip
        envelope = b"RSET\r\nMAIL FROM:<s@elsewhere.test>\r\nRCPT TO:<anna@" + d + b">\r\nDATA\r\n"
        smuggled = SMUGGLED.replace(b"other@example.test", b"ben@" + d)
        for almost in (b"\n.\n", b"\n.\r\n", b"\r\n.\r", b"\r\n\0.\r\n"):
            said = say(client, envelope + PLAIN + b"x" + almost + smuggled + b".\r\nNOOP\r\n", 6)
            assert said == ["250 2.0.0", "250 2.1.0", "250 2.1.5", "354", "550 5.6.0", "250 2.0.0"]
        message_id = deliver(client, f"anna@{domain}", PLAIN, "s@elsewhere.test")
    (arrived,) = server.wait(1)
    assert (arrived.id, arrived.sender, arrived.recipients) == (message_id, "s@elsewhere.test", (f"anna@{domain}",))
    assert set(running.message_events()) - before == {message_id}


def test_a_greeting_of_any_letters_stays_within_its_place_wherever_it_is_shown(running, server, domain):
    ids = []
    for helo in HELOS:
        with speaking(running, helo) as client:
            ids.append(deliver(client, f"anna@{domain}", PLAIN))
    arrived = {mail.id: mail for mail in server.wait(len(HELOS))}
    events = running.message_events()
    for helo, message_id in zip(HELOS, ids, strict=True):
        received = events[message_id][0]
        assert isinstance(received, Received)
        assert received.client.helo == helo
        seen = email.message_from_bytes(arrived[message_id].content)
        assert seen.keys() == ["Received", "Authentication-Results", "From", "Subject"]
        shown = re.sub(r"[^A-Za-z0-9._:\[\]-]", "?", helo)
        trace = re.sub(r"\s+", " ", seen["Received"])
        assert trace.startswith(
            f"from {shown} ([127.0.0.1]) by gateway.test with ESMTP id {message_id} for <anna@{domain}>; "
        )
        assert trace.count(";") == 1
        results = re.sub(r"\s+", " ", seen["Authentication-Results"])
        # Nothing of the greeting is outside its value: one result for each method that we know.
        assert re.findall(r"; ([a-z]+)=", re.sub(r'"[^"]*"', "", results)) == ["iprev", "spf", "dkim", "dmarc"]
        assert "dkim=none" in results

    told = running.cli("trace", ids[0]).stdout
    assert "by ESMTP from [bold]x[/bold] [127.0.0.1]" in told
    assert told.replace("\n", "").isprintable()
    assert running.json("trace", ids[1])["client"]["helo"] == HELOS[1]


def test_what_a_greeting_is_refused_for_is_said_to_nobody(running, domain):
    with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
        for argument in (b"a\x1b[31mb", b"a\x07b", b"x" * 300, "a\u202eb".encode(), b"a b", b"a\x9bb", b"\xff"):
            (said,) = say(client, b"EHLO " + argument + b"\r\n", 1)
            assert said in ("501 5.5.4", "500 5.5.2")
        assert say(client, b"MAIL FROM:<>\r\n", 1) == ["503 5.5.1"]
    assert running.process.output().replace("\n", "").isprintable()


@pytest.mark.parametrize("space", [b" ", b"\t"])
def test_no_claim_is_added_to_our_results_by_a_message_that_begins_as_if_it_continued_them(
    running, server, domain, space
):
    content = space + b"; dkim=pass header.d=bank.example; dmarc=pass header.from=bank.example\r\n" + PLAIN
    with speaking(running) as client:
        message_id = deliver(client, f"anna@{domain}", content, "s@elsewhere.test")
    wait_until(lambda: running.kinds(message_id)[-1] in ("Delivered", "Quarantined"), what="a decision")
    assert running.kinds(message_id)[-1] == "Delivered"
    (arrived,) = server.wait(1)
    assert arrived.content.endswith(content)
    seen = email.message_from_bytes(arrived.content)
    assert seen.keys() == ["Received", "Authentication-Results", "X-Gatepost-Stray", "From", "Subject"]
    assert "bank.example" not in seen["Authentication-Results"]
