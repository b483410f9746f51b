"""Entries of allow and block lists: how they may be written, and which of them is the more specific."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.directory.lists.entries import ALLOW, BLOCK, EMPTY, Form, Rule, fits, parse, read
from pipeline.faults import ConfigurationError

ENTRIES = [
    ("anna@example.org", Form.ADDRESS, "anna@example.org"),
    ("Anna@EXAMPLE.org", Form.ADDRESS, "Anna@example.org"),
    ('"an na"@example.org', Form.ADDRESS, "an na@example.org"),
    ("info@bücher.example", Form.ADDRESS, "info@xn--bcher-kva.example"),
    ("anna@[192.0.2.7]", Form.ADDRESS, "anna@[192.0.2.7]"),
    ("example.org", Form.DOMAIN, "example.org"),
    ("@Example.ORG.", Form.DOMAIN, "example.org"),
    ("bücher.example", Form.DOMAIN, "xn--bcher-kva.example"),
    ("bounce-*@example.org", Form.WILD_LOCAL, "bounce-*@example.org"),
    ("*@*.News.example", Form.WILD_DOMAIN, "*@*.news.example"),
    ("newsletter@*", Form.WILD_DOMAIN, "newsletter@*"),
    ("192.0.2.0/24", Form.NETWORK, "192.0.2.0/24"),
    ("192.0.2.7", Form.NETWORK, "192.0.2.7/32"),
    ("2001:DB8::/32", Form.NETWORK, "2001:db8::/32"),
    ("[2001:db8::1]", Form.NETWORK, "2001:db8::1/128"),
    ("country:de", Form.COUNTRY, "DE"),
    (" Country: DE ", Form.COUNTRY, "DE"),
]
BAD = [
    ("", "is empty"),
    ("example", "has no dot"),
    ("*.example.org", "no pattern of addresses"),
    ("*", "no pattern of addresses"),
    ("*@*", "everybody"),
    ("a*b*c*d*e*f*@example.org", "more than 5"),
    ("*@bü*.example", "A-labels|no pattern of domain"),
    ("192.0.2.7/24", "bits behind"),
    ("192.0.2.0/33", "no network"),
    ("300.1.1.1", "no network"),
    ("10.0.0.0/4", "bits behind|half the world"),
    ("0.0.0.0/0", "half the world"),
    ("::/0", "half the world"),
    ("::ffff:192.0.2.0/120", "in disguise"),
    ("country:DEU", "no country"),
    ("country:", "no country"),
    ("anna@", "not an address"),
    ("anna@exa mple.org", "not an address"),
    ("an\x1bna@example.org", "not an address|control"),
    ("x" * 700, "too long"),
    ("exa_mple!.org", "not a domain"),
]


@pytest.mark.parametrize(("text", "form", "entry"), ENTRIES)
def test_an_entry_is_read_in_all_ways_to_write_it(text, form, entry):
    assert read(text) == (form, entry)


@pytest.mark.parametrize(("text", "form", "entry"), ENTRIES)
def test_what_is_stored_is_read_again_as_the_same(text, form, entry):
    word = f"country:{entry}" if form is Form.COUNTRY else entry
    if '"' not in text:
        assert read(word) == (form, entry)


@pytest.mark.parametrize(("text", "said"), BAD)
def test_what_is_no_entry_is_refused_with_the_reason(text, said):
    with pytest.raises(ConfigurationError, match=said):
        parse(text, BLOCK)


def test_what_an_entry_may_not_say_is_refused():
    with pytest.raises(ConfigurationError, match="neither allow nor block"):
        parse("example.org", "maybe")
    with pytest.raises(ConfigurationError, match="only an allow entry"):
        parse("example.org", BLOCK, content=True)
    with pytest.raises(ConfigurationError, match="only an allow entry"):
        parse("example.org", ALLOW, content=True, person="anna")
    with pytest.raises(ConfigurationError, match="a note has at most"):
        parse("example.org", ALLOW, note="a\x1b[2J")


def test_all_ways_to_write_an_address_are_one_entry():
    assert parse("Anna@Example.org", ALLOW).key == parse('"anna"@example.org', BLOCK).key
    assert parse("anna@example.org", ALLOW).key != parse("anna@example.org", ALLOW, person="ben").key


def test_the_more_specific_entry_has_the_greater_rank():
    ordered = [
        "country:DE", "192.0.0.0/16", "192.0.2.0/24", "*@*.example.org", "example.org", "news.example.org", "a*@example.org",
        "anna@example.org",
    ]  # fmt: skip
    ranks = [parse(text, ALLOW).rank for text in ordered]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)


@given(st.lists(st.sampled_from(["a", "b", "ab", ""]), min_size=2, max_size=4), st.text(alphabet="ab", max_size=12))
def test_a_star_is_any_number_of_characters(pieces, text):
    expected = re.fullmatch(".*".join(pieces), text) is not None
    assert fits("*".join(pieces), text) is expected


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32", "country:DE", "*@*.x.example", "x.example"]
            ),
            st.sampled_from([ALLOW, BLOCK, ""]),
        ),
        max_size=20,
    )
)
def test_a_summary_that_is_kept_up_is_that_of_the_list(steps):
    there: dict[str, Rule] = {}
    summary = EMPTY
    for text, action in steps:
        rule = parse(text, action or ALLOW)
        before = there.get(rule.key)
        if action:
            summary = summary.changed(before, rule)
            there[rule.key] = rule
        elif before is not None:
            summary = summary.changed(before, None)
            del there[rule.key]
    anew = EMPTY
    for rule in there.values():
        anew = anew.changed(None, rule)
    assert summary == anew
    assert summary.entries == len(there)
