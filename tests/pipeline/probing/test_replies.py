"""What a server says about itself is read, whatever it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.probing.replies import MAX_FEATURES, features, largest, named


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("250 mail.example", {}),
        ("250-mail.example\n250-PIPELINING\n250 SIZE 1000", {"PIPELINING": "", "SIZE": "1000"}),
        ("250-mail.example\n250-size 1000\n250 Starttls", {"SIZE": "1000", "STARTTLS": ""}),
        ("250-mail.example\n250-AUTH=LOGIN PLAIN\n250 AUTH LOGIN", {"AUTH": "LOGIN"}),
        ("250-mail.example\n250-\n250 DSN", {"DSN": ""}),
        ("250-PIPELINING\n250 DSN", {"DSN": ""}),
        ("", {}),
    ],
)
def test_what_a_server_offers_is_in_all_lines_but_the_first(text, found):
    assert features(text) == found


def test_no_more_than_a_hundred_offers_are_looked_at():
    text = "\n".join(["250-x", *(f"250-X{number}" for number in range(1000))])
    assert len(features(text)) == MAX_FEATURES


@pytest.mark.parametrize(
    ("parameters", "octets"),
    [("35883008", 35_883_008), ("0", 0), ("", 0), ("many", 0), ("10 20", 10), ("9" * 400, 0), ("٣", 0), ("-5", 0)],
)
def test_a_size_that_is_none_is_no_limit(parameters, octets):
    assert largest({"SIZE": parameters}) == octets


def test_a_server_may_say_nothing_of_sizes():
    assert largest({"DSN": ""}) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("220 Mail.Example. ESMTP", "mail.example"),
        ("220-mail.example\n220 hello", "mail.example"),
        ("220", ""),
        ("", ""),
    ],
)
def test_the_name_of_a_server_is_the_first_word(text, name):
    assert named(text) == name


@given(st.text())
def test_any_text_is_read(text):
    assert all(keyword == keyword.upper() for keyword in features(text))
    assert largest(features(text)) is None or largest(features(text)) >= 0
    assert len(named(text)) <= 3 * 255
