"""SPF records: which TXT record is one, and what of it is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.authentication.macros import Macro
from pipeline.authentication.spf_record import MAX_LOOKUPS, MAX_RECORD, read, records


@pytest.mark.parametrize(
    ("text", "one"),
    [
        (b"v=spf1", True), (b"v=spf1 ", True), (b"V=SPF1 -all", True), (b"v=spf1 \xff", True), (b"v=spf10", False), (b"v=spf1-all", False),
        (b"v=spf1\t-all", False), (b" v=spf1", False), (b"", False), (b"spf2.0/pra", False), (b"v=spf", False),
    ],
)  # fmt: skip
def test_a_record_is_told_by_its_version(text, one):
    assert records([b"other", text]) == ([text] if one else [])


def test_a_record_is_read_once():
    text = b"v=spf1 ip4:192.0.2.0/24 -all"
    assert read(text) is read(bytes(bytearray(text)))


def test_the_parts_of_a_record():
    record = read(
        b"v=spf1 a mx:%{d2}/24//64 ?PTR:x.example ip4:192.0.2.77/24 -ip6:2001:db8::/32 ~all exp=e.example. redirect=r.example"
    )
    assert record.problem == ""
    assert (record.redirect, record.explanation) == ("r.example", "e.example")
    assert [(term.kind, term.verdict) for term in record.terms] == [
        ("a", "pass"), ("mx", "pass"), ("ptr", "neutral"), ("ip4", "pass"), ("ip6", "fail"), ("all", "softfail"),
    ]  # fmt: skip
    a, mx, ptr, four, six, _ = record.terms
    assert (a.target, a.shift, a.shift6) == (None, 0, 0)
    assert (mx.target, mx.shift, mx.shift6) == ((Macro("d", 2, reverse=False, delimiters="", escape=False),), 8, 64)
    assert (ptr.target, ptr.text) == ("x.example", "?PTR:x.example")
    assert (four.version, four.network, four.shift) == (4, 0xC00002, 8)
    assert (six.version, six.network, six.shift) == (6, 0x20010DB8, 96)


@pytest.mark.parametrize(
    "terms",
    [
        "all:", "all/8", "-", "+-all", "!all", "include", "include:", "include:x", "include/x.example", "exists", "exists:", "a:", "a:/8",
        "a/", "a/033", "a/33", "a//129", "a/8/8", "a///8", "a/8//", "a/-1", "a:x.example/8//", "mx:x.example..", "ptr/8", "ptr:", "ip4",
        "ip4:", "ip4:1", "ip4:1.2.3", "ip4:1.2.3.4.5", "ip4:1.2.3.256", "ip4:01.2.3.4", "ip4:1.2.3.4/", "ip4:1.2.3.4/33", "ip4:1.2.3.4/08",
        "ip4:1.2.3.4//8", "ip4:2001:db8::", "ip4:1.2.3.4:25", "ip6", "ip6:", "ip6:1.2.3.4", "ip6::::", "ip6:2001:db8::/129", "ip6:2001:db8::/0x",
        "ip6:fe80::1%eth0", "ip6:[::1]", "foo", "foo:bar", "1a:x.example", "=x", "exp=", "exp=x", "redirect=", "redirect=x.example redirect=x.example",
        "exp=x.example -all exp=x.example", "-all foo=%", "-all foo=%{x}", "-all foo=%{c}", "a\t-all", "a:x.example;", "-all\0", "-all\x7f",
        "\u0130p4:1.2.3.4", "ip4:\u0661.2.3.4",
    ],
)  # fmt: skip
def test_a_syntax_error_anywhere_spoils_the_record(terms):
    record = read(f"v=spf1 {terms}".encode())
    assert record.problem
    assert record.problem.isascii()
    assert (record.terms, record.redirect, record.explanation) == ((), None, None)


@pytest.mark.parametrize(
    "terms",
    ["", "   ", "a=", "mx:x..example.", "-all  ", " a   -all", "A MX PTR ALL", "a/0", "a//0", "a/32//128", "a:a/b.example/8", "ip4:0.0.0.0/0", "ip6:::/0",
     "ip6:::ffff:192.0.2.1/120", "foo=", "foo=bar", "a=b", "all=1", "x-y.z_1=/!", "Redirect=x.example", "EXP=x.example", "exists:%{i}%_x.example"],
)  # fmt: skip
def test_what_is_odd_but_right_is_read(terms):
    assert read(f"v=spf1 {terms}".encode()).problem == ""


def test_a_record_that_is_too_long_is_wrong():
    assert read(b"v=spf1".ljust(MAX_RECORD)).problem == ""
    assert "longer" in read(b"v=spf1".ljust(MAX_RECORD + 1)).problem


def test_terms_that_no_evaluation_comes_to_are_checked_and_not_kept():
    assert len(read(b"v=spf1 a -all mx include:x.example").terms) == 2
    assert len(read(b"v=spf1" + b" a ip4:192.0.2.1" * 100).terms) == 2 * (MAX_LOOKUPS + 1) - 1
    assert read(b"v=spf1 -all mx include:x").problem


@given(st.binary(max_size=200) | st.text("v=spf1 amxptr:/.%{d}0123~?-+\u00fc\0", max_size=80).map(str.encode))
def test_any_octets_are_a_record_or_have_a_problem(octets):
    record = read(b"v=spf1 " + octets)
    assert record.problem == "" or (not record.terms and record.problem.isprintable())
    assert all(term.text.isascii() and term.text.isprintable() for term in record.terms)
