"""Through the whole gateway: what DNS lists say of the client that a trusted relay names, and what happens when no DNS answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from pipeline.events import Quarantined, Scanned
from tests.support.customer import Customer, customer
from tests.support.gateway import ANNA, Gateway, gateway

BODY = (
    b"From: Maria <maria@sender.test>\r\nTo: anna@example.test\r\nSubject: hello\r\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\n\r\nhello\r\n"
)
RECORDS = {
    ("139.6.0.193.zen.test", "A"): ["127.0.0.2"],
    ("139.6.0.193.zen.test", "TXT"): ['"seen sending spam"'],
    ("1.0.0.127.blocked.test", "A"): ["127.255.255.254"],
    ("139.6.0.193.blocked.test", "A"): ["127.255.255.254"],
    ("8.8.8.8.blocked.test", "A"): ["127.255.255.254"],
    ("_dmarc.bank.test", "TXT"): ['"v=DMARC1; p=reject"'],
}
LISTS = "zen.test=127.0.0.2:6,127.0.0.4-127.0.0.7:3 blocked.test=9"


def relayed(address: str) -> bytes:
    return f"Received: from mail.sender.test (unknown [{address}]) by relay.test (Postfix) id 1; x\r\n".encode() + BODY


@pytest.fixture(scope="module")
def server() -> Iterator[Customer]:
    with customer() as started:
        yield started


def scanned(running: Gateway, message_id: str) -> Scanned:
    return next(event for event in running.message_events()[message_id] if isinstance(event, Scanned))


def test_a_listed_client_behind_a_trusted_relay_is_quarantined_and_a_list_that_refuses_us_counts_nothing(server):
    with gateway(RECORDS, address_lists=LISTS, trusted_relays="127.0.0.0/8") as running:
        running.add(server.route)
        good = running.send(relayed("8.8.8.8"), ANNA)
        bad = running.send(relayed("193.0.6.139"), ANNA)
        unknown = running.send(BODY, ANNA)
        forged = running.send(relayed("8.8.8.8").replace(b"<maria@sender.test>", b"<maria@bank.test>"), ANNA)
        for message_id in (bad, forged):
            running.wait_kinds(message_id, "Received", "Scanned", "Quarantined")
        for message_id in (good, unknown):
            running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
        events = running.message_events()[bad]
        reason = next(event.reason for event in events if isinstance(event, Quarantined))
        assert "zen.test lists the client's address 193.0.6.139 (127.0.0.2): seen sending spam" in reason
        named = {finding.name for finding in scanned(running, bad).findings}
        assert {"CLIENT_LISTED", "DNS_LIST_REFUSED"} <= named
        assert {finding.score for finding in scanned(running, good).findings if finding.name == "DNS_LIST_REFUSED"} == {
            0
        }
        assert [scanned(running, one).country for one in (bad, good, unknown)] == ["NL", "US", ""]
        assert ("policy.iprev", "193.0.6.139") in scanned(running, bad).auth[0].properties
        assert scanned(running, forged).verdict == "spoof"
        assert {result.method for result in scanned(running, unknown).auth} == {"dkim", "dmarc"}


def test_when_no_dns_answers_mail_flows_within_the_budget_and_the_silence_is_told(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        resolver = f"127.0.0.1:{dead.getsockname()[1]}"
        with gateway(
            resolver=resolver,
            address_lists=LISTS,
            domain_lists="dbl.test=3",
            trusted_relays="127.0.0.0/8",
            scan_budget="1s",
        ) as running:
            running.add(server.route)
            message_id = running.send(relayed("193.0.6.139"), ANNA)
            running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
            event = scanned(running, message_id)
            # On a machine that is too busy the engine as a whole is late; that is told too.
            assert {finding.name for finding in event.findings} & {"DNS_LIST_SILENT", "ENGINE_TIMEOUT"}
