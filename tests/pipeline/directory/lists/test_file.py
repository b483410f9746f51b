"""Allow and block lists as files: what is read, what is refused, and what is written is read as the same."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.directory.lists.entries import ALLOW, BLOCK, parse
from pipeline.directory.lists.file import MAX_LINE, moment, read, write
from pipeline.faults import ConfigurationError
from pipeline.units import SECOND


def found(text: bytes, **options: str) -> list[tuple[int, str]]:
    return [
        (line.number, f"{line.rule.action} {line.rule.entry}" if line.rule else line.fault)
        for line in read(text.splitlines(keepends=True), **options)
    ]


def test_an_entry_on_each_line_is_a_list():
    text = "\ufeffpartner.example\n\n# a comment\n  192.0.2.0/24  \r\ncountry:de\n".encode()
    assert found(text, action=ALLOW) == [(1, "allow partner.example"), (4, "allow 192.0.2.0/24"), (5, "allow DE")]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_says_more_of_each_entry(separator):
    text = "note,Entry,x,ACTION,content,expires\na,x.example,?,allow,yes,2027-01-31\nb,y.example,?,block,,\n"
    rules = [line.rule for line in read(text.replace(",", separator).encode().splitlines(keepends=True))]
    assert rules == [
        parse("x.example", ALLOW, note="a", content=True, expires=1_801_440_000 * SECOND),
        parse("y.example", BLOCK, note="b"),
    ]


def test_bad_lines_are_told_with_their_numbers_and_the_others_are_read():
    text = b"x.example\nexample\n192.0.2.7/24\n" + b"z" * (MAX_LINE + 9) + b"\n\xff\xfe\ny.example\n"
    pieces = [
        line[at : at + MAX_LINE + 1]
        for line in text.splitlines(keepends=True)
        for at in range(0, len(line), MAX_LINE + 1)
    ]
    lines = list(read(pieces, action=BLOCK))
    assert [(line.number, line.rule is None) for line in lines] == [
        (1, False), (2, True), (3, True), (4, True), (5, True), (6, False),
    ]  # fmt: skip
    assert [line.fault for line in lines if line.fault] == [
        "'example' has no dot", "192.0.2.7/24 has bits behind its prefix", "the line is too long", "not UTF-8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("x.example,maybe,,,", "neither allow nor block"),
        ("x.example,,,,", "neither allow nor block"),
        ("x.example,allow,,31.1.2027,", "is no date"),
        ("x.example,block,,,yes", "only an allow"),
        ("x.example,allow,,,perhaps", "neither yes nor no"),
        (",allow,,,", "is empty"),
        ('"x.example,allow', "unexpected end|expected after"),
    ],
)
def test_a_row_that_says_nonsense_is_bad(row, said):
    (line,) = read([b"entry,action,note,expires,content\n", row.encode() + b"\n"])
    assert line.rule is None
    assert any(part in line.fault for part in said.split("|"))


def test_a_day_lasts_to_its_end_and_a_moment_is_a_moment():
    assert moment("2027-01-31") - moment("2027-01-31T00:00:00Z") == 86400 * SECOND
    assert moment("") == 0
    for text in ("yesterday", "0001-01-01", "9999-12-31"):
        with pytest.raises(ConfigurationError):
            moment(text)


ENTRIES = st.one_of(
    st.sampled_from(["x.example", "192.0.2.0/24", "2001:db8::/32", "country:DE", "*@*.x.example", "a-*@x.example"]),
    st.from_regex(r'\A[A-Za-z0-9ü"=+ ,;]{1,8}@x\.example\Z').map(
        lambda text: text if text[0] != '"' else "x" + text[1:]
    ),
)


@given(ENTRIES, st.sampled_from([ALLOW, BLOCK]), st.text(max_size=20), st.integers(1, 1 << 32))
def test_what_is_written_is_read_as_the_same(entry, action, note, expires):
    local = entry.rpartition("@")[0]
    word = entry
    if local and "*" not in entry and not local.isalnum():
        word = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"@x.example'
    note = "".join(letter for letter in note if letter.isprintable()).strip()
    rule = parse(word, action, note=note, expires=expires * SECOND)
    (line,) = read([line.encode() for line in write([rule])])
    assert line.rule == rule


@pytest.mark.parametrize("begin", ["=", "+", "-", "'=", "''-"])
def test_no_cell_of_a_list_is_a_formula_to_a_spreadsheet(begin):
    """Who sends mail chooses the local part that a postmaster allows, exports and opens."""
    rule = parse(f"{begin}cmd/c@x.example", ALLOW, note="=1+1")
    _, line = write([rule])
    assert not [cell for cell in next(csv.reader([line])) if cell[:1] in ("=", "+", "-", "@")]
    (found,) = read([each.encode() for each in write([rule])])
    assert found.rule == rule


@given(st.lists(st.binary(max_size=60)))
def test_whatever_a_file_holds_each_line_is_an_entry_or_bad(lines):
    for line in read(lines, action=ALLOW):
        assert (line.rule is None) == bool(line.fault)
