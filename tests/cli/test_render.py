"""How things look."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest

from cli import render
from cli.render import Screen, clean

SECOND = 1_000_000_000
AT = 1_795_431_600_123_456_789


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\nlines\rback", "two\\x0alines\\x0dback"),
        ("\u202eevil", "\\u202eevil"),
        ("\u2028", "\\u2028"),
        ("\x9b31m", "\\x9b31m"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("[bold]no markup[/bold]", "[bold]no markup[/bold]"),
    ],
)
def test_text_of_strangers_does_nothing_to_a_terminal(text, shown):
    assert clean(text) == shown
    assert clean(text).isprintable()


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (0, "0.0 ms"), (400_000, "0.4 ms"), (40_000_000, "40 ms"), (SECOND, "1.0 s"), (12 * SECOND, "12 s"),
        (59.7 * SECOND, "1 min"), (240 * SECOND, "4 min"), (3600 * SECOND, "1 h"), (7800 * SECOND, "2 h 10 min"),
        (86400 * SECOND, "1 d"), (7 * 86400 * SECOND - SECOND, "6 d 23 h"), (-5, "0.0 ms"),
    ],
)  # fmt: skip
def test_a_duration_is_said_in_two_units_at_most(duration, words):
    assert render.age(int(duration)) == words


@pytest.mark.parametrize(
    ("octets", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1300, "1.3 KiB"), (35_883_008, "34 MiB"), (5 << 50, "5120 TiB")],
)
def test_a_size_is_said_in_binary_units(octets, words):
    assert render.size(octets) == words


def test_a_moment_is_said_relative_to_now():
    assert render.relative(AT + 660 * SECOND, AT) == "in 11 min"
    assert render.relative(AT - 240 * SECOND, AT) == "4 min ago"
    assert render.relative(AT + 1, AT) == "now"


def test_machines_get_rfc_3339_in_utc_with_microseconds():
    assert render.rfc3339(AT) == "2026-11-23T11:00:00.123456Z"
    assert render.rfc3339(AT // SECOND * SECOND) == "2026-11-23T11:00:00.000000Z"
    assert render.rfc3339(0) is None


def test_counts_have_their_plural_and_thousands():
    assert render.count(1, "message") == "1 message"
    assert render.count(12345, "message") == "12,345 messages"
    assert render.count(2, "address", "addresses") == "2 addresses"


def test_json_is_ascii_and_indented():
    stream = io.StringIO()
    render.document({"subject": "Grüße \x1b\u202e"}, stream)
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()
    assert json.loads(stream.getvalue()) == {"subject": "Grüße \x1b\u202e"}


def test_a_pipe_gets_whole_lines_without_colours_or_trailing_spaces(capsys):
    screen = Screen()
    screen.table(["id", ">size", "subject"], [[("a" * 30, "bold"), "7", "x" * 300], ["b", "1,000", "[red]y"]])
    screen.say(("done", "green"))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{'ID':<30}   SIZE  SUBJECT",
        f"{'a' * 30}      7  {'x' * 300}",
        f"{'b':<30}  1,000  [red]y",
        "done",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_that_is_too_wide_for_the_terminal_becomes_blocks_and_loses_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    Screen().table(["id", ">size", "subject"], [["a" * 22, "7", "x" * 30], ["b", "", "y"]])
    said = re.sub(r"\x1b\[[0-9;]*m", "", sys.stdout.getvalue())
    assert said == f"{'a' * 22}\n  size 7 · subject {'x' * 30}\nb\n  subject y\n"


def test_facts_leave_out_what_is_not_known(capsys):
    Screen().facts([("from", "a"), ("subject", ""), ("to", ("b", "bold"))])
    assert capsys.readouterr().out == "from  a\nto    b\n"


def test_a_reply_keeps_its_lines_and_nothing_else(capsys):
    Screen().quote("450-one\x1b\n450 two\r", 2)
    assert capsys.readouterr().out == "  │ 450-one\\x1b\n  │ 450 two\\x0d\n"
