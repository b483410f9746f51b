"""`gatepost policy` and `gatepost scan` at the command line."""

from __future__ import annotations

import io
import sys
import time
from types import SimpleNamespace

import pytest

from pipeline.events import Decision, Finding, Quarantined, Scanned
from tests.cli.conftest import ANNA, DOMAIN, Shop
from tests.support.mail import EICAR, HEAD

CLEAN = HEAD + b"\r\nAt noon?\r\n"
VIRUS = HEAD + b"\r\n" + EICAR + b"\r\n"


@pytest.fixture
def ours(shop: Shop) -> Shop:
    shop.add("anna", "ben")
    return shop


def typed(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))


# Values


def test_what_holds_is_shown_with_who_said_it(ours):
    before = ours.run("policy", "show", "--domain", DOMAIN, "--json").json["policy"]
    assert before["spam_threshold"] == {"value": 5.0, "from": "the setting spam_threshold"}
    assert before["virus"] == {"value": "quarantine", "from": "the default"}
    done = ours.run(
        "policy", "set", "--domain", DOMAIN, "--spam-threshold", "6", "--action", "spam=tag", "--prefix", "[SPAM]"
    )
    assert done.code == 0
    ours.run("policy", "set", "--address", ANNA, "--action", "spam=discard")
    mine = ours.run("policy", "show", "--address", ANNA, "--json").json["policy"]
    assert mine["spam_threshold"] == {"value": 6.0, "from": f"set for {DOMAIN}"}
    assert mine["spam"] == {"value": "discard", "from": f"set by {ANNA}"}
    shown = ours.run("policy", "show", "--address", ANNA)
    assert "discard" in shown.out
    assert f"set by {ANNA}" in shown.out


def test_what_was_set_is_taken_back_by_name_or_altogether_and_through_the_history(ours):
    ours.run("policy", "set", "--domain", DOMAIN, "--spam-threshold", "6", "--action", "spam=tag")
    ours.run("policy", "unset", "--domain", DOMAIN, "spam-threshold")
    found = ours.run("policy", "show", "--domain", DOMAIN, "--json").json["policy"]
    assert (found["spam_threshold"]["value"], found["spam"]["value"]) == (5.0, "tag")
    ours.run("policy", "unset", "--domain", DOMAIN)
    assert ours.run("policy", "show", "--domain", DOMAIN, "--json").json["policy"]["spam"]["value"] == "quarantine"
    history = ours.run("directory", "history", "--limit", "1")
    assert "policy: spam tag -> none" in history.out
    number = ours.run("directory", "history", "--json").json["changes"][0]["change"]
    ours.run("directory", "revert", str(number), "--yes")
    assert ours.run("policy", "show", "--domain", DOMAIN, "--json").json["policy"]["spam"]["value"] == "tag"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "--domain", DOMAIN, "--action", "virus=deliver"], "a virus is never delivered"),
        (["set", "--domain", DOMAIN, "--action", "spam"], "expected CLASS=ACTION"),
        (["set", "--domain", DOMAIN, "--action", "spam=eat"], "no action 'eat'"),
        (["set", "--domain", DOMAIN, "--action", "ham=tag"], "no class 'ham'"),
        (["set", "--domain", DOMAIN, "--spam-threshold", "0"], "above 0"),
        (["set", "--domain", DOMAIN], "nothing was said"),
        (["set", "--spam-threshold", "4"], "whose policy"),
        (["set", "--address", ANNA, "--action", "content=deliver"], "not a person's to say"),
        (["set", "--address", ANNA, "--spam-threshold", "90"], "expected 2 to 15 for a person"),
        (["set", "--address", f"nobody@{DOMAIN}", "--action", "spam=tag"], "is not listed"),
        (["set", "--domain", "other.test", "--action", "spam=tag"], "no domain other.test"),
        (["show", "--address", "anna@other.test", "--domain", DOMAIN], "is not of"),
        (["unset", "--domain", DOMAIN, "colour"], "nothing is called 'colour'"),
    ],
)
def test_nonsense_is_refused_with_a_remedy(ours, words, said):
    done = ours.run("policy", *words)
    assert done.code != 0
    assert said in done.err


# Lists


def test_entries_are_added_listed_changed_and_removed(ours):
    assert "2 added" in ours.run("policy", "allow", "partner.example", "192.0.2.0/24", "--note", "ours").out
    assert "1 added" in ours.run("policy", "block", "country:xx", "--domain", DOMAIN, "--until", "2099-01-31").out
    assert "1 changed" in ours.run("policy", "block", "PARTNER.example").out
    assert "1 unchanged" in ours.run("policy", "block", "partner.example").out
    ours.run("policy", "block", "news@shop.example", "--address", ANNA)
    rows = ours.run("policy", "list", "--json").json["entries"]
    assert [(row["entry"], row["action"], row["note"]) for row in rows] == [
        ("192.0.2.0/24", "allow", "ours"), ("partner.example", "block", ""),
    ]  # fmt: skip
    (row,) = ours.run("policy", "list", "--domain", DOMAIN, "--json").json["entries"]
    assert (row["entry"], row["expires"], row["counts"]) == ("country:XX", "2099-02-01T00:00:00.000000Z", True)
    assert "news@shop.example" in ours.run("policy", "list", "--address", ANNA).out
    assert "news@shop.example" in ours.run("policy", "list", "--domain", DOMAIN, "--people").out
    assert "news@shop.example" not in ours.run("policy", "list", "--domain", DOMAIN).out
    removed = ours.run("policy", "remove", "partner.example", "nobody.example")
    assert "1 removed, 1 not listed" in removed.out
    assert len(ours.run("policy", "list", "--json").json["entries"]) == 1
    assert "for all domains: 1 removed" in ours.run("directory", "history", "--limit", "1").out


def test_an_entry_that_is_none_is_refused_and_nothing_is_changed(ours):
    done = ours.run("policy", "allow", "good.example", "192.0.2.7/24")
    assert done.code == 2
    assert "Write 192.0.2.0/24 for the network, or 192.0.2.7 for the one" in done.err
    assert ours.run("policy", "list", "--json").json["entries"] == []


def test_a_list_is_exported_and_imported_as_the_same(ours, monkeypatch):
    ours.run("policy", "allow", "partner.example", '"a b"@x.example', "--note", 'says "hi", often')
    ours.run("policy", "block", "*@*.news.example", "country:XX", "--until", "2099-01-31")
    exported = ours.run("policy", "export").out
    typed(monkeypatch, exported.encode())
    assert "4 added" in ours.run("policy", "import", "-", "--domain", DOMAIN).out
    assert ours.run("policy", "export", "--domain", DOMAIN).out == exported


def test_an_import_says_what_would_change_and_replaces_only_when_told_to(ours, tmp_path):
    ours.run("policy", "allow", "old.example", "same.example", "flips.example")
    ours.run("policy", "block", "mine.example", "--address", ANNA)
    file = tmp_path / "list.csv"
    file.write_text("entry,action\nsame.example,allow\nflips.example,block\nnew.example,block\n")
    preview = ours.run("policy", "import", str(file), "--preview", "--replace", "--json").json
    assert preview == {
        "of": "for all domains", "preview": True, "added": 1, "changed": 1, "unchanged": 1, "removed": 1,
    }  # fmt: skip
    assert (
        "would have: 1 added, 1 changed, 1 unchanged, 1 removed"
        in ours.run("policy", "import", str(file), "--preview", "--replace").out
    )
    refused = ours.run("policy", "import", str(file), "--replace")
    assert "Say it with --yes" in refused.err
    assert (
        "1 added, 1 changed, 1 unchanged, 1 removed"
        in ours.run("policy", "import", str(file), "--replace", "--yes").out
    )
    entries = {row["entry"]: row["action"] for row in ours.run("policy", "list", "--json").json["entries"]}
    assert entries == {"same.example": "allow", "flips.example": "block", "new.example": "block"}
    assert len(ours.run("policy", "list", "--address", ANNA, "--json").json["entries"]) == 1


def test_an_import_with_bad_lines_names_them_and_changes_nothing(ours, tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("good.example\nexample\n\n0.0.0.0/0\n")
    done = ours.run("policy", "import", str(file), "--as", "block")
    assert done.code == 2
    assert f"{file}:2: 'example' has no dot" in done.err
    assert f"{file}:4: 0.0.0.0/0 is half the world" in done.err
    assert "2 bad lines" in done.err
    assert ours.run("policy", "list", "--json").json["entries"] == []
    assert "neither allow nor block" in ours.run("policy", "import", str(file)).err


# Explaining


@pytest.mark.parametrize(
    ("line", "said"), [(b"\x00\xff\n", "10,000 bad lines in"), (b"%d.example\n", "more than 200,000 entries")]
)
def test_a_file_that_is_no_list_is_not_read_to_its_end(ours, tmp_path, line, said):
    file = tmp_path / "endless"
    with file.open("wb") as stream:
        stream.writelines(line % number if b"%" in line else line for number in range(250_000))
    done = ours.run("policy", "import", str(file), "--as", "block", "--domain", "example.com")
    assert done.code != 0
    assert said in done.err


def test_why_a_message_was_kept_is_explained_from_the_log(ours):
    message_id = ours.receive(ANNA)
    finding = Finding(name="LOUD", score=7.0, text="too loud \x1b[2J", kind="spam")
    decision = Decision(
        recipients=(ANNA,),
        action="quarantine",
        verdict="spam",
        why=("score 7 >= 5 (set for example.test)", "not counted: x"),
    )
    ours.append(
        message_id,
        lambda common: Scanned(
            **common, verdict="spam", score=7.0, findings=(finding,), decisions=(decision,), country="DE", subject="hi"
        ),
        lambda common: Quarantined(**common, recipients=(ANNA,), reason="spam", expires=time.time_ns() + 10**15),
    )
    shown = ours.run("policy", "explain", message_id)
    assert shown.code == 0
    for words in (
        "LOUD",
        "too loud \\x1b[2J",
        f"{ANNA}: kept in quarantine",
        "score 7 >= 5 (set for",
        "not counted: x",
        "DE",
    ):
        assert words in shown.out
    form = ours.run("policy", "explain", message_id, "--json").json
    assert form["decisions"][0]["why"] == list(decision.why)
    assert form["findings"][0]["name"] == "LOUD"


def test_of_clean_mail_there_is_nothing_to_explain_and_that_is_said(ours):
    message_id = ours.receive(ANNA)
    ours.append(message_id, lambda common: Scanned(**common, verdict="clean", score=0.3))
    shown = ours.run("policy", "explain", message_id)
    assert f"{ANNA}: delivered" in shown.out
    assert "the score is below what would keep it" in shown.out


def test_what_is_not_there_or_not_scanned_yet_cannot_be_explained(ours):
    assert ours.run("policy", "explain", ours.receive(ANNA)).code == 3
    assert ours.run("policy", "explain", "1nx9s4tkh2v6c8jq0d7w03").code == 3
    assert "release that did not keep why" in ours.run("policy", "explain", ours.quarantined()).out


# Scanning a file


@pytest.mark.parametrize(("content", "code"), [(CLEAN, 0), (VIRUS, 1)])
def test_a_file_is_scanned_without_any_gateway(shop, tmp_path, monkeypatch, content, code):
    monkeypatch.delenv("GATEPOST_REDIS_URL")
    file = tmp_path / "m.eml"
    file.write_bytes(content.replace(b"\r\n", b"\n"))
    done = shop.run("scan", str(file), "--no-dns")
    assert done.code == code
    assert not shop.data.exists()
    form = shop.run("scan", str(file), "--no-dns", "--json").json
    assert form["verdict"] == ("virus" if code else "clean")
    assert [one["name"] for one in form["findings"] if one["score"] > 5] == (["EICAR"] if code else [])
    assert form["sender"] == "some.one@a.example"
    assert len(form["decisions"]) == 1


def test_with_a_gateway_the_policy_and_the_lists_of_the_domain_count(ours, tmp_path, monkeypatch):
    typed(monkeypatch, CLEAN)
    ours.run("policy", "block", "192.0.2.0/24", "--domain", DOMAIN)
    ours.run("policy", "allow", "a.example", "--address", ANNA)
    words = ("--recipient", ANNA, "--recipient", f"ben@{DOMAIN}", "--client", "192.0.2.7", "--no-dns", "--json")
    done = ours.run("scan", "-", *words)
    assert done.code == 1
    assert {one["action"] for one in done.json["decisions"]} == {"quarantine"}
    why = [line for one in done.json["decisions"] for line in one["why"]]
    assert f"the client 192.0.2.7: block 192.0.2.0/24 of {DOMAIN}" in why
    assert f"not counted: allow a.example of {ANNA}, because the sender is not authenticated" in why


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.eml"], "cannot read missing.eml"),
        (["-", "--recipient", "a@x.test", "--recipient", "b@y.test"], "several domains"),
        (["-", "--recipient", "nobody"], "not an address"),
        (["-", "--client", "here"], "is no IP address"),
        (["-", "--sender", "x y"], "not"),
    ],
)
def test_what_cannot_be_scanned_is_refused(shop, monkeypatch, words, said):
    typed(monkeypatch, CLEAN)
    done = shop.run("scan", *words)
    assert done.code == 2
    assert said in done.err
