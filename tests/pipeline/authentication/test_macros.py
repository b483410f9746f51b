"""Macros of SPF: what they expand to, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.authentication import macros
from pipeline.authentication.macros import DOMAIN_LETTERS, MacroError, UnusableError

VALUES = {
    "s": "strong-bad@email.example.com", "l": "strong-bad", "o": "email.example.com", "d": "email.example.com",
    "i": "192.0.2.3", "v": "in-addr", "p": "mx.example.org", "h": "mx.example.org", "c": "192.0.2.3", "r": "unknown", "t": "1",
}  # fmt: skip
SIX = VALUES | {"i": ".".join("20010DB800000000000000000000CB01"), "v": "ip6"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
    ],
)
def test_the_examples_of_rfc_7208_expand_as_it_says(text, expanded):
    assert macros.expand(macros.parse(text, DOMAIN_LETTERS), VALUES) == expanded
    assert macros.name(macros.domain_spec(text), VALUES) == expanded


def test_the_example_for_ipv6_expands_to_one_label_for_each_digit():
    expanded = macros.name(macros.domain_spec("%{ir}.%{v}._spf.%{d2}"), SIX)
    assert expanded.lower() == ("1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com")


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("%{S}", "strong-bad%40email.example.com"),
        ("%%%_%-", "% %20"),
        ("a%{d005}", "aemail.example.com"),
        ("%{d127}", "email.example.com"),
        ("%{d99999999999999999999}", "email.example.com"),
        ("%{DR}", "com.example.email"),
        ("%{l1R-}", "strong"),
        ("%{s2-}", "strong.bad@email.example.com"),
        ("%{s1.-}", "com"),
        ("", ""),
    ],
)  # fmt: skip
def test_transformers_delimiters_and_capitals(text, expanded):
    assert macros.expand(macros.parse(text), VALUES) == expanded


@pytest.mark.parametrize(
    "text",
    ["%", "%%%", "%{", "%{d", "%{}", "%{d0}", "%{d00r}", "%{x}", "%{dd}", "%{d-2}", "%{d2rr}", "%{d@}", "%(d)", "%a", "a b", "\t", "ä"],
)  # fmt: skip
def test_what_is_no_macro_string_is_refused(text):
    with pytest.raises(MacroError):
        macros.parse(text, DOMAIN_LETTERS)
    with pytest.raises(MacroError):
        macros.domain_spec(text)


@pytest.mark.parametrize("letter", "crt")
def test_some_macros_and_the_space_are_for_explanations_only(letter):
    assert macros.parse(f"a %{{{letter}}} b")
    with pytest.raises(MacroError):
        macros.parse(f"%{{{letter}}}", DOMAIN_LETTERS)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("a.b", True), ("a.b.", True), ("a.b..", False), ("b", False), ("b.", False), (".b", True), ("a.1", False), ("a.1a", True),
        ("a.a1", True), ("a.1-1", True), ("a.-a", False), ("a.a-", False), ("a.b/c", False), ("/x.y", True), ("a.b_c", False),
        ("%{d}", True), ("%%", True), ("a%-", True), ("%{d}.b", True), ("%{d}b", False), ("%{d}b.c", True), ("a.%%com", False), ("", False),
    ],
)  # fmt: skip
def test_a_domain_ends_in_a_macro_or_a_top_label(text, valid):
    if valid:
        macros.domain_spec(text)
    else:
        with pytest.raises(MacroError):
            macros.domain_spec(text)


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("a." * 126 + "b", "a." * 126 + "b"),
        ("x." + "a." * 126 + "b", "a." * 126 + "b"),
        ("xx." + "a." * 126 + "b", "a." * 126 + "b"),
        ("y" * 60 + "." + "a." * 125 + "b", "a." * 125 + "b"),
        ("a" * 254, ""),
        ("a." * 150 + "b.", "a." * 126 + "b"),
    ],
)
def test_a_name_that_is_too_long_loses_labels_on_the_left(name, left):
    assert macros.name(macros.domain_spec("%{l}"), {"l": name}) == left
    if "." in name:
        assert macros.domain_spec(name) == left


def test_what_is_put_in_is_bounded():
    assert len(macros.expand(macros.parse("%{l}%{l}"), {"l": "x" * 100_000})) == 2 * macros.MAX_VALUE


def test_a_value_that_is_not_ascii_cannot_be_used():
    with pytest.raises(UnusableError):
        macros.expand(macros.parse("a%{l}"), {"l": "jörg"})


texts = st.lists(
    st.sampled_from(["%{", "}", "%", "%%", "%_", "a", ".", "-", "1", "r", "d", "S", "/", " ", "ü", "%{d}", "%{l1r-}", "%{P}", "b.example"]),
    max_size=30,
).map("".join)  # fmt: skip


@given(texts, st.text(max_size=400))
def test_any_text_is_a_domain_or_no_macro_string_and_any_value_fits_or_is_unusable(text, value):
    try:
        target = macros.domain_spec(text)
    except MacroError:
        return
    try:
        name = macros.name(target, dict.fromkeys("slodiphv", value))
    except UnusableError:
        assert not value.isascii()
        return
    assert len(name) <= macros.MAX_NAME
    assert name.isascii()


@given(st.from_regex(r"[a-z.+,/_=-]{0,40}", fullmatch=True), st.sampled_from(["", "r"]), st.integers(1, 9))
def test_the_parts_that_are_kept_are_parts_of_the_value(value, reverse, keep):
    got = macros.expand(macros.parse(f"%{{l{keep}{reverse}.-}}"), {"l": value})
    parts = value.replace("-", ".").split(".")
    if reverse:
        parts.reverse()
    assert got == ".".join(parts[-keep:])
