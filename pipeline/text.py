"""Text from outside, made safe to show: on a terminal, in a log, on a page."""

from __future__ import annotations

import unicodedata
from typing import Final

_HARMFUL: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control and format characters (escape sequences, bidi overrides), surrogates, private use, line separators."""


def printable(text: str, *, keep: str = "") -> str:
    """`text` with everything that is not visible written as an escape; `keep`: characters that may stay, such as LF."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in _HARMFUL
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
