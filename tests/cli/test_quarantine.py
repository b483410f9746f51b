"""`gatepost quarantine` on a real store."""

from __future__ import annotations

import contextlib
import io
import mailbox
import sys
import time
from pathlib import Path

import pytest

from cli import main as entry
from pipeline.events import Finding, Quarantined, Scanned
from tests.cli.conftest import ANNA, DOMAIN, SECOND, Shop

BEN = f"ben@{DOMAIN}"
PAGE = (
    b"From: Max <max@partner.test>\r\nSubject: Cheap watches\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n\r\n"
    b'<p>Dear Anna\x1b[31m</p><p hidden>free prize</p><a href="https://evil.test/x">https://bank.example</a>\r\n'
)


def kept(
    shop: Shop,
    *recipients: str,
    subject: str = "Cheap watches",
    verdict: str = "spam",
    sender: str = "s@elsewhere.test",
    country: str = "",
    content: bytes = PAGE,
) -> str:
    to = recipients or (ANNA,)
    message_id = shop.receive(*to, sender=sender, content=content)
    shop.append(
        message_id,
        lambda common: Scanned(
            **common, verdict=verdict, score=9.5, subject=subject, header_from="Max <max@partner.test>", country=country,
            findings=(Finding(name="WATCHES", score=9.5, text="who buys those"),),
        ),
        lambda common: Quarantined(
            **common, recipients=to, reason=f"{verdict}: who buys those", expires=time.time_ns() + 30 * 86400 * SECOND
        ),
    )  # fmt: skip
    return message_id


def ids(shop: Shop, *words: str) -> list[str]:
    return [one["id"] for one in shop.run("quarantine", "search", "--json", *words).json["messages"]]


# Finding


def test_filters_of_all_kinds_are_combined(shop: Shop):
    first = kept(shop, subject="Your invoice 2026", country="DE")
    second = kept(shop, BEN, subject="invoice", verdict="virus", sender="x@other.test", country="CN")
    shop.fold()
    for words, found in (
        (["--subject", "invoice"], [second, first]),
        (["--subject", "invoice 2026"], [first]),
        (["--subject", "inv*"], [second, first]),
        (["--class", "virus"], [second]),
        (["--reason", "virus"], [second]),
        (["--sender", "@other.test"], [second]),
        (["--sender", "max@partner.test"], [second, first]),
        (["--country", "de", "--test", "watches"], [first]),
        (["--recipient", BEN, "--days", "1"], [second]),
        (["--recipient", BEN, "--country", "DE"], []),
        (["--from", "2020-01-01", "--until", "2020-12-31"], []),
    ):
        assert ids(shop, *words) == found, words
    assert shop.run("quarantine", "list", "--class", "bulk").out == "Nothing is in quarantine that matches.\n"
    table = shop.run("quarantine", "list", "--limit", "1").out
    assert second in table
    assert "1 message; more with --after " in table


def test_a_page_goes_on_where_the_one_before_ended(shop: Shop):
    messages = [kept(shop) for _ in range(5)]
    shop.fold()
    found: list[str] = []
    after: list[str] = []
    for _ in range(5):
        page = shop.run("quarantine", "list", "--json", "--limit", "2", *after).json
        found += [one["id"] for one in page["messages"]]
        if page["after"] is None:
            break
        after = ["--after", page["after"]]
    assert sorted(found) == sorted(messages)
    wrong = shop.run("quarantine", "list", "--after", "nonsense")
    assert wrong.code == 2
    assert shop.run("quarantine", "list", "--limit", "0").code == 2


def test_figures_say_how_much_is_kept_of_what(shop: Shop):
    kept(shop, country="DE")
    kept(shop, verdict="virus")
    shop.fold()
    (domain,) = shop.run("quarantine", "stats", "--json").json["domains"]
    assert (domain["domain"], domain["messages"], domain["bytes"]) == (DOMAIN, 2, 2 * len(PAGE))
    assert (domain["classes"], domain["countries"]) == ({"spam": 1, "virus": 1}, {"DE": 1})
    assert "spam 1, virus 1" in shop.run("quarantine", "stats", "--domain", DOMAIN).out
    assert shop.run("quarantine", "stats", "--domain", "other.test").out == "Nothing is in quarantine.\n"


# Looking


def test_looks_are_shown_with_who_looked_and_in_the_trace(shop: Shop):
    message_id = kept(shop)
    assert "looked at" not in shop.run("quarantine", "show", message_id).out
    shop.run("quarantine", "preview", message_id)
    shown = shop.run("quarantine", "show", message_id)
    assert "looked at what is known of it" in shown.out
    assert "looked at its text" in shown.out
    looks = shop.run("quarantine", "show", message_id, "--json").json["looks"]
    assert [look["how"] for look in looks] == ["show", "preview", "show", "show"]
    assert all(look["by"].startswith("cli:") for look in looks)
    trace = shop.run("trace", message_id)
    assert trace.out.count("looked at    by cli:") == 4


def test_a_preview_shows_text_and_where_links_go_and_nothing_that_acts(shop: Shop):
    message_id = kept(shop)
    text = shop.run("quarantine", "preview", message_id).out
    assert "│ Dear Anna\\x1b[31m" in text
    assert "hidden text: free prize" in text
    assert "link  https://evil.test/x  shown as: https://bank.example  goes elsewhere than it says" in text
    assert "\x1b" not in text
    (part,) = shop.run("quarantine", "preview", message_id, "--json").json["parts"]
    assert part["links"] == [{"target": "https://evil.test/x", "text": "https://bank.example", "deceives": True}]


def test_messages_are_downloaded_into_files_a_directory_or_an_mbox(shop: Shop, tmp_path: Path):
    odd = b"Subject: x\r\n\r\nFrom me\r\n>From you\r\nno end"
    first, second = kept(shop), kept(shop, content=odd)
    done = shop.run("quarantine", "download", first, second, "--to", str(tmp_path / "evidence"))
    assert done.code == 0
    assert (tmp_path / "evidence" / f"{first}.eml").read_bytes() == PAGE
    assert (tmp_path / "evidence" / f"{second}.eml").read_bytes() == odd
    assert (tmp_path / "evidence" / f"{second}.eml").stat().st_mode & 0o077 == 0
    assert shop.run("quarantine", "download", first, "--to", str(tmp_path / "one.eml")).code == 0
    assert (tmp_path / "one.eml").read_bytes() == PAGE
    again = shop.run("quarantine", "download", first, "--to", str(tmp_path / "one.eml"))
    assert (again.code, "there already" in again.err) == (4, True)
    shop.run("quarantine", "download", first, second, "--mbox", str(tmp_path / "box"))
    with contextlib.closing(mailbox.mbox(tmp_path / "box")) as box:
        assert len(box) == 2
    assert b">From me\n>>From you\nno end" in (tmp_path / "box").read_bytes()
    assert shop.run("quarantine", "download", first, second).code == 2
    assert shop.run("quarantine", "download").code == 2
    assert shop.run("quarantine", "download", first, "--json").code == 2
    both = shop.run("quarantine", "download", first, "--to", "x", "--mbox", "y")
    assert both.code == 2


def test_octets_go_to_a_pipe_and_not_to_a_terminal(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    message_id = kept(shop)
    out = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(out))
        assert entry.main(["quarantine", "download", message_id]) == 0
        assert out.getvalue() == PAGE
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert shop.run("quarantine", "download", message_id).code == 4


# Acting


def test_a_message_is_released_for_one_recipient_with_leave_for_its_sender_and_a_lesson(shop: Shop):
    shop.add("anna", "ben")
    message_id = kept(shop, ANNA, BEN)
    done = shop.run("quarantine", "release", message_id, "--recipient", BEN, "--allow-sender", "--learn")
    assert "released, on its way" in done.out
    assert "mail from max@partner.test is allowed from now on" in done.out
    assert "the classifier has learned that it is good mail" in done.out
    copies = shop.run("trace", message_id, "--json").json["copies"]
    assert [(copy["address"], copy["state"]) for copy in copies] == [(ANNA, "quarantined"), (BEN, "queued")]
    assert shop.run("quarantine", "release", message_id, "--recipient", "carl@x.test").code == 3


def test_a_message_is_released_to_another_address(shop: Shop):
    shop.add("anna", "ben")
    message_id = kept(shop)
    assert shop.run("quarantine", "release", message_id, "--to", "carl@elsewhere.test").code == 4
    assert shop.run("quarantine", "release", message_id, "--to", f"nobody@{DOMAIN}").code == 4
    done = shop.run("quarantine", "release", message_id, "--to", BEN, "--note", "for a look", "--json").json
    (one,) = done["messages"]
    assert one["changed"]
    traced = shop.run("trace", message_id).out
    assert f"from {ANNA} to {BEN}" in traced
    assert f"it goes on as {one['goes_on_as']}" in traced
    again = shop.run("quarantine", "release", message_id, "--to", BEN, "--json").json["messages"][0]
    assert (again["changed"], again["goes_on_as"]) == (False, one["goes_on_as"])


def test_what_filters_find_is_counted_and_then_released(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    wanted = [kept(shop, sender="a@partner.test") for _ in range(3)]
    other, virus = kept(shop), kept(shop, sender="a@partner.test", verdict="virus", content=b"Subject: x\r\n\r\n")
    shop.fold()
    words = ("quarantine", "release", "--domain", DOMAIN, "--sender", "a@partner.test")
    dry = shop.run(*words, "--dry-run", "--json").json
    assert (dry["messages"], dry["classes"]) == (4, {"spam": 3, "virus": 1})
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    asked = shop.run(*words)
    assert asked.code == 2
    assert "4 messages, 4 copies" in asked.err
    assert "Release 4 messages?" in asked.err
    done = shop.run(*words, "--yes", "--json")
    assert done.code == 4
    assert (done.json["done"], done.json["refused"]) == (3, 1)
    assert done.json["refusals"][0]["id"] == virus
    again = shop.run(*words, "--yes", "--json")
    assert (again.json["done"], again.json["already"]) == (0, 3)
    shop.fold()
    assert sorted(ids(shop)) == sorted([other, virus])
    assert wanted


def test_as_many_as_wanted_are_deleted_the_newest_first(shop: Shop):
    messages = [kept(shop) for _ in range(4)]
    shop.fold()
    done = shop.run("quarantine", "delete", "--class", "spam", "--max", "2", "--yes")
    assert done.out == "2 messages deleted\n"
    shop.fold()
    assert len(ids(shop)) == 2
    assert set(ids(shop)) < set(messages)
    assert (
        shop.run("quarantine", "delete", "--class", "bulk", "--yes").out == "Nothing is in quarantine that matches.\n"
    )


def test_of_what_filters_find_only_the_recipient_s_copy_goes(shop: Shop):
    message_id = kept(shop, ANNA, BEN)
    shop.fold()
    assert shop.run("quarantine", "delete", "--recipient", BEN, "--yes").code == 0
    copies = shop.run("trace", message_id, "--json").json["copies"]
    assert [(copy["address"], copy["state"]) for copy in copies] == [(ANNA, "quarantined"), (BEN, "discarded")]


@pytest.mark.parametrize(
    "words",
    [
        ["release"],
        ["delete"],
        ["release", "1nx9s4tkh2v6c8jq0d7w03", "--class", "spam"],
        ["delete", "--max", "-1", "--class", "x"],
    ],
)
def test_who_says_nothing_or_two_things_is_told_so(shop: Shop, words: list[str]):
    kept(shop)
    assert shop.run("quarantine", *words).code == 2


# Reporting


def test_bad_mail_is_reported_from_a_file_or_by_its_id(shop: Shop, tmp_path: Path):
    message_id = kept(shop)
    done = shop.run("quarantine", "report", message_id, "--good", "--note", "my watchmaker")
    assert f"recorded: {message_id}, from s@elsewhere.test, for {DOMAIN} is good mail" in done.out
    assert "the classifier has learned from it" in done.out
    file = tmp_path / "mail.eml"
    file.write_bytes(PAGE.replace(b"\r\n", b"\n"))
    unknown = shop.run("quarantine", "report", str(file))
    assert (unknown.code, "--domain" in unknown.err) == (2, True)
    shop.add("anna")
    found = shop.run("quarantine", "report", str(file), "--domain", DOMAIN, "--list-sender", "--json").json
    assert (found["id"], found["learned"], found["listed"]) == (None, True, "max@partner.test")
    shop.fold()
    reports = shop.run("quarantine", "reports", "--json").json["reports"]
    assert [(one["spam"], one["message"]) for one in reports] == [(True, ""), (False, message_id)]
    assert "my watchmaker" in shop.run("quarantine", "reports", "--domain", DOMAIN).out
    assert shop.run("quarantine", "report", "1nx9s4tkh2v6c8jq0d7w03").code == 3
    assert shop.run("quarantine", "report", str(tmp_path / "absent")).code == 2


def test_a_message_is_reported_from_standard_input(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    shop.add("anna")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PAGE)))
    done = shop.run("quarantine", "report", "-", "--domain", DOMAIN)
    assert done.out == f"recorded: a message for {DOMAIN} is bad mail\n  the classifier has learned from it\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert shop.run("quarantine", "report", "-").code == 2


# Retention


def test_how_long_a_domain_keeps_bad_mail_is_its_own_and_its_children_s(shop: Shop):
    shop.run("domain", "add", DOMAIN, "--route", "mx.example.test:25")
    shop.run("domain", "add", f"sub.{DOMAIN}", "--parent", DOMAIN)
    done = shop.run("domain", "set", DOMAIN, "--quarantine-retention", "14d", "--json").json
    assert done["quarantine_retention"] == 14 * 86400
    assert "bad mail is kept for 14 d" in shop.run("domain", "show", f"sub.{DOMAIN}").out
    assert shop.run("domain", "set", DOMAIN, "--quarantine-retention", "1000d").code == 2
    assert (
        shop.run("domain", "set", DOMAIN, "--quarantine-retention", "none", "--json").json["quarantine_retention"] == 0
    )


def test_what_was_done_is_in_the_history_in_words(shop: Shop):
    message_id = kept(shop, verdict="virus")
    shop.run("quarantine", "release", message_id, "--virus")
    assert "whoever released it said that they know" in shop.run("trace", message_id).out
    events = shop.run("trace", message_id, "--json").json["events"]
    assert [event["type"] for event in events] == ["received", "scanned", "quarantined", "released"]
