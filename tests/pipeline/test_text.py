"""Nothing of a stranger's text drives a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße aus Köln", "Grüße aus Köln"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("invoice\u202excod.exe", "invoice\\u202excod.exe"),
        ("a\nb", "a\\nb"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
    ],
)
def test_what_is_not_visible_is_written_out(text, shown):
    assert printable(text) == shown


def test_line_ends_stay_where_they_are_wanted():
    assert printable("450 a\n450 b\r", keep="\n") == "450 a\n450 b\\r"


@given(st.text())
def test_the_result_can_be_encoded_and_has_no_control_character(text):
    shown = printable(text)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    shown.encode("utf-8")
