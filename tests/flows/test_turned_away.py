"""Through a whole gateway: mail that does not get in leaves a trace, and mail that goes round stops."""

from __future__ import annotations

import asyncio
import itertools
import smtplib
from collections.abc import Callable, Iterator

import pytest

from pipeline.events import Received, Refused
from tests.support.customer import Arrived, Customer, customer
from tests.support.gateway import ANNA, DOMAIN, Gateway, gateway, send_on
from tests.support.servers import wait_until

MESSAGE = b"From: a@elsewhere.test\r\nSubject: hello\r\n\r\nbody\r\n"
GREY = "greylisting"
RECORDS = {
    ("bad.test", "TXT"): ['"v=spf1 -all"'],
    ("1.0.0.127.in-addr.arpa", "PTR"): ["mail.client.test."],
    ("mail.client.test", "A"): ["127.0.0.1"],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Customer]:
    with customer() as started:
        yield started


@pytest.fixture(scope="module")
def running(server: Customer) -> Iterator[Gateway]:
    with gateway(RECORDS, unlimited_networks="", greylist_delay="1s", retry_interval="1s") as started:
        started.add(server.route)
        yield started


def refusals(running: Gateway, *words: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = running.json("refused", *words)["refusals"]
    return found


def test_a_message_that_never_got_in_is_found_by_its_recipient_and_its_trace_says_why(running):
    with pytest.raises(smtplib.SMTPResponseException):
        running.send(MESSAGE, f"Nobody@{DOMAIN}", sender="maria@sender.test")
    (one,) = wait_until(lambda: refusals(running, DOMAIN, "--recipient", "nobody"), what="the refusal")
    assert (one["reason"], one["stage"], one["code"], one["sender"]) == (
        "no_such_user", "rcpt", 550, "maria@sender.test",
    )  # fmt: skip
    shown = running.cli("trace", str(one["id"])).stdout
    assert "550 5.1.1 No such mailbox here" in shown
    assert f"Nobody@{DOMAIN}" in shown
    assert "127.0.0.1" in shown
    tried = running.json("address", "tried", DOMAIN)
    assert "nobody" in str(tried).lower()


def test_a_relay_attempt_belongs_to_no_domain(running):
    with pytest.raises(smtplib.SMTPResponseException):
        running.send(MESSAGE, "x@strange.test", sender="probe@sender.test")
    wait_until(lambda: refusals(running, "--sender", "probe@sender.test"), what="the refusal")
    assert [one["domain"] for one in refusals(running, "--sender", "probe@sender.test")] == [""]
    assert not refusals(running, DOMAIN, "--sender", "probe@sender.test")


def first(sender: str, attempt: Callable[[str], str]) -> str:
    """The sender, when it was put off."""
    return "" if attempt(sender) else sender


def test_a_suspicious_client_waits_once_and_both_are_shown(running):
    running.cli("domain", "set", DOMAIN, "--greylist")
    try:
        with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
            client.ehlo("mail.client.test")
            assert send_on(client, MESSAGE, ANNA, sender="good@nospf.test"), "not suspicious"

            def attempt(sender: str) -> str:
                try:
                    return send_on(client, MESSAGE, ANNA, sender=sender)
                except smtplib.SMTPResponseException as refused:
                    if refused.smtp_code != 451:
                        raise
                    return ""

            numbers = itertools.count()
            # Receivers learn within a second what was set.
            sender = wait_until(lambda: first(f"a{next(numbers)}@bad.test", attempt), what="the first refusal")
            message_id = wait_until(lambda: attempt(sender), what="the end of the wait")
            assert send_on(client, MESSAGE, ANNA, sender="b@bad.test"), "nobody waits twice"
    finally:
        running.cli("domain", "set", DOMAIN, "--no-greylist")
    found = wait_until(lambda: refusals(running, "--reason", "greylisted"), what="the refusals")
    assert {one["note"] for one in found} == {"SPF fail"}
    assert {one["sender"] for one in found} == {sender}
    assert "because of SPF fail" in running.cli("trace", str(found[-1]["id"])).stdout
    assert "greylisted first, at" in running.cli("trace", message_id).stdout
    received = running.message_events()[message_id][0]
    assert isinstance(received, Received)
    assert 10**9 <= received.at - received.greylisted < 30 * 10**9


def test_internationalised_mail_waits_for_a_server_that_takes_it(running, server):
    def send() -> str:
        with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
            client.ehlo("mail.client.test")
            client.mail("jörg@sender.test", ["SMTPUTF8", "BODY=8BITMIME"])
            return client.rcpt(ANNA)[1].decode()

    running.add("127.0.0.1:9", "anna@quiet.test", domain="quiet.test")
    running.send(MESSAGE, ANNA)
    wait_until(lambda: send().startswith("2.1.5"), what="what the server offers")
    with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
        client.ehlo("mail.client.test")
        client.mail("jörg@sender.test", ["SMTPUTF8"])
        code, reply = client.rcpt("anna@quiet.test")
        assert (code, reply[:5]) == (550, b"5.6.7")


def test_what_the_sender_asked_to_be_told_is_offered_and_passed_on(running, server):
    with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
        client.ehlo("mail.client.test")
        assert client.has_extn("dsn")
        assert "limits" in client.esmtp_features


def test_mail_that_a_customers_server_sends_back_stops_and_the_domain_is_held():
    """Their server forwards everything to its MX, which is us."""

    class Forwarding(Customer):
        """Sends each message back with a line of its own on top."""

        def __init__(self) -> None:
            super().__init__()
            self.gateway_port = 0
            self.told: list[tuple[int, bytes]] = []

        async def handle_DATA(self, server, session, envelope):
            said = await super().handle_DATA(server, session, envelope)
            await asyncio.to_thread(self.send_back, self.arrived[-1])
            return said

        def send_back(self, arrived: Arrived) -> None:
            with smtplib.SMTP("127.0.0.1", self.gateway_port, timeout=30) as client:
                client.ehlo("customer.test")
                try:
                    content = b"Received: from gateway.test by customer.test; now\r\n" + arrived.content
                    send_on(client, content, *arrived.recipients, sender=arrived.sender)
                except smtplib.SMTPResponseException as refused:
                    self.told.append((refused.smtp_code, refused.smtp_error))

    theirs = Forwarding()
    theirs.start()
    try:
        with gateway(retry_interval="1s") as running:
            theirs.gateway_port = running.port
            running.add(theirs.route)
            running.send(MESSAGE, ANNA)
            wait_until(lambda: theirs.told, within=30, what="the end of the loop")
            assert theirs.told == [(554, b"5.4.6 Mail loop: this message was here three times for the same recipient")]
            assert len(theirs.arrived) == 3
            shown = running.json("domain", "show", DOMAIN)
            assert "mail loop" in shown["hold"]["reason"]
            (refused,) = wait_until(
                lambda: [one.event for one in running.events() if isinstance(one.event, Refused)], what="the refusal"
            )
            assert (refused.reason, refused.domain, refused.recipient) == ("mail_loop", DOMAIN, ANNA)

            theirs.send_back = lambda arrived: None
            assert "its domain is held" in running.process.output()
            # Deliverers learn within a second that the domain is held.
            kept = wait_until(lambda: keeps(running), within=60, what="a message that stays")
            (queued,) = running.json("queue")["domains"]
            assert (queued["state"], queued["hold"]["by"], queued["next_try"]) == ("held", "gateway", None)
            assert f"gatepost domain resume {DOMAIN}" in running.cli("queue").stdout
            running.cli("domain", "resume", DOMAIN)
            running.wait_kinds(kept, "Received", "Scanned", "Queued", "Delivered")
            ids = [one.id for one in theirs.arrived]
            assert len(set(ids)) == len(ids)
    finally:
        theirs.stop()


def keeps(running: Gateway) -> str:
    """The id of a new message, when it stays in the queue."""
    message_id = running.send(MESSAGE, ANNA)

    def delivered() -> bool:
        return running.kinds(message_id)[-1] == "Delivered"

    # The list is a view, and comes a moment after the event.
    wait_until(lambda: delivered() or message_id in str(running.json("queue", "list", DOMAIN)), within=30)
    return "" if delivered() else message_id
