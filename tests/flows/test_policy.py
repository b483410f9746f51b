"""Real mail through real processes, and what policy makes of it: a copy for each recipient, and the books that balance."""

from __future__ import annotations

import pytest

from pipeline.events import Discarded, Quarantined, Queued, Scanned
from tests.support.servers import wait_until

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD" + b"-ANTI-UBE-TEST-EMAIL*C.34X"
HEADER = (
    b"From: Sender <sender@elsewhere.test>\r\nTo: all\r\nSubject: an offer\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    b"X-Gatepost-Verdict: clean; score=-99\r\nMessage-ID: <1@elsewhere.test>\r\n\r\n"
)
SPAM = HEADER + GTUBE + b"\r\n"
HAM = HEADER + b"At noon?\r\n"
PEOPLE = ("anna", "ben", "carl", "dora")


@pytest.fixture
def people(running, server, domain) -> list[str]:
    """anna has her spam tagged in the subject as the domain does, ben keeps it in quarantine, carl discards it, dora takes it as it is."""
    addresses = [f"{name}@{domain}" for name in PEOPLE]
    running.add(server.route, *addresses, domain=domain)
    running.cli("policy", "set", "--domain", domain, "--action", "spam=tag", "--prefix", "[SPAM]")
    for name, act in (("ben", "quarantine"), ("carl", "discard"), ("dora", "deliver")):
        running.cli("policy", "set", "--address", f"{name}@{domain}", "--action", f"spam={act}")
    return addresses


def settled(running, message_id: str, *kinds: str) -> list:
    def there():
        found = [type(event).__name__ for event in running.message_events().get(message_id, [])]
        return sorted(found) == sorted(kinds)

    wait_until(there, what=f"{kinds}, not {running.kinds(message_id)}")
    return running.message_events()[message_id]


def booked(running, domain: str) -> dict:
    """A domain's books, once the view has come as far as the mail."""
    rows = [one for one in running.json("books", ok=False)["domains"] if one["domain"] == domain]
    return next((row for row in rows if row["balanced"] and row["delivered"] == 2), {})


def test_four_recipients_of_one_message_get_four_outcomes_each_once(running, server, domain, people):
    anna, ben, carl, dora = people
    message_id = running.send(SPAM, *people)
    events = settled(
        running,
        message_id,
        "Received",
        "Scanned",
        "Quarantined",
        "Discarded",
        "Queued",
        "Queued",
        "Delivered",
        "Delivered",
    )
    arrived = {one.recipients: one.content for one in server.wait(2)}
    assert set(arrived) == {(anna,), (dora,)}
    assert b"\r\nX-Gatepost-Verdict: spam; score=" in arrived[anna,]
    assert b"\r\nSubject: [SPAM] an offer\r\n" in arrived[anna,]
    assert arrived[anna,].count(b"Subject:") == 1
    assert b"X-Gatepost-Verdict" not in arrived[dora,]
    assert b"\r\nSubject: an offer\r\n" in arrived[dora,]
    assert b"score=-99" not in b"".join(arrived.values())
    kept = [event for event in events if isinstance(event, Quarantined)]
    gone = [event for event in events if isinstance(event, Discarded)]
    assert [event.recipients for event in kept] == [(ben,)]
    assert [(event.recipients, event.reason) for event in gone] == [((carl,), "policy")]
    assert {event.recipients: bool(event.tag) for event in events if isinstance(event, Queued)} == {
        (anna,): True, (dora,): False,
    }  # fmt: skip
    (scanned,) = [event for event in events if isinstance(event, Scanned)]
    assert {decision.recipients: decision.action for decision in scanned.decisions} == {
        (anna,): "tag", (ben,): "quarantine", (carl,): "discard", (dora,): "deliver",
    }  # fmt: skip
    books = wait_until(lambda: booked(running, domain), what="balanced books")
    assert {name: books[name] for name in ("received", "delivered", "quarantined", "discarded", "failed", "waiting")} == {
        "received": 4, "delivered": 2, "quarantined": 1, "discarded": 1, "failed": 0, "waiting": 0,
    }  # fmt: skip
    running.cli("quarantine", "release", message_id)
    released = next(one for one in server.wait(3) if one.recipients == (ben,))
    assert b"X-Gatepost-Verdict" not in released.content
    assert b"\r\nSubject: an offer\r\n" in released.content


def test_why_each_copy_went_where_it_went_is_explained(running, server, domain, people):
    message_id = running.send(SPAM, *people)
    server.wait(2)
    form = running.json("policy", "explain", message_id)
    told = {recipient: one for one in form["decisions"] for recipient in one["recipients"]}
    assert f"spam: tag (set for {domain})" in told[people[0]]["why"]
    assert f"spam: quarantine (set by {people[1]})" in told[people[1]]["why"]
    assert "GTUBE" in running.cli("policy", "explain", message_id).stdout


def test_a_list_decides_from_a_second_after_it_was_changed(running, server, domain, people):
    running.cli("policy", "block", "127.0.0.0/8", "--domain", domain, "--note", "a test")

    def kept():
        message_id = running.send(HAM, people[0])
        wait_until(lambda: running.kinds(message_id)[-1] in ("Delivered", "Quarantined"), what="a decision")
        events = running.message_events()[message_id]
        return [event.reason for event in events if isinstance(event, Quarantined)]

    assert wait_until(kept, what="a block") == [f"blocked sender: 127.0.0.0/8 (of {domain})"]
    running.cli("policy", "allow", "127.0.0.0/8", "--address", people[1])
    running.cli("policy", "remove", "127.0.0.0/8", "--domain", domain)

    def allowed():
        message_id = running.send(SPAM, people[1])
        wait_until(lambda: running.kinds(message_id)[-1] in ("Delivered", "Quarantined"), what="a decision")
        return running.kinds(message_id)[-1] == "Delivered"

    wait_until(allowed, what="an allow")
