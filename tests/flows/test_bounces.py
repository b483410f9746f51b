"""What senders are told, and what is kept for the postmaster instead, with a whole gateway."""

from __future__ import annotations

from pipeline.events import Undeliverable
from tests.support.servers import wait_until

LIST_MAIL = (
    b"From: friends@lists.test\r\nTo: friends@lists.test\r\nSubject: meeting\r\nList-Id: <friends.lists.test>\r\n"
    b"Message-ID: <1@lists.test>\r\n\r\nOn Monday?\r\n"
)


def kept_of(running, domain):
    return running.json("quarantine", "list", "--reason", "undeliverable", "--domain", domain)["messages"]


def test_refused_list_mail_is_kept_shown_and_arrives_when_it_is_released(running, server, domain):
    server.refuse[f"ben@{domain}"] = "550 5.7.1 lists are not welcome"
    message_id = running.send(LIST_MAIL, f"anna@{domain}", f"ben@{domain}", sender="friends@lists.test")
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered", "Undeliverable")
    last = running.message_events()[message_id][-1]
    assert isinstance(last, Undeliverable)
    assert (last.recipients, last.unsent) == ((f"ben@{domain}",), "message is from a list")

    (row,) = kept_of(running, domain)
    assert (row["id"], row["quarantined"]) == (message_id, [f"ben@{domain}"])
    assert [copy["kept_as"] for copy in row["copies"]] == ["", "undeliverable"]
    assert running.json("quarantine", "list", "--reason", "spam", "--domain", domain)["messages"] == []
    shown = running.cli("quarantine", "show", message_id).stdout
    assert "no bounce: message is from a list" in shown
    assert "lists are not welcome" in shown
    told = running.cli("trace", message_id).stdout
    assert "undelivered" in told
    assert "kept for the postmaster" in told
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
    assert kept_of(running, domain) == []


def test_undeliverable_mail_that_is_deleted_is_gone(running, server, domain):
    server.refuse[f"ben@{domain}"] = "550 5.1.1 gone"
    message_id = running.send(LIST_MAIL, f"ben@{domain}", sender="friends@lists.test")
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Undeliverable")
    running.cli("quarantine", "delete", message_id, "--yes")
    assert running.kinds(message_id)[-1] == "Discarded"
    assert kept_of(running, domain) == []
