"""Macros of SPF (RFC 7208 7): read once with their record, expanded for each message.

Whoever publishes a record writes the macro-strings in it, and whoever sends the message chooses what is put into them. So
nothing here depends on either: reading is linear in the text, and what comes out is ASCII or an exception.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

DOMAIN_LETTERS: Final = frozenset("slodiphv")
EXPLANATION_LETTERS: Final = DOMAIN_LETTERS | frozenset("crt")
"""What may stand in an explanation besides (RFC 7208 7.2)."""

MAX_NAME: Final = 253
"""Octets of a name in the DNS as text; what is longer loses labels on the left (RFC 7208 7.3)."""
MAX_VALUE: Final = 512
"""Characters of a value that are put in. The longest address that pipeline.address lets pass has 509."""
MOST_LABELS: Final = 128
"""More labels than a name can have, so as good as all of them."""
CACHED: Final = 256
"""Macros that are shared by all texts in which they are."""

_TOKEN: Final = re.compile(r"%\{([A-Za-z])([0-9]*+)([rR]?)([.+,/_=-]*+)\}|%([%_-])|([!-$&-~]++)|( ++)", re.ASCII)
_FIXED: Final = {"%": "%", "_": " ", "-": "%20"}
_TOP_LABEL: Final = re.compile(r"(?=[0-9]*+[A-Za-z-])[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?", re.ASCII)


class MacroError(ValueError):
    """Not a macro-string, or not a domain-spec. The text says why and quotes nothing of it."""


class UnusableError(ValueError):
    """A value that is not ASCII was to be put in: whatever asked for it does not match (RFC 8616 4)."""


class Macro(msgspec.Struct, frozen=True, gc=False):
    letter: str
    """In lower case."""
    keep: int
    """How many parts, counted from the right; 0: all."""
    reverse: bool
    delimiters: str
    escape: bool
    """Written as a capital: the value is percent-encoded."""


MacroString = tuple[str | Macro, ...]
Target = str | MacroString
"""A domain-spec: the name itself when there is no macro in it, as in nearly every record."""


def parse(text: str, letters: frozenset[str] = EXPLANATION_LETTERS) -> MacroString:
    """A macro-string; with EXPLANATION_LETTERS an explain-string, which may have spaces. Raises MacroError."""
    return _parse(text, letters)[0]


def domain_spec(text: str) -> Target:
    """What follows the colon of a mechanism or the equals sign of redirect and exp (RFC 7208 7.1). Raises MacroError.

    It ends in a macro, or in a dot and a top label that is no number.
    """
    parts, ends_in_macro = _parse(text, DOMAIN_LETTERS)
    if not ends_in_macro:
        tail = parts[-1].removesuffix(".") if parts and isinstance(parts[-1], str) else ""
        _, dot, label = tail.rpartition(".")
        if not dot or _TOP_LABEL.fullmatch(label) is None:
            raise MacroError("a domain does not end in a top-level label")
    if len(parts) == 1 and isinstance(parts[0], str):
        return _fitting(parts[0])
    return parts


def _parse(text: str, letters: frozenset[str]) -> tuple[MacroString, bool]:
    """(the parts, whether the last of them is written with a percent sign)."""
    parts: list[str | Macro] = []
    position, macro = 0, False
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or (match[7] and letters is not EXPLANATION_LETTERS):
            raise MacroError("a character or a macro that may not stand there")
        position, macro = match.end(), text[position] == "%"
        if match[1]:
            if match[1].lower() not in letters:
                raise MacroError("a macro letter that does not exist or may not stand there")
            parts.append(_macro(match[1], match[2], match[3], match[4]))
        else:
            parts.append(match[6] or match[7] or _FIXED[match[5]])
    return tuple(parts), macro


@functools.lru_cache(CACHED)
def _macro(written: str, digits: str, reverse: str, delimiters: str) -> Macro:
    digits, given = digits.lstrip("0"), bool(digits)
    if given and not digits:
        raise MacroError("a macro that keeps none of its parts")
    keep = int(digits or 0) if len(digits) < 4 else MOST_LABELS
    return Macro(written.lower(), keep, bool(reverse), delimiters, written.isupper())


def needs(string: Target, letter: str) -> bool:
    return not isinstance(string, str) and any(isinstance(part, Macro) and part.letter == letter for part in string)


def expand(string: MacroString, values: Mapping[str, str]) -> str:
    """`string` with its macros replaced; `values` by letter. Raises UnusableError."""
    return "".join([part if isinstance(part, str) else _expanded(part, values[part.letter]) for part in string])


def name(target: Target, values: Mapping[str, str]) -> str:
    """The name in the DNS that a domain-spec stands for, without a dot at its end. "" when nothing is left of it.

    Raises UnusableError.
    """
    return target if isinstance(target, str) else _fitting(expand(target, values))


def _expanded(macro: Macro, value: str) -> str:
    if not value.isascii():
        raise UnusableError
    value = value[:MAX_VALUE]
    if macro.keep or macro.reverse or macro.delimiters:
        delimiters = macro.delimiters or "."
        for other in delimiters[1:]:
            value = value.replace(other, delimiters[0])
        parts = value.split(delimiters[0])
        if macro.reverse:
            parts.reverse()
        value = ".".join(parts[-macro.keep :])
    return quote(value, safe="") if macro.escape else value


def _fitting(text: str) -> str:
    text = text.removesuffix(".")
    excess = len(text) - MAX_NAME
    if excess <= 0:
        return text
    dot = text.find(".", excess - 1)
    return text[dot + 1 :] if dot >= 0 else ""
