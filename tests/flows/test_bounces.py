"""What senders are told, and what is kept for the postmaster instead, with a whole gateway."""

from __future__ import annotations

import email
import smtplib
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from pipeline.events import Failed, Undeliverable, Warned
from tests.support.customer import Customer, customer
from tests.support.gateway import Gateway, gateway
from tests.support.servers import wait_until

MAIL = (
    b"From: Boss <boss@senders.test>\r\nTo: ben\r\nSubject: lunch\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@senders.test>\r\n\r\nAt noon?\r\n"
)
LIST_MAIL = (
    b"From: friends@lists.test\r\nTo: friends@lists.test\r\nSubject: meeting\r\nList-Id: <friends.lists.test>\r\n"
    b"Message-ID: <1@lists.test>\r\n\r\nOn Monday?\r\n"
)
RECORDS = {("forged.test", "TXT"): ['"v=spf1 -all"']}
BOSS = "boss@senders.test"


@pytest.fixture(scope="module")
def running() -> Iterator[Gateway]:
    with gateway(
        RECORDS, retry_interval="1s", queue_lifetime="12s", delay_warning_after="2s", keep_connection="500ms"
    ) as started:
        yield started


@pytest.fixture(scope="module")
def home(running: Gateway) -> Iterator[Customer]:
    """The senders' own server: their domain is one of ours, so that what they are told arrives here."""
    with customer() as started:
        running.add(started.route, BOSS, domain="senders.test")
        yield started


def told(home: Customer, running: Gateway, message_id: str) -> list[email.message.Message]:
    """The reports that arrived about a message, in order."""
    ids = {
        one.subject
        for one in running.events()
        if type(one.event).__name__ == "Received" and one.event.cause == message_id
    }
    return [email.message_from_bytes(one.content) for one in home.arrived if one.id in ids and one.sender == ""]


def fields(report: email.message.Message, group: int = 1) -> dict[str, str]:
    return {name: " ".join(value.split()) for name, value in report.get_payload()[1].get_payload()[group].items()}


def send_asking(running: Gateway, notify: str, recipient: str) -> str:
    with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
        client.ehlo("sender.test")
        assert client.has_extn("dsn")
        client.mail(BOSS, ["ENVID=QQ314159", "RET=FULL"])
        code, reply = client.rcpt(recipient, [f"NOTIFY={notify}", f"ORCPT=rfc822;{recipient}"])
        assert code == 250, reply
        code, reply = client.data(MAIL)
        assert code == 250, reply
        return next(word for word in reply.decode().split() if len(word) == 22)


def kept_of(running, domain):
    return running.json("quarantine", "list", "--reason", "undeliverable", "--domain", domain)["messages"]


def test_a_refusal_comes_back_to_its_sender_in_the_language_of_their_domain(running, home, server, domain):
    server.refuse[f"ben@{domain}"] = "550 5.1.1 <ben>: Recipient address rejected: User unknown"
    running.cli("domain", "set", "senders.test", "--language", "de")
    message_id = send_asking(running, "FAILURE", f"ben@{domain}")
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Failed")
    (report,) = wait_until(lambda: told(home, running, message_id), what="the bounce")
    assert report.defects == []
    assert report.get_content_type() == "multipart/report"
    assert (report["To"], report["Auto-Submitted"], report["In-Reply-To"]) == (
        f"<{BOSS}>", "auto-replied", "<1@senders.test>",
    )  # fmt: skip
    text, _, header = report.get_payload()
    said = " ".join(text.get_payload(decode=True).decode("utf-8").split())
    assert "Ihre Nachricht konnte dem Empfänger unten nicht zugestellt werden" in said
    assert "550 5.1.1 <ben>: Recipient address rejected: User unknown" in said
    assert "Das heißt: Diesen Empfänger gibt es nicht." in said
    assert fields(report, 0)["Original-Envelope-Id"] == "QQ314159"
    found = fields(report)
    last = found.pop("Last-Attempt-Date")
    assert found == {
        "Original-Recipient": f"rfc822; ben@{domain}",
        "Final-Recipient": f"rfc822; ben@{domain}",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; 127.0.0.1",
        "Diagnostic-Code": "smtp; 550 5.1.1 <ben>: Recipient address rejected: User unknown",
    }
    failed = running.message_events()[message_id][-1]
    assert isinstance(failed, Failed)
    assert parsedate_to_datetime(last).timestamp() == failed.at // 10**9
    assert header.get_content_type() == "text/rfc822-headers"
    assert b"Subject: lunch" in header.get_payload(decode=True)
    assert "At noon?" not in report.as_string()
    running.wait_kinds(failed.bounce, "Received", "Scanned", "Queued", "Delivered")


def test_who_asked_is_told_once_of_a_delay_and_then_that_it_was_given_up(running, home, server, domain):
    server.stop()
    message_id = send_asking(running, "DELAY,FAILURE", f"ben@{domain}")
    quiet = running.send(MAIL, f"anna@{domain}", sender=BOSS)
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Warned", "Failed", within=40)
    running.wait_kinds(quiet, "Received", "Scanned", "Queued", "Failed", within=40)
    warned, failed = running.message_events()[message_id][-2:]
    assert isinstance(warned, Warned)
    assert isinstance(failed, Failed)
    assert failed.reason == "expired"
    wait_until(lambda: len(told(home, running, message_id)) == 2, what="the warning and the bounce")
    warning, bounce = told(home, running, message_id)
    assert [fields(one)["Action"] for one in (warning, bounce)] == ["delayed", "failed"]
    assert [fields(one)["Status"] for one in (warning, bounce)] == ["4.4.1", "4.4.7"]
    until = parsedate_to_datetime(fields(warning)["Will-Retry-Until"]).timestamp()
    assert until == warned.until // 10**9
    assert "Will-Retry-Until" not in fields(bounce)
    assert fields(bounce)["Diagnostic-Code"].startswith("x-gatepost; ")
    wait_until(lambda: len(told(home, running, quiet)) == 1, what="the other bounce")
    assert [fields(one)["Action"] for one in told(home, running, quiet)] == ["failed"]


def test_a_forged_sender_is_not_told_and_the_message_is_kept(running, server, domain):
    server.refuse[f"ben@{domain}"] = "550 5.1.1 gone"
    message_id = running.send(MAIL, f"ben@{domain}", sender="victim@forged.test")
    wait_until(lambda: running.kinds(message_id)[-1] in ("Undeliverable", "Failed", "Quarantined"), what="its end")
    last = running.message_events()[message_id][-1]
    assert isinstance(last, Undeliverable)
    assert last.unsent == "sender failed authentication (SPF fail)"
    wait_until(lambda: [row["id"] for row in kept_of(running, domain)] == [message_id], what="the list")


def test_refused_list_mail_is_kept_shown_and_arrives_when_it_is_released(running, server, domain):
    server.refuse[f"ben@{domain}"] = "550 5.7.1 lists are not welcome"
    message_id = running.send(LIST_MAIL, f"anna@{domain}", f"ben@{domain}", sender="friends@lists.test")
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered", "Undeliverable")
    last = running.message_events()[message_id][-1]
    assert isinstance(last, Undeliverable)
    assert (last.recipients, last.unsent) == ((f"ben@{domain}",), "message is from a list")

    (row,) = wait_until(lambda: kept_of(running, domain), what="the list")
    assert (row["id"], row["quarantined"], row["kept_as"]) == (message_id, [f"ben@{domain}"], ["undeliverable"])
    assert running.json("quarantine", "list", "--reason", "spam", "--domain", domain)["messages"] == []
    shown = running.cli("quarantine", "show", message_id).stdout
    assert "no bounce: message is from a list" in shown
    assert "lists are not welcome" in shown
    traced = running.cli("trace", message_id).stdout
    assert "undelivered" in traced
    assert "kept for the postmaster" in traced
    wait_until(lambda: running.json("failures", domain)["failures"], what="the failure")
    (failure,) = running.json("failures", domain)["failures"]
    assert (failure["state"], failure["next"], failure["unsent"]) == ("undeliverable", "kept", "message is from a list")

    def books():
        (row,) = running.json("books", domain, ok=False)["domains"]
        return {name: row[name] for name in ("received", "delivered", "failed", "quarantined", "odd") if row[name]}

    wait_until(lambda: books() == {"received": 2, "delivered": 1, "quarantined": 1}, what="the books")
    assert [one.recipients for one in server.arrived] == [(f"anna@{domain}",)]

    del server.refuse[f"ben@{domain}"]
    running.cli("quarantine", "release", message_id)
    arrived = server.wait(2)
    assert (arrived[1].recipients, arrived[1].original) == ((f"ben@{domain}",), LIST_MAIL)
    wait_until(lambda: books() == {"received": 2, "delivered": 2}, what="the books")
    wait_until(lambda: kept_of(running, domain) == [], what="the list")


def test_undeliverable_mail_that_is_deleted_is_gone(running, server, domain):
    server.refuse[f"ben@{domain}"] = "550 5.1.1 gone"
    message_id = running.send(LIST_MAIL, f"ben@{domain}", sender="friends@lists.test")
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Undeliverable")
    running.cli("quarantine", "delete", message_id, "--yes")
    assert running.kinds(message_id)[-1] == "Discarded"
    wait_until(lambda: kept_of(running, domain) == [], what="the list")


def test_every_view_can_be_rebuilt_with_all_of_it(running):
    running.cli("replay", "--all")
