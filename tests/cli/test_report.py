"""The report of outbound mail, at the command line."""

from __future__ import annotations

import csv
import io
import json
import os
import time

import pytest

from pipeline.events import Attempt, Deferred, Delivered, Failed
from tests.cli.conftest import ANNA, DOMAIN, SENDER, Shop

GOOD = Attempt(
    server="mx.example.test:25",
    address="192.0.2.1",
    tls="TLSv1.3",
    stage="dot",
    code=250,
    enhanced="2.0.0",
    reply="250 2.0.0 ok",
)
FULL = Attempt(
    server="mx.example.test:25", address="192.0.2.1", stage="rcpt", code=452, enhanced="4.2.2",
    reply="452-4.2.2 The mailbox is full\n452 4.2.2 really",
)  # fmt: skip


@pytest.fixture
def told(shop: Shop) -> Shop:
    shop.add()
    message = shop.queued()
    shop.deferred(message)
    shop.tried(message, Deferred, FULL, next_try=time.time_ns())
    shop.tried(message, Delivered, GOOD, waited=2_000_000_000)
    other = shop.queued()
    shop.tried(
        other,
        Failed,
        Attempt(server="=cmd()", stage="rcpt", code=550, reply="550 no \x1b[2J<b>"),
        reason="refused",
        bounce="x",
    )
    shop.route_deferred()
    shop.fold()
    return shop


def test_each_attempt_is_a_row_and_the_totals_stand_behind_them(told: Shop):
    out = told.run("report", "outbound", "--domain", DOMAIN).out
    assert "\x1b" not in out
    lines = out.splitlines()
    assert lines[0].split() == [
        "TIME",
        "STATUS",
        "TRY",
        "FROM",
        "TO",
        "SIZE",
        "IN",
        "QUEUE",
        "SERVER",
        "TLS",
        "CLASS",
        "ANSWER",
        "ID",
    ]
    assert sum("delivered" in line and ANNA in line for line in lines) == 1
    assert "452-4.2.2 The mailbox is full / 452 4.2.2 really" in out
    assert "Delivered: messages 1, recipients 1," in out
    assert "p50" in out
    assert "mailbox" in out


def test_the_same_in_json_csv_and_html_and_in_a_file(told: Shop, tmp_path):
    found = told.run("report", "outbound", "--domain", DOMAIN, "--json").json
    assert [row["status"] for row in found["rows"]] == ["deferred", "deferred", "delivered", "failed", "no_server"]
    assert found["rows"][1]["reply"] == FULL.reply
    assert found["totals"]["attempts"] == 5
    assert found["totals"]["delivery_seconds"]["max"] == 2
    rows = list(csv.DictReader(io.StringIO(told.run("report", "outbound", "--format", "csv").out, newline="")))
    assert [row["status"] for row in rows] == [row["status"] for row in found["rows"]]
    assert rows[3]["server"] == "'=cmd()"
    lines = told.run("report", "outbound", "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["report", *["attempt"] * 5, "totals"]
    file = tmp_path / "out.html"
    assert told.run("report", "outbound", "--output", str(file)).out == f"{file} written: 5 rows\n"
    page = file.read_text("utf-8")
    assert "<b>" not in page
    assert page.endswith("</html>\n")
    assert [one.name for one in tmp_path.iterdir() if "out" in one.name] == ["out.html"]


def test_rows_are_chosen_by_status_class_sender_recipient_and_time(told: Shop):
    def statuses(*words: str) -> list[str]:
        return [row["status"] for row in told.run("report", "outbound", *words, "--json").json["rows"]]

    assert statuses("--status", "failed", "--status", "no_server") == ["failed", "no_server"]
    assert statuses("--sender", SENDER.upper()) == ["deferred", "deferred", "delivered", "failed"]
    assert statuses("--recipient", "nobody") == []
    assert statuses("--to", "2026-01-01", "--from", "2025-12-24") == []
    assert statuses("--domain", "nobody.test") == []
    classes = told.run("report", "outbound", "--json").json["totals"]["by_class"]
    assert statuses("--class", min(classes))


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--tz", "Mars/Base"), "'Mars/Base' is no time zone"),
        (("--tz", "../../etc/passwd"), "is no time zone"),
        (("--status", "lost"), "no status 'lost'"),
        (("--format", "pdf"), "no format 'pdf'"),
        (("--from", "tomorrow"), "is no time"),
        (("--output", "/nowhere/x.csv"), "/nowhere/x.csv: No such file"),
        (("--language", "fr"), "no language 'fr'"),
        (("--output", ""), "is no name for a file"),
        (("--output", "."), "is no name for a file"),
        (("--output", "/dev/null"), "'/dev/null' is no name for a file"),
        (("--output", "/tmp"), "'/tmp' is no name for a file"),
        (("--tz", "Europe"), "'Europe' is no time zone"),
        (("--tz", "/etc/passwd"), "is no time zone"),
        (("--tz", "\x1b[31m"), "is no time zone"),
        (("--from", "0001-01-01"), "is no time"),
        (("--to", "9999-12-31"), "is no time"),
        (("--from", "1969-12-31T23:59Z"), "is no time"),
        (("--from", "2026-11-20", "--to", "2026-11-19"), "is later than"),
        (("--from", "2026-11-20", "--days", "1"), "two beginnings"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(shop: Shop, words, fault):
    shop.add()
    done = shop.run("report", "outbound", *words)
    assert done.code == 2
    assert fault in done.err
    assert "\x1b" not in done.err
    assert len(done.err.splitlines()) <= 2


def test_a_pipe_a_device_and_a_folder_stay_what_they_are(told: Shop, tmp_path):
    pipe, folder, loose = tmp_path / "pipe", tmp_path / "folder", tmp_path / "loose"
    os.mkfifo(pipe)
    folder.mkdir()
    loose.symlink_to(pipe)
    for path in (pipe, folder, loose):
        for words in (["report", "outbound"], ["audit", "export", "--force"]):
            done = told.run(*words, "--output", str(path))
            assert (done.code, "is no name for a file" in done.err) == (2, True)
    assert {path.name for path in tmp_path.iterdir()} - {"data"} == {"folder", "loose", "pipe"}
    assert pipe.is_fifo()
    assert not list(folder.iterdir())


def test_days_are_those_of_the_domain_unless_another_zone_is_named(told: Shop):
    told.run("domain", "set", DOMAIN, "--timezone", "Asia/Kolkata")
    zone = told.run("report", "outbound", "--domain", DOMAIN, "--json").json["report"]
    assert zone["zone"] == "Asia/Kolkata"
    assert zone["from"].endswith("T00:00:00.000+05:30")
    assert told.run("report", "outbound", "--domain", DOMAIN, "--tz", "UTC", "--json").json["report"]["zone"] == "UTC"


def test_reports_by_mail_are_added_listed_sent_and_removed(told: Shop):
    assert "No report goes out by mail" in told.run("report", "schedule", "list").out
    told.run("domain", "set", DOMAIN, "--timezone", "Europe/Berlin")
    done = told.run(
        "report", "schedule", "add", DOMAIN, "--every", "week", "--at", "7:30", "--to", "boss@elsewhere.test"
    )
    assert done.out.startswith(f"weekly of {DOMAIN} goes to boss@elsewhere.test every week; the next is due at ")
    told.run(
        "report",
        "schedule",
        "add",
        DOMAIN,
        "--every",
        "week",
        "--to",
        "b@elsewhere.test",
        "--status",
        "failed",
        "--format",
        "text",
    )
    first, second = told.run("report", "schedule", "list", "--json").json["reports"]
    assert (first["name"], first["at"], first["zone"], first["last"]) == ("weekly", "07:30", "Europe/Berlin", None)
    assert (second["name"], second["only"], second["format"]) == ("weekly-2", ["failed"], "text")
    sent = told.run("report", "schedule", "run", DOMAIN, "weekly", "--json").json
    assert sent["to"] == "boss@elsewhere.test"
    assert f"weekly of {DOMAIN}" not in told.run("report", "schedule", "list").out
    assert told.run("report", "schedule", "remove", DOMAIN, "weekly").out == f"weekly of {DOMAIN} is sent no more\n"
    assert [one["name"] for one in told.run("report", "schedule", "list", DOMAIN, "--json").json["reports"]] == [
        "weekly-2"
    ]
    history = told.run("directory", "history").out
    assert "reports by mail: none -> weekly (every week to boss@elsewhere.test)" in history
    change = told.run("directory", "history", "--json").json["changes"][0]["change"]
    told.run("directory", "revert", str(change), "--yes")
    assert len(told.run("report", "schedule", "list", "--json").json["reports"]) == 2


@pytest.mark.parametrize(
    ("words", "code", "fault"),
    [
        (("add", DOMAIN, "--every", "year", "--to", "a@b.test"), 2, "every 'year'"),
        (("add", DOMAIN, "--every", "day", "--to", "nobody"), 2, "--to 'nobody'"),
        (("add", DOMAIN, "--every", "day", "--to", "a@b.test", "--at", "25:00"), 2, "no time of day"),
        (("add", DOMAIN, "--every", "day", "--to", "a@b.test", "--status", "lost"), 2, "no status"),
        (("add", "nobody.test", "--every", "day", "--to", "a@b.test"), 3, "nobody.test"),
        (("remove", DOMAIN, "x"), 3, "has no report 'x'"),
        (("run", DOMAIN, "x"), 3, "has no report 'x'"),
    ],
)
def test_a_report_by_mail_that_cannot_be_is_refused(shop: Shop, words, code, fault):
    shop.add()
    done = shop.run("report", "schedule", *words)
    assert (done.code, fault in done.err) == (code, True), done.err
