"""Tag lists: what the grammar of RFC 6376 allows, and nothing else."""

from __future__ import annotations

import base64

import pytest
from dkim.util import parse_tag_value
from hypothesis import given
from hypothesis import strategies as st

from pipeline.authentication import tags
from pipeline.authentication.tags import MAX_TAGS, Malformed, Tag


def values(text: bytes) -> dict[bytes, bytes]:
    return {name: tag.value for name, tag in tags.parse(text).items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", {}),
        (b"a=b", {b"a": b"b"}),
        (b"a=b;", {b"a": b"b"}),
        (b"a=b; ", {b"a": b"b"}),
        (b" a = b ; c=d e ;\r\n\t", {b"a": b"b", b"c": b"d e"}),
        (b"a=;b=c", {b"a": b"", b"b": b"c"}),
        (b"a=b=c==", {b"a": b"b=c=="}),
        (b"a=x\r\n\ty;A=z", {b"a": b"x\r\n\ty", b"A": b"z"}),
        (b"x_1=\xc3\xa9", {b"x_1": b"\xc3\xa9"}),
    ],
)
def test_lists_that_are_read(text, expected):
    assert values(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"a",
        b"=b",
        b"a=b;;c=d",
        b";a=b",
        b"a=b;;",
        b"1a=b",
        b"_a=b",
        b"a b=c",
        b"a-b=c",
        b"a=b;a=c",
        b"a=\0",
        b"a=\x1b[31m",
        b"a=\x7f",
        b"\xc3\xa9=b",
        b" ",
        b";".join(b"t%d=x" % number for number in range(MAX_TAGS + 1)),
    ],
)
def test_lists_that_are_not(text):
    with pytest.raises(Malformed):
        tags.parse(text)


def test_a_value_is_where_it_says():
    text = b"v=1; b = AB\r\n\tCD ;d=x"
    assert tags.parse(text)[b"b"] == Tag(b"AB\r\n\tCD", text.index(b" AB"), text.index(b";d"))


@given(st.text("abB1_=; \t", max_size=30).map(str.encode))
def test_what_is_read_is_read_as_dkimpy_reads_it(text):
    try:
        mine = values(text)
    except Malformed:
        return
    assert mine == (parse_tag_value(text) if text else {})


@given(st.binary(max_size=60))
def test_any_octets_are_a_list_or_malformed(text):
    try:
        found = tags.parse(text)
    except Malformed:
        return
    for tag in found.values():
        assert text[tag.start : tag.end].strip(b" \t\r\n") == tag.value


def test_a_megabyte_is_read_in_one_sweep():
    assert len(values(b"a=" + b"x" * (1 << 20))[b"a"]) == 1 << 20
    for hostile in (b"a" * (1 << 20), b"a=b;" * (1 << 18), b" " * (1 << 20), b"a" + b" " * (1 << 20)):
        with pytest.raises(Malformed):
            tags.parse(hostile)


@given(st.binary(min_size=1, max_size=40), st.integers(0, 10))
def test_base64_is_read_with_white_space_anywhere_and_padding_or_none(octets, width):
    text = base64.b64encode(octets)
    folded = b"\r\n\t".join(text[at : at + width + 1] for at in range(0, len(text), width + 1))
    assert tags.base64_value(folded) == tags.base64_value(text.rstrip(b"=")) == octets


@pytest.mark.parametrize("value", [b"", b"=", b"====", b"A", b"AB-_", b"AB=CD", b"AAAAA", b"\xc3\xa9AA", b"AA.A"])
def test_what_is_not_base64(value):
    with pytest.raises(Malformed):
        tags.base64_value(value)


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"0x1", b"1 2", b"9" * 77, "٣".encode(), b"+1"])
def test_what_is_not_a_number(value):
    with pytest.raises(Malformed):
        tags.number(value)


def test_a_number_of_76_digits_is_one():
    assert tags.number(b"9" * 76) == 10**76 - 1


def test_quoted_printable_is_utf_8_and_printable():
    assert tags.quoted_printable(b"J=C3=BCrgen\r\n =3Dx@a.example", 50) == "Jürgen=x@a.example"
    assert tags.quoted_printable("Jürgen@a.example".encode(), 50) == "Jürgen@a.example"
    for value in (b"=FF", b"a=0D=0Ab", b"=00", b"=E2=80=AEx", b"\xff"):
        with pytest.raises(Malformed):
            tags.quoted_printable(value, 50)
    with pytest.raises(Malformed):
        tags.quoted_printable(b"x" * 51, 50)
