"""Tokens: nobody reads a word from them, and the same message has the same digest however it came here."""

from __future__ import annotations

import pytest

from pipeline.mime import Header
from pipeline.scanning.bayes import tokens as module
from pipeline.scanning.bayes.tokens import SIZE, Tokeniser, unpacked

KEY = bytes(range(32))
MAIL = (
    b"From: A <a@b.example>\r\nDate: Mon, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@b>\r\nSubject: x\r\n\r\nHello\r\n"
)


def digest(content: bytes, key: bytes = KEY) -> str:
    return Tokeniser(key).digest(content, Header(content))


def test_tokens_depend_on_the_key():
    ours, theirs = Tokeniser(KEY).tokens(["pills", "free"]), Tokeniser(bytes(32)).tokens(["pills", "free"])
    assert [len(token) for token in ours] == [SIZE, SIZE]
    assert not set(ours) & set(theirs)


def test_the_same_word_has_the_same_token_and_counts_once():
    tokeniser = Tokeniser(KEY)
    assert tokeniser.tokens(["a", "b", "a"]) == tokeniser.tokens(["a", "b"]) == Tokeniser(KEY).tokens(["a", "b"])


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 10)
    tokeniser = Tokeniser(KEY)
    before = tokeniser.tokens(map(str, range(25)))
    assert len(tokeniser._known) <= 10
    assert tokeniser.tokens(map(str, range(25))) == before


def test_lone_surrogates_are_words_too():
    assert len(Tokeniser(KEY).tokens(["\udc80"])) == 1


@pytest.mark.parametrize(
    "same",
    [
        b"Received: by us\r\n" + MAIL,
        MAIL.replace(b"\r\n", b"\n"),
        MAIL.replace(b"Subject: x", b"Subject: [SPAM] x"),
        MAIL + b"\r\n",
    ],
)
def test_a_message_is_the_same_with_what_its_way_added(same):
    assert digest(same) == digest(MAIL)


@pytest.mark.parametrize("other", [MAIL.replace(b"<1@b>", b"<2@b>"), MAIL.replace(b"Hello", b"Bye"), b"", b"\r\n\r\n"])
def test_other_messages_are_others(other):
    assert digest(other) != digest(MAIL)
    assert digest(MAIL, bytes(32)) != digest(MAIL)


def test_the_tokens_of_an_event_are_taken_apart_and_a_torn_one_left_out():
    assert unpacked(b"aaaaabbbbbcc") == [b"aaaaa", b"bbbbb"]
    assert unpacked(b"") == []
