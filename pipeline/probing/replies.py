"""What a server says about itself, in its greeting and in reply to EHLO. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MAX_FEATURES: Final = 100
"""Of one reply; real servers name some fifteen."""
MAX_NAME: Final = 255


def features(text: str) -> Mapping[str, str]:
    """Keyword in capitals -> its parameters, from a reply to EHLO (RFC 5321 4.1.1.1). The first line is the server's name."""
    found: dict[str, str] = {}
    for line in text.split("\n")[1 : MAX_FEATURES + 1]:
        keyword, _, parameters = line[4:].strip().partition(" ")
        # AUTH=LOGIN is how servers of the nineties wrote AUTH LOGIN, and many still say both.
        keyword, equals, old = keyword.partition("=")
        if keyword:
            found.setdefault(keyword.upper(), " ".join((old if equals else parameters).split()))
    return found


def largest(offered: Mapping[str, str]) -> int | None:
    """The size of a message that a server says it takes (RFC 1870): 0 means that it names no limit, None that it says nothing."""
    if "SIZE" not in offered:
        return None
    word = offered["SIZE"].partition(" ")[0]
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 18 else 0


def named(text: str) -> str:
    """The name by which a server calls itself in its greeting or its reply to EHLO; empty when that is none."""
    word = text.partition("\n")[0][4:].strip().partition(" ")[0][:MAX_NAME]
    return word.lower().rstrip(".")
