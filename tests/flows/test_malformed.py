"""Every malformed message through a whole gateway, over one connection: it arrives, or is kept, with the octets that came."""

from __future__ import annotations

import smtplib

from tests.support.gateway import send_on
from tests.support.malformed import REFUSED, SIMPLE
from tests.support.servers import wait_until


def test_malformed_messages_arrive_or_are_kept_and_none_loses_an_octet(running, server, domain):
    sent: dict[str, bytes] = {}
    with smtplib.SMTP("127.0.0.1", running.port, timeout=60) as client:
        client.ehlo("sender.test")
        for content, _ in SIMPLE.values():
            message_id = send_on(client, content, f"anna@{domain}", f"ben@{domain}")
            sent[message_id] = content if content.endswith(b"\r\n") else content + b"\r\n"
        for what, (content, _) in REFUSED.items():
            assert _refused(client, content, f"anna@{domain}"), what

    def decided() -> bool:
        last = {one: type(events[-1]).__name__ for one, events in running.message_events().items() if one in sent}
        return all(last[one] in ("Delivered", "Quarantined") for one in sent)

    wait_until(decided, within=60, what="a decision on each")
    events = running.message_events()
    kept = [one for one in sent if type(events[one][-1]).__name__ == "Quarantined"]
    assert 0 < len(kept) < len(sent)
    running.cli("quarantine", "release", "--virus", *kept)
    arrived = {mail.id: mail.original for mail in server.wait(len(sent), within=60)}
    assert len(server.arrived) == len(sent)
    for what, (message_id, content) in zip(SIMPLE, sent.items(), strict=True):
        assert arrived[message_id] == content, what


def _refused(client: smtplib.SMTP, content: bytes, recipient: str) -> bool:
    """At the door, because it could be read as two messages elsewhere."""
    try:
        send_on(client, content, recipient)
    except smtplib.SMTPResponseException as refusal:
        return refusal.smtp_code == 550 and refusal.smtp_error.startswith(b"5.6.0")
    return False
