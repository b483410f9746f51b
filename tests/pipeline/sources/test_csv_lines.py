"""Lists of addresses as people have them, with kinds and targets. What a plain list may look like: tests/cli/test_lists.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.address import Address
from pipeline.sources.csv_lines import MAX_LINE, Line, read


def lines(text: str, domain: str = "") -> list[Line]:
    return list(read(text.encode().splitlines(keepends=True), domain))


def test_a_header_may_name_kinds_and_targets():
    assert lines(
        "Kind,name,TARGETS, address\n"
        "Mailbox,Anna,,anna@example.test\n"
        ',"Müller, Ben",,ben@example.test\n'
        'GROUP,Team,"anna@example.test, ben@EXAMPLE.test;guest@elsewhere.test",team@example.test\n'
        "alias,,anna@example.test|ben@example.test,both@example.test\n"
        "forwarder,,  anna@example.test  ,info@example.test\n"
    ) == [
        Line(2, Address("anna", "example.test")),
        Line(3, Address("ben", "example.test")),
        Line(
            4,
            Address("team", "example.test"),
            "group",
            ("anna@example.test", "ben@example.test", "guest@elsewhere.test"),
        ),
        Line(5, Address("both", "example.test"), "alias", ("anna@example.test", "ben@example.test")),
        Line(6, Address("info", "example.test"), "forwarder", ("anna@example.test",)),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_fields_are_separated_as_the_header_is(separator):
    text = f"address{separator}kind{separator}targets\ng@x.test{separator}group{separator}a@x.test b@x.test\n"
    assert lines(text) == [Line(2, Address("g", "x.test"), "group", ("a@x.test", "b@x.test"))]


def test_a_row_may_end_before_kind_and_targets():
    assert lines("address;kind;targets\na@x.test\nb@x.test;alias\n") == [
        Line(2, Address("a", "x.test")),
        Line(3, Address("b", "x.test"), "alias"),
    ]


def test_addresses_and_targets_without_a_domain_get_the_one_given():
    assert lines("address,kind,targets\nteam,group,anna ben@else.test\n", "x.test") == [
        Line(2, Address("team", "x.test"), "group", ("anna@x.test", "ben@else.test"))
    ]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("a@x.test,person,", "a@x.test,person,: person is no kind; expected mailbox, alias, group, forwarder"),
        ("a@x.test,group,broken", "a@x.test,group,broken: not an address; expected local@domain"),
        (",group,", ",group,: the address is empty"),
    ],
)
def test_a_bad_row_says_what_is_wrong_with_it(row, fault):
    assert lines(f"address,kind,targets\n{row}\nb@x.test\n") == [
        Line(2, None, fault=fault),
        Line(3, Address("b", "x.test")),
    ]


def test_a_byte_order_mark_a_comment_and_empty_lines_are_skipped_and_counted():
    assert lines("\ufeff# our people\n\naddress\n  \nanna@x.test\n") == [Line(5, Address("anna", "x.test"))]


def test_the_first_line_that_says_something_is_the_header_or_none_is():
    assert lines("anna@x.test\naddress\n")[1].fault == "address: not an address; expected local@domain"


def test_a_line_that_is_too_long_is_bad():
    found = lines(f"a@x.test\n{'x' * MAX_LINE}y\nb@x.test\n")
    assert [line.fault for line in found] == ["", "the line is too long", ""]


@given(st.lists(st.binary(max_size=100)), st.sampled_from([b"", b"address,kind,targets\n", b"kind;address\n"]))
def test_every_line_that_says_something_comes_out_once(some, header):
    found = list(read([*([header] if header else []), *some], "x.test"))
    assert len(found) <= len(some) + (not header)
    assert [line.number for line in found] == sorted(line.number for line in found)
    assert all((line.address is None) == bool(line.fault) for line in found)
