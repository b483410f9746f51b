"""Domain names of strangers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.authentication.names import a_labels


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.COM", "Example.COM"),
        ("a b", "a b"),
        ("Bücher.Example", "xn--bcher-kva.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("a\u2028.example", ""),
        ("\udcff.example", ""),
        ("ü" * 64 + ".example", ""),
        ("\u0660" * 250, ""),
        ("ü" * 100_000, ""),
        ("", ""),
    ],
)
def test_u_labels_become_a_labels_and_what_idna_refuses_nothing(text, name):
    assert a_labels(text) == name


@given(st.text(max_size=100))
def test_what_comes_out_is_ascii(text):
    assert a_labels(text).isascii()
