"""Teaching the classifier at the command line."""

from __future__ import annotations

import io
import sys

import msgspec
import pytest

from cli.words import describe
from pipeline.events import Learned
from tests.cli.conftest import DOMAIN, Shop

MBOX = "From a@b Mon Nov 30 10:00:00 2026\nSubject: one\n\nfirst text here\nFrom here on\n\nFrom c@d Mon\nSubject: two\n\nsecond\n"


@pytest.fixture
def mails(tmp_path):
    """A folder with spam, one of other mail, and a mailbox of two."""
    for kind, text in (("spam", "cheap pills, buy now"), ("ham", "minutes of the meeting")):
        (tmp_path / kind / "cur").mkdir(parents=True)
        for number in range(3):
            path = tmp_path / kind / "cur" / f"{number}.eml"
            path.write_text(f"Subject: {kind} {number}\nMessage-ID: <{kind}{number}@x>\n\n{text} {number}\n")
    (tmp_path / "spam" / ".hidden").write_text("Subject: no\n\nno\n")
    (tmp_path / "spam" / "empty").write_text("\n")
    (tmp_path / "box.mbox").write_text(MBOX)
    return tmp_path


def tables(shop: Shop, *words: str) -> list[dict[str, object]]:
    shop.fold()
    found: list[dict[str, object]] = shop.run("learn", "status", *words, "--json").json["tables"]
    return found


def test_folders_are_learnt_once_and_what_is_no_message_is_said(shop: Shop, mails):
    shop.add()
    done = shop.run("learn", "spam", str(mails / "spam"))
    assert done.code == 0
    assert done.out.splitlines()[0] == "Learned 3 messages for all domains: 3 as spam, 0 as no spam."
    assert "passed over" in done.out
    assert "empty: empty" in done.out
    again = shop.run("learn", "spam", str(mails / "spam"), "--json").json
    assert (again["messages"], again["learned"], again["known_before"], len(again["problems"])) == (3, 0, 3, 1)
    (table,) = tables(shop)
    assert (table["domain"], table["spam"], table["ham"], table["missing_spam"], table["active"]) == (
        None,
        3,
        0,
        47,
        False,
    )
    assert table["last_how"] == "taught"


def test_both_kinds_are_learnt_in_turns(shop: Shop, mails):
    shop.add()
    done = shop.run(
        "learn", "both", "--spam", str(mails / "spam"), "--ham", str(mails / "ham"), "--ham", str(mails / "box.mbox")
    )
    assert done.out.splitlines()[0] == "Learned 8 messages for all domains: 3 as spam, 5 as no spam."
    shop.fold()
    out = shop.run("learn", "status").out
    assert "all domains" in out
    assert "needs 47 spam, 45 other" in out
    assert "gatepost learn both" in out


def test_a_domain_learns_for_itself_from_standard_input(shop: Shop, mails, monkeypatch):
    shop.add()
    shop.run("domain", "add", "alias.test", "--alias-of", DOMAIN)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Subject: x\n\nhello\n")))
    assert shop.run("learn", "ham", "-", "--domain", "alias.test").out.startswith(f"Learned 1 message for {DOMAIN}:")
    shared, own = tables(shop, "--domain", DOMAIN)
    assert (shared["ham"], own["domain"], own["ham"]) == (0, DOMAIN, 1)


def test_what_was_learnt_is_forgotten(shop: Shop, mails):
    shop.add()
    shop.run("learn", "spam", str(mails / "box.mbox"))
    done = shop.run("learn", "spam", "--forget", str(mails / "box.mbox"), str(mails / "ham"))
    assert done.out.splitlines()[0] == "Forgot 2 messages for all domains."
    (table,) = tables(shop)
    assert (table["spam"], table["words"]) == (0, 0)


def test_what_is_moved_to_the_other_kind_counts_there_alone(shop: Shop, mails):
    shop.add()
    shop.run("learn", "spam", str(mails / "ham"))
    assert shop.run("learn", "ham", str(mails / "ham"), "--json").json["learned"] == 3
    (table,) = tables(shop)
    assert (table["spam"], table["ham"]) == (0, 3)


def test_errors_say_what_can_be_done(shop: Shop, mails):
    shop.add()
    done = shop.run("learn", "spam", str(mails / "nowhere"))
    assert (done.code, "Name files, folders, or -" in done.err) == (2, True)
    done = shop.run("learn", "ham", str(mails / "ham"), "--domain", "unknown.test")
    assert (done.code, "no domain unknown.test" in done.err) == (3, True)


def test_a_lesson_in_words_says_who_gave_it():
    event = Learned(at=1, domain=DOMAIN, spam=True, tokens=b"", by="cli:a\x1bnna", how="reported")
    told = describe(event)
    assert (told.verb, told.text) == ("learned", f"that it is spam, for {DOMAIN}, by cli:a\\x1bnna (reported)")
    back = describe(msgspec.structs.replace(event, domain="", spam=False, undone=True))
    assert (back.verb, back.text) == ("forgot", "that it is no spam, for all domains, by cli:a\\x1bnna (reported)")
