"""A postmaster steers what waits, with a whole gateway and real mail: what happens to the mail, and what the events say."""

from __future__ import annotations

import contextlib
import email
import os
import signal

import pytest

from pipeline.events import Discarded, Failed, Held, Received, Redirected, Resumed
from pipeline.faults import StoreError
from pipeline.settings import Settings
from projections.views import projections
from tests.flows.conftest import _numbers
from tests.support.customer import Arrived, Customer
from tests.support.gateway import Gateway, gateway
from tests.support.servers import wait_until

PLAIN = (
    b"From: Sender <sender@elsewhere.test>\r\nTo: anna\r\nSubject: lunch\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@elsewhere.test>\r\n\r\nAt noon?\r\n.dot\r\n"
)
BEGIN = ("Received", "Scanned", "Queued")
WHY = ("--reason", "so they said")


@pytest.fixture(scope="module")
def running():
    with gateway(retry_interval="60s", keep_connection="200ms", undo_time="3s") as started:
        yield started


def senders(running: Gateway, server: Customer) -> str:
    """A domain of ours whose mail is bounced to, as a sender's would be."""
    name = f"s{next(_numbers)}.example.test"
    running.add(server.route, f"boss@{name}", domain=name)
    return f"boss@{name}"


def waiting(
    running: Gateway, server: Customer, domain: str, *, sender: str = "sender@elsewhere.test", content: bytes = PLAIN
) -> str:
    """A message that waits because its server is away."""
    server.stop()
    message_id = running.send(content, f"anna@{domain}", sender=sender)
    wait_until(lambda: running.json("queue", domain)["domains"][0]["state"] == "deferred", what="the domain to wait")
    return message_id


def tried(running: Gateway, server: Customer) -> list[Arrived]:
    """What arrived once all that waits was tried, also what shows in the queue only after a moment."""

    def arrived() -> bool:
        running.cli("queue", "retry", "--all")
        return bool(server.arrived)

    wait_until(arrived, within=20, what="mail at the customer")
    return server.arrived


def test_a_held_message_stays_when_its_server_is_back_and_others_go_and_it_follows_when_it_is_resumed(
    running, server, domain
):
    held = waiting(running, server, domain)
    running.cli("queue", "hold", held, *WHY)
    other = running.send(PLAIN, f"ben@{domain}")
    server.start()
    running.cli("queue", "retry", domain)
    running.wait_kinds(other, *BEGIN, "Delivered")
    assert running.kinds(held) == [*BEGIN, "Held"]
    assert running.cli("books", domain).returncode == 0
    running.cli("queue", "resume", held)
    running.wait_kinds(held, *BEGIN, "Held", "Resumed", "Delivered")
    assert {arrived.original for arrived in server.wait(2)} == {PLAIN}


def test_a_hold_until_a_time_ends_by_itself_and_the_mail_arrives(running, server, domain):
    message_id = waiting(running, server, domain)
    running.cli("queue", "hold", message_id, *WHY, "--until", "1s")
    server.start()
    running.cli("queue", "retry", domain)
    running.wait_kinds(message_id, *BEGIN, "Held", "Resumed", "Delivered")
    resumed = running.message_events()[message_id][-2]
    assert isinstance(resumed, Resumed)
    assert resumed.by == "gatepost"


def test_a_returned_message_comes_back_to_its_sender_with_the_postmaster_s_words_when_the_time_to_undo_is_over(
    running, server, domain
):
    sender = senders(running, server)
    message_id = waiting(running, server, domain, sender=sender)
    done = running.json("queue", "bounce", message_id, "--reason", "no such department; ask <hr@example.test>", "--yes")
    assert done["done"] == 1
    assert [one["action"] for one in running.json("queue", "undo", "--list")["actions"]] == [done["action"]]
    server.start()
    running.wait_kinds(message_id, *BEGIN, "Held", "Failed")
    planned, failed = running.message_events()[message_id][-2:]
    assert isinstance(planned, Held)
    assert isinstance(failed, Failed)
    assert failed.at >= planned.until
    assert failed.by == planned.by
    (bounce,) = tried(running, server)
    assert (bounce.sender, bounce.recipients, bounce.id) == ("", (sender,), failed.bounce)
    report = email.message_from_bytes(bounce.content)
    text = report.get_payload(0).get_payload()
    assert "was returned by the postmaster:" in text
    assert "no such department; ask <hr@example.test>" in text
    assert "Subject: lunch" in report.get_payload(2).get_payload()
    assert running.kinds(message_id)[-1] == "Failed"


def test_deleted_mail_never_arrives_and_what_was_taken_back_does(running, server, domain):
    gone = waiting(running, server, domain)
    kept = running.send(PLAIN.replace(b"lunch", b"supper"), f"anna@{domain}")
    running.wait_kinds(kept, *BEGIN)
    running.cli("queue", "delete", gone, *WHY, "--yes")
    done = running.json("queue", "delete", kept, *WHY, "--yes")
    running.cli("queue", "undo", done["action"])
    running.wait_kinds(gone, *BEGIN, "Held", "Discarded")
    last = running.message_events()[gone][-1]
    assert isinstance(last, Discarded)
    assert (last.reason, last.note) == ("deleted", "so they said")
    server.start()
    running.cli("queue", "retry", domain)
    running.wait_kinds(kept, *BEGIN, "Held", "Resumed", "Delivered")
    assert [arrived.original for arrived in server.arrived] == [PLAIN.replace(b"lunch", b"supper")]


@pytest.mark.parametrize("size", [100, 400_000], ids=["hot body", "cold body"])
def test_redirected_mail_arrives_byte_for_byte_at_who_it_was_sent_to_instead(running, server, domain, size):
    to = senders(running, server)
    content = PLAIN + b"x" * 70 + b"\r\n" + b"y" * 78 * 1 + b"\r\n" + (b"z" * 76 + b"\r\n") * (size // 78)
    message_id = waiting(running, server, domain, content=content)
    done = running.json("queue", "redirect", message_id, "--to", to, *WHY, "--yes")
    new = done["messages"][message_id]
    assert isinstance(running.message_events()[message_id][-1], Redirected)
    server.start()
    wait_until(lambda: running.kinds(new)[:3] == list(BEGIN), what="the new message")
    (arrived,) = tried(running, server)
    assert (arrived.original, arrived.recipients, arrived.id) == (content, (to,), new)
    running.wait_kinds(new, *BEGIN, "Delivered")
    born = running.message_events()[new][0]
    assert isinstance(born, Received)
    assert (born.origin, born.cause, born.sender) == ("redirect", message_id, "sender@elsewhere.test")
    assert running.cli("books").returncode == 0


def test_a_held_server_is_not_dialled_by_any_domain_another_of_the_route_is_and_it_survives_a_restart_of_the_worker(
    running, server, domain
):
    with_backup, backup = f"b{next(_numbers)}.example.test", Customer()
    backup.start()
    try:
        running.cli("queue", "hold", "--server", server.route, *WHY)
        before = server.connections  # somebody looked whether it listens
        running.cli("domain", "add", with_backup, "--route", server.route, "--route", backup.route, "--catch-all")
        waits = running.send(PLAIN, f"anna@{domain}")
        wait_until(lambda: running.json("queue", domain)["domains"][0]["state"] == "held", what="the hold to show")
        for pid, role in running.children().items():
            if role == "deliverer":
                os.kill(pid, signal.SIGKILL)
        goes = running.send(PLAIN, f"anna@{with_backup}")
        running.wait_kinds(goes, *BEGIN, "Delivered")
        assert [arrived.id for arrived in backup.arrived] == [goes]
        assert (server.connections, running.kinds(waits)) == (before, list(BEGIN))
        assert "so they said" in running.cli("queue").stdout
        running.cli("queue", "resume", "--server", server.route)
        running.wait_kinds(waits, *BEGIN, "Delivered", within=10)
    finally:
        backup.stop()


def test_a_kill_of_everything_while_an_end_is_planned_loses_nothing_and_the_end_comes_once(running, server, domain):
    sender = senders(running, server)
    returned = waiting(running, server, domain, sender=sender)
    held, deleted = (running.send(PLAIN, f"anna@{domain}") for _ in range(2))
    for message_id in (held, deleted):
        running.wait_kinds(message_id, *BEGIN)
    running.cli("queue", "bounce", returned, *WHY, "--yes")
    running.cli("queue", "delete", deleted, *WHY, "--yes")
    running.cli("queue", "hold", held, *WHY)
    for pid in running.children():
        os.kill(pid, signal.SIGKILL)
    server.start()

    def last(message_id: str) -> str:
        with contextlib.suppress(StoreError):  # Redis is on its way back
            return running.kinds(message_id)[-1]
        return ""

    wait_until(lambda: (last(returned), last(deleted)) == ("Failed", "Discarded"), within=40, what="both ends")
    assert running.kinds(held) == [*BEGIN, "Held"]
    tried(running, server)
    assert [arrived.recipients for arrived in server.arrived] == [(sender,)]
    running.cli("queue", "resume", held)
    running.wait_kinds(held, *BEGIN, "Held", "Resumed", "Delivered")
    wait_until(lambda: running.cli("books", ok=False).returncode == 0, what="balanced books")


def test_every_view_comes_out_the_same_when_it_is_built_anew(running):
    done = running.cli("replay", "--all")
    assert done.stdout.count("equal to the live one") == len(projections(Settings()))
