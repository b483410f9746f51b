"""Real mail through real processes: what each kind of message becomes, in the events and at its destination."""

from __future__ import annotations

import base64
import email
import smtplib

import pytest

from pipeline.events import Deferred, Delivered, Failed, Quarantined, Refused, RouteDeferred, RouteOpened, Undeliverable
from tests.support.servers import missing, smtp_source, swaks, wait_until

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
PLAIN = (
    b"From: Sender <sender@elsewhere.test>\r\nTo: anna\r\nSubject: lunch\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@elsewhere.test>\r\n\r\nAt noon?\r\n"
)


def virus(to: str) -> bytes:
    attached = base64.encodebytes(EICAR).replace(b"\n", b"\r\n")
    return (
        b"From: sender@elsewhere.test\r\nTo: " + to.encode() + b"\r\nSubject: invoice\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee attached\r\n'
        b'--b\r\nContent-Type: application/octet-stream; name="a.bin"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        + attached + b"\r\n--b--\r\n"
    )  # fmt: skip


def test_a_clean_message_arrives_once_and_unchanged_below_one_received_line(running, server, domain):
    message_id = running.send(PLAIN, f"anna@{domain}")
    (arrived,) = server.wait(1)
    assert arrived.original == PLAIN
    assert arrived.content.startswith(b"Received: from sender.test ([127.0.0.1])\r\n\tby gateway.test with ESMTP")
    assert (arrived.sender, arrived.recipients, arrived.id) == (
        "sender@elsewhere.test",
        (f"anna@{domain}",),
        message_id,
    )
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
    last = running.message_events()[message_id][-1]
    assert isinstance(last, Delivered)
    assert (last.attempt.server, last.attempt.code, last.attempt.reply) == (server.route, 250, "250 2.0.0 taken")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no header at all\r\n",
        b"Subject: 8 bit \xe4\xf6\xfc\r\nX: \xff\xfe\r\n\r\nb\xf6dy\r\n",
        b"Subject: long lines\r\n\r\n" + b"x" * 100_000 + b"\r\n",
        b"Subject: dots\r\n\r\n.\r\n..\r\n.dot\r\n\r\n.\r\n",
        b"Subject: no end of line",
        b"X: y\r\n" * 10_000 + b"\r\nmany headers\r\n",
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(1000)),
        b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n----\r\n",
        b"Content-Type: text/plain; charset=zlib_codec\r\nSubject: =?idna?q?x?= =?rot13?b?!!!?=\r\n\r\nx\r\n",
    ],
    ids=["empty", "no header", "8 bit", "long lines", "dots", "no last crlf", "10,000 headers", "1,000 nested", "odd boundary", "charsets"],
)  # fmt: skip
def test_malformed_mail_is_mail_and_arrives_as_it_was(running, server, domain, content):
    message_id = running.send(content, f"anna@{domain}")
    wait_until(lambda: running.kinds(message_id)[-1] in ("Delivered", "Quarantined"), what="a decision")
    if running.kinds(message_id)[-1] == "Quarantined":  # what cannot be looked through is kept back, not lost
        running.cli("quarantine", "release", message_id)
    (arrived,) = server.wait(1)
    expected = content if content.endswith(b"\r\n") else content + b"\r\n"
    assert arrived.original == (expected if content else b"\r\n")


def events_of(running, domain):
    """What happened to mail for a domain."""
    return [
        one.event
        for one in running.events()
        if getattr(one.event, "domain", "") == domain and hasattr(one.event, "client")
    ]


@pytest.mark.parametrize("content", [b"a\0b\r\n", b"bare\nnewline\r\n", b"bare\rreturn\r\n"])
def test_what_could_end_a_message_elsewhere_is_refused_and_leaves_only_that_as_an_event(
    running, server, domain, content
):
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        running.send(b"Subject: x\r\n\r\n" + content, f"anna@{domain}")
    assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (550, b"5.6.0")
    events = wait_until(lambda: events_of(running, domain), what="the refusal")
    assert [(type(event), event.reason, event.recipient) for event in events] == [
        (Refused, "bare_newline", f"anna@{domain}")
    ]
    assert server.arrived == []


def test_a_virus_is_kept_shown_released_once_and_then_arrives(running, server, domain):
    content = virus(f"anna@{domain}")
    message_id = running.send(content, f"anna@{domain}")
    running.wait_kinds(message_id, "Received", "Scanned", "Quarantined")
    kept = running.message_events()[message_id][-1]
    assert isinstance(kept, Quarantined)
    (row,) = wait_until(lambda: running.json("quarantine", "list", "--domain", domain)["messages"], what="the list")
    assert row["id"] == message_id
    assert row["sender"] == "sender@elsewhere.test"
    raw = running.cli("quarantine", "show", message_id, "--raw").stdout
    assert raw.encode() == content.replace(b"\r\n", b"\n") or raw.encode() == content
    assert server.arrived == []
    assert running.cli("quarantine", "release", message_id, ok=False).returncode == 4
    running.cli("quarantine", "release", message_id, "--virus")
    running.cli("quarantine", "release", message_id, "--virus")
    (arrived,) = server.wait(1)
    assert arrived.original == content
    running.wait_kinds(message_id, "Received", "Scanned", "Quarantined", "Looked", "Released", "Delivered")


def test_a_deleted_message_is_gone_and_counted(running, domain):
    message_id = running.send(virus(f"anna@{domain}"), f"anna@{domain}")
    running.wait_kinds(message_id, "Received", "Scanned", "Quarantined")
    running.cli("quarantine", "delete", message_id, "--yes")
    assert running.kinds(message_id)[-1] == "Discarded"
    assert running.cli("quarantine", "show", message_id, ok=False).returncode != 0


@pytest.mark.parametrize(
    ("recipient", "code", "enhanced"), [("nobody@{}", 550, b"5.1.1"), ("anna@stranger.test", 550, b"5.7.1")]
)
def test_mail_for_others_is_refused_at_rcpt(running, domain, recipient, code, enhanced):
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        running.send(PLAIN, recipient.format(domain))
    assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (code, enhanced)


def test_postmaster_is_always_there(running, server, domain):
    running.send(PLAIN, f"PostMaster@{domain.upper()}")
    (arrived,) = server.wait(1)
    assert arrived.recipients[0].lower() == f"postmaster@{domain}"


def test_each_recipient_of_one_message_gets_their_own_outcome_and_the_sender_one_bounce(running, server, domain):
    senders = f"s.{domain}"
    running.add(server.route, f"boss@{senders}", domain=senders)
    server.refuse[f"ben@{domain}"] = "550 5.1.1 ben left\r\n us in May".replace("\r\n ", " ")
    message_id = running.send(PLAIN, f"anna@{domain}", f"ben@{domain}", sender=f"boss@{senders}")
    arrived = server.wait(2)
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered", "Failed")
    delivered, failed = running.message_events()[message_id][-2:]
    assert isinstance(failed, Failed)
    assert (delivered.recipients, failed.recipients) == ((f"anna@{domain}",), (f"ben@{domain}",))
    assert failed.attempt.reply == "550 5.1.1 ben left us in May"
    (bounce,) = [mail for mail in arrived if mail.recipients == (f"boss@{senders}",)]
    assert (bounce.sender, bounce.id) == ("", failed.bounce)
    report = email.message_from_bytes(bounce.content)
    assert report.get_content_type() == "multipart/report"
    assert "ben left us in May" in report.as_string()
    running.wait_kinds(failed.bounce, "Received", "Scanned", "Queued", "Delivered")


def test_a_bounce_from_elsewhere_that_cannot_be_delivered_is_kept_and_not_bounced(running, server, domain):
    server.refuse[f"ben@{domain}"] = "550 5.1.1 gone"
    message_id = running.send(PLAIN, f"ben@{domain}", sender="")
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Undeliverable")
    kept = running.message_events()[message_id][-1]
    assert isinstance(kept, Undeliverable)
    assert kept.unsent == "null sender"


def test_a_temporary_refusal_of_one_message_holds_up_only_that_one(running, server, domain):
    server.refuse[f"ben@{domain}"] = "451 4.7.1 greylisted, come back"
    waiting = running.send(PLAIN, f"ben@{domain}")
    wait_until(lambda: "Deferred" in running.kinds(waiting), what="a deferral")
    flowing = running.send(PLAIN, f"anna@{domain}")
    server.wait(1)
    running.wait_kinds(flowing, "Received", "Scanned", "Queued", "Delivered")
    del server.refuse[f"ben@{domain}"]
    server.wait(2)
    events = running.message_events()[waiting]
    wait_until(lambda: running.kinds(waiting)[-1] == "Delivered")
    deferred = next(event for event in events if isinstance(event, Deferred))
    assert deferred.attempt.reply == "451 4.7.1 greylisted, come back"
    assert deferred.next_try - deferred.at >= 1_000_000_000


def test_a_server_that_is_away_gets_one_connection_per_interval_and_everything_when_it_is_back(running, server, domain):
    server.stop()
    ids = [running.send(PLAIN, f"anna@{domain}") for _ in range(20)]

    def outages():
        return [r.event for r in running.events() if isinstance(r.event, RouteDeferred) and r.event.domain == domain]

    wait_until(lambda: len(outages()) >= 3, what="three deferrals")
    assert {tuple(running.kinds(message_id)) for message_id in ids} == {("Received", "Scanned", "Queued")}
    first, second = outages()[:2]
    assert first.attempts[0].stage == "connect"
    assert second.at >= first.next_try
    (row,) = [row for row in running.json("queue")["domains"] if row["domain"] == domain]
    assert row["messages"] == 20
    server.start()
    running.cli("queue", "retry", domain)
    server.wait(20)
    wait_until(lambda: all(running.kinds(message_id)[-1] == "Delivered" for message_id in ids))
    assert sorted(mail.id for mail in server.arrived) == sorted(ids)
    opened = [r.event for r in running.events() if isinstance(r.event, RouteOpened) and r.event.domain == domain]
    assert len(opened) == 1


def test_a_changed_route_moves_mail_that_is_waiting(running, server, domain):
    new_port, new_route = server.port, server.route
    running.cli("domain", "add", f"moved.{domain}", "--route", "127.0.0.1:9")
    running.cli("address", "add", f"anna@moved.{domain}")
    running.send(PLAIN, f"anna@moved.{domain}")
    wait_until(
        lambda: any(
            isinstance(r.event, RouteDeferred) and r.event.domain == f"moved.{domain}" for r in running.events()
        )
    )
    running.cli("domain", "set", f"moved.{domain}", "--route", new_route)
    (arrived,) = server.wait(1)
    assert arrived.recipients == (f"anna@moved.{domain}",)
    assert new_port == server.port


def test_a_transaction_for_two_domains_is_a_message_for_each(running, server, domain):
    other = f"other.{domain}"
    running.add(server.route, f"anna@{other}", domain=other)
    before = set(running.message_events())
    running.send(PLAIN, f"anna@{domain}", f"ben@{domain}", f"anna@{other}")
    arrived = server.wait(2)
    assert sorted(mail.recipients for mail in arrived) == [(f"anna@{domain}", f"ben@{domain}"), (f"anna@{other}",)]
    assert set(running.message_events()) - before == {mail.id for mail in arrived}


def test_a_large_message_arrives_byte_for_byte_and_leaves_no_file(running, server, domain):
    content = b"Subject: big\r\n\r\n" + b"".join(b"line %d of many\r\n.dot\r\n" % n for n in range(150_000))
    message_id = running.send(content, f"anna@{domain}")
    (arrived,) = server.wait(1)
    assert arrived.original == content
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
    wait_until(lambda: not list((running.data / "bodies").rglob(message_id)), what="the body's end")


def test_swaks_with_starttls_is_served(running, server, domain):
    done = swaks(
        running.port, "--to", f"anna@{domain}", "--from", "s@elsewhere.test", "--tls", "--header", "Subject: tls"
    )
    if "requires Net::SSLeay" in done.stderr:
        missing("Net::SSLeay, which swaks needs for TLS,")
    assert done.returncode == 0, done.stdout
    (arrived,) = server.wait(1)
    assert b" with ESMTPS\r\n" in arrived.content[:400]


def test_the_books_balance_and_every_view_can_be_rebuilt(running):
    def balanced():
        return running.cli("books", ok=False).returncode == 0

    wait_until(balanced, what="balanced books")
    running.cli("replay", "--all")


def test_postfix_tools_on_both_sides_lose_nothing(running, smtp_sink):
    running.add(smtp_sink.address, "anna@sink.example.test", domain="sink.example.test")
    options = ("-s", "10", "-m", "200", "-l", "3000", "-f", "s@elsewhere.test", "-t", "anna@sink.example.test")
    for mode in ((), ("-d",)):
        assert smtp_source(running.port, *options, *mode).returncode == 0
    arrived = smtp_sink.wait_messages(400)
    assert len(arrived) == 400
    assert {mail.recipients for mail in arrived} == {("anna@sink.example.test",)}
