"""What a message is made of: what its author chose, each once, and never too much."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Client
from pipeline.scanning.bayes.network import network_words
from pipeline.scanning.bayes.words import MAX_LENGTH, MAX_WORDS, words
from pipeline.scanning.engine import Mail
from pipeline.scanning.relays import UNKNOWN
from tests.support.mail import HEAD, attachment, message, multipart, part


def of(content: bytes) -> list[str]:
    return words(Mail(message(), content))


def text(body: str) -> list[str]:
    return of(HEAD + part("text/plain; charset=utf-8", body.encode()))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("Cheap pills", {"cheap", "pills"}),
        ("FREE money", {"free", "shouted:free", "money"}),
        ("$1,000 or 50%", {"$0", "000", "or", "00%"}),
        ("don't e-mail", {"don't", "e-mail"}),
        ("a" * 45, {"a" * MAX_LENGTH, "long:4"}),
        ("Grüße über", {"grüße", "über"}),
        ("приобрести сейчас", {"приобрести", "сейчас"}),
        ("三菱化学", {"三菱", "菱化", "化学"}),
        ("สวัสดี", {"สว", "วั"}),
        ("one, one; ONE", {"one", "shouted:one"}),
    ],
)
def test_words_of_the_text(body, found):
    assert found <= set(text(body))


def test_the_subject_counts_apart_with_its_pairs():
    found = of(HEAD.replace(b"Subject: hello", b"Subject: Big sale!"))
    assert {"subject:big", "subject:^ big", "subject:big sale!", "subject:!"} <= set(found)
    assert "sale" not in found


def test_who_it_is_from_and_where_it_leads_count_three_times():
    found = of(HEAD + part("text/html", b'<a href="https://www.shop.example/x?y">here</a><a href="//192.0.2.7/">!</a>'))
    for word in ("from:a.example", "from:example", "link:www.shop.example", "link:shop.example"):
        assert {word, word + "~2", word + "~3"} <= set(found)
    assert "link:numeric" in found
    assert not any("192.0" in word for word in found)


def test_how_it_is_built_counts():
    page = part("text/html; charset=koi8-r", b"<form><input></form><img src=x><p hidden>secret</p><!-- x -->see")
    found = of(HEAD + multipart([page, attachment(b"x", "invoice.PDF.exe")]))
    assert {
        "type:multipart/mixed", "type:text/html", "charset:koi8-r", "file:exe", "html:only", "html:form", "html:hidden",
        "hidden:secret", "html:comments:1", "see",
    } <= set(found)  # fmt: skip


def test_what_its_way_here_added_does_not_count():
    content = HEAD + part("text/plain", b"hello")
    traced = (
        b"Received: from x by y; Mon, 1 Jan 2026 00:00:00 +0000\r\nX-Spam-Status: yes\r\nList-Id: <z>\r\n" + content
    )
    assert of(traced) == of(content)


NETWORK = ["client:192.0.0.0/16", "client:192.0.2.0/24", "helo:b.example", "helo:shape:a-0.a.a"]


@pytest.mark.parametrize(
    ("client", "found"),
    [
        (Client(address="192.0.2.7", helo="Mail-17.b.example"), NETWORK),
        (Client(address="192.0.2.7", helo="[192.0.2.7]"), [*NETWORK[:2], "helo:none", "helo:shape:[0.0.0.0]"]),
        (Client(address="2001:db8:5::7", helo=""), ["client:2001:db8::/32", "client:2001:db8:5::/48", "helo:none", "helo:shape:"]),
        (Client(address="::ffff:192.0.2.7", helo=""), [*NETWORK[:2], "helo:none", "helo:shape:"]),
        (Client(address="::c000:207", helo=""), ["client:::/32", "client:::/48", "helo:none", "helo:shape:"]),
        (Client(address="10.0.0.7", helo="laptop"), []),
        (UNKNOWN, []),
        (None, []),
    ],
)  # fmt: skip
def test_the_client_that_handed_it_to_us_counts_where_it_is_known(client, found):
    content = HEAD + part("text/plain", b"hello")
    about = msgspec.structs.replace(message(), client=client)
    assert [word for word in words(Mail(about, content)) if word not in of(content)] == found
    assert list(network_words(client)) == found


@given(st.text(max_size=400))
def test_any_greeting_has_words_of_bounded_length(helo):
    assert all(len(word) < 300 for word in network_words(Client(address="192.0.2.7", helo=helo)))


def test_a_word_counts_once_and_there_is_a_most_of_them():
    found = text(" ".join(f"word{chr(97 + a)}{chr(97 + b)}" for a in range(26) for b in range(26)) * 2)
    assert len(found) == len(set(found)) == MAX_WORDS


@given(st.binary(max_size=3000))
def test_any_octets_have_words(content):
    assert len(of(content)) <= MAX_WORDS


@given(st.text(max_size=500), st.text(max_size=100))
def test_any_text_has_words_of_bounded_length(body, subject):
    found = of(
        b"Subject: " + subject.encode("utf-8", "replace") + b"\r\n" + part("text/html", body.encode("utf-8", "replace"))
    )
    assert all(len(word) < 200 for word in found)


@pytest.mark.parametrize(
    "content", [b"a" * 300_000, b"<" * 300_000, b"a." * 150_000, b"-" * 300_000, "三".encode() * 100_000]
)
def test_long_runs_are_looked_at_to_a_bound(content):
    assert len(of(HEAD + part("text/html; charset=utf-8", content))) <= MAX_WORDS
