"""Reports of outbound mail with a whole gateway: what happened is in them, and those by mail arrive."""

from __future__ import annotations

import email
import os
import subprocess
import sys
from email import policy

from pipeline.events import ReportSent
from tests.support.servers import wait_until

MAIL = (
    b"From: Boss <boss@senders.test>\r\nTo: anna\r\nSubject: lunch\r\nMessage-ID: <1@senders.test>\r\n\r\nAt noon?\r\n"
)


def test_what_was_delivered_and_refused_is_in_the_report(running, server, domain, tmp_path):
    server.refuse[f"ben@{domain}"] = "550-5.1.1 There is no ben\r\n550 5.1.1 here"
    message_id = running.send(MAIL, f"anna@{domain}", f"ben@{domain}", sender="boss@senders.test")
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered", "Failed")
    found = wait_until(
        lambda: (
            running.json("report", "outbound", "--domain", domain)
            if len(running.json("report", "outbound", "--domain", domain)["rows"]) == 2
            else None
        ),
        what="both attempts",
    )
    rows = {row["status"]: row for row in found["rows"]}
    assert rows["delivered"]["recipients"] == [f"anna@{domain}"]
    assert rows["failed"]["reply"] == "550-5.1.1 There is no ben\n550 5.1.1 here"
    assert (rows["failed"]["class"], rows["failed"]["id"]) == ("recipient", message_id)
    assert found["totals"]["delivered"]["messages"] == 1
    assert 0 < found["totals"]["delivery_seconds"]["max"] < 30
    file = tmp_path / "report.html"
    running.cli("report", "outbound", "--domain", domain, "--output", str(file))
    assert "There is no ben" in file.read_text("utf-8")
    # Whoever reads the pipe may have seen enough.
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cli.main", "report", "outbound", "--domain", domain]
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, env={**os.environ, **running.environ}, check=False, timeout=60
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_report_by_mail_arrives_as_mail_from_nobody(running, server, domain):
    running.cli("domain", "set", domain, "--language", "de", "--timezone", "Europe/Berlin")
    running.cli("report", "schedule", "add", domain, "--every", "day", "--to", f"anna@{domain}")
    message_id = running.json("report", "schedule", "run", domain, "daily")["id"]
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
    (arrived,) = wait_until(lambda: [one for one in server.arrived if one.id == message_id], what="the report")
    assert (arrived.sender, arrived.recipients) == ("", (f"anna@{domain}",))
    mail = email.message_from_bytes(arrived.original, policy=policy.default)
    assert mail["Subject"].startswith(f"Ausgehende Mail von {domain}, ")
    assert mail["Auto-Submitted"] == "auto-generated"
    sent = [row.event for row in running.events() if isinstance(row.event, ReportSent) and row.event.domain == domain]
    assert [event.message for event in sent] == [message_id]
    assert "a report that we wrote" in running.cli("trace", message_id).stdout


def test_a_report_that_cannot_be_delivered_has_failed_and_nobody_is_told(running, server, domain):
    server.refuse[f"ben@{domain}"] = "550 5.1.1 no ben"
    running.cli("report", "schedule", "add", domain, "--every", "week", "--to", f"ben@{domain}", "--format", "text")
    message_id = running.json("report", "schedule", "run", domain, "weekly")["id"]
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Failed")
    failures = wait_until(lambda: running.json("failures", domain)["failures"], what="the failure")
    assert [(one["id"], one["bounce"], one["unsent"]) for one in failures] == [(message_id, "", "null sender")]
    wait_until(lambda: running.json("books", domain, ok=False)["domains"][0]["balanced"], what="balanced books")
