"""Lists of addresses as people have them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cli.lists import LONGEST, read


def found(text: bytes, domain: str = "") -> list[str]:
    listed = read(text.splitlines(keepends=True), domain)
    assert not listed.bad
    return [str(address) for address in listed.addresses]


def test_one_address_on_each_line_is_a_list():
    assert found(b"anna@example.test\n\n# a comment\n  Ben@EXAMPLE.test  \r\n") == [
        "anna@example.test",
        "Ben@example.test",
    ]


def test_a_header_that_names_a_column_makes_it_csv():
    assert found(b'name;Address\n"A; B";anna@example.test\n') == ["anna@example.test"]
    assert found(b"\xef\xbb\xbfaddress,name\nanna@example.test,Anna\n") == ["anna@example.test"]
    assert found(b"name\taddress\nAnna\tanna@example.test\n") == ["anna@example.test"]


def test_entries_without_a_domain_get_the_one_given():
    assert found(b"anna\nben@example.test\n", "example.test") == ["anna@example.test", "ben@example.test"]


def test_an_address_named_twice_is_listed_once():
    assert found(b'anna@example.test\nANNA@example.test\n"anna"@example.test\n') == ["anna@example.test"]


def test_every_bad_line_is_named_with_its_number():
    listed = read([b"anna@example.test\n", b"no address\n", b"\xff\xfe\n", b"x@other.test\n"], "example.test")
    assert [str(address) for address in listed.addresses] == ["anna@example.test"]
    assert list(listed.bad) == [2, 3, 4]
    assert listed.bad[4] == "x@other.test: is not of example.test"


def test_a_line_without_an_end_is_bad_and_counts_once():
    """The command reads a bounded number of octets at once, so an endless line comes in pieces."""
    piece = b"x" * (LONGEST + 1)
    listed = read([piece, piece, b"x\n", b"anna@example.test\n"])
    assert list(listed.bad) == [1]
    assert [str(address) for address in listed.addresses] == ["anna@example.test"]


def test_a_short_row_and_an_open_quote_are_bad_lines():
    listed = read([b"name,address\n", b"Anna\n", b'"Ben,ben@example.test\n'])
    assert list(listed.bad) == [2, 3]


@given(st.lists(st.binary(max_size=200)))
def test_whatever_a_file_holds_it_is_read_to_its_end(lines):
    listed = read(lines)
    assert len(listed.addresses) + len(listed.bad) <= max(1, len(lines))
