"""The source of a page, made fit to be parsed: what is seen of it is the same, and what it costs grows with the page alone.

A parser looks through all open elements at each tag, opens anew at each paragraph what was left open in the one before (HTML 13.2.4.3), lets
anything nest in drawings, and compares each attribute with those before it. Twelve thousand characters that make use of it are a million
elements. Pages that could are told by how often they open what, as whether they close it takes a parser to say. In these such elements are
given other names, of elements that are nothing special: for who closes what he opens, it makes no difference.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

RUN: Final = 4000
"""Characters between tags that are kept of a page that is too large to be read whole."""
DEEP: Final = 1000
"""Elements within each other that are still told apart; honest pages have some fifty."""
MAX_ATTRIBUTES: Final = 1000
"""Of one tag; what follows them is text."""
MAX_WHOLES: Final = 50
"""Tags <html> and <body>: the attributes of each are added to those of the first."""
SHORT: Final = 200
"""Characters of a page that can do no harm, whatever it is made of."""
COPIES: Final = 2
"""For each of its characters a page may have the parser make so many elements of those that it left open, counted as if all were left open all over:
0.8 ms a KiB at most."""
MAX_COPIES: Final = 100_000
"""Of a page: 30 MiB."""

_WIDE: Final = re.compile(r"\s\s{63,}+")
_SAMPLE: Final = 8
_SAMPLED: Final = re.compile(r"\s{8}")
_MARK: Final = re.compile(r"[<>]")
# Outlook shows what stands in <!--[if mso]> ... <![endif]-->; its targets are links as well.
CONDITIONAL: Final = re.compile(r"\s*+\[if\b[^\]]{0,100}+\]>", re.IGNORECASE)
_OPENING: Final = re.compile(r"<([a-zA-Z][^\s/<>]{0,20}+)")
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][^\s/<>]{0,20}+)[^<>]*+>?")
# As a tokeniser reads it (HTML 13.2.5.32 to 37).
_ATTRIBUTE: Final = re.compile(
    r"[\s/]*+(?:[^\s/>=]|=)[^\s/>=]*+(?:\s*+=\s*+(?:\"[^\">]*+(?:\"|\Z)|'[^'>]*+(?:'|\Z)|[^\s>\"'][^\s>]*+)?)?"
)
_FLAT: Final = frozenset({
    "a", "area", "base", "body", "br", "col", "colgroup", "dd", "dt", "embed", "form", "frame", "head", "hr", "html", "img", "input", "li", "link", "meta", "option",
    "p", "param", "rp", "rt", "script", "source", "style", "tbody", "td", "tfoot", "th", "thead", "title", "tr", "wbr", "button", "select", "textarea",
})  # fmt: skip
"""Elements that do not nest in themselves, or that are looked for."""
_FORMATTING: Final = frozenset({
    "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
})  # fmt: skip
"""Elements that a parser opens anew when they were left open. Of links it does so with the last one only."""
_FOREIGN: Final = frozenset({"svg", "math"})
_WHOLES: Final = frozenset({"html", "body"})


def condensed(text: str) -> str:
    """Without comments, but for those that Outlook shows, without long runs of white space, and of all else between tags the beginning."""
    pieces: list[str] = []
    at = 0
    while (start := text.find("<!--", at)) >= 0 and (stop := text.find("-->", start + 4)) >= 0:
        kept = start if not CONDITIONAL.match(text, start + 4) else stop + 3
        pieces.append(text[at:kept])
        at = stop + 3
    pieces.append(text[at:])
    text = _clipped("".join(pieces))
    # A run of 64 has eight of every eighth character in it. Most pages have none, and looking at each of their characters takes long.
    return _WIDE.sub(" ", text) if _SAMPLED.search(text[::_SAMPLE]) else text


def _clipped(text: str) -> str:
    """Of each run without < and > the first `RUN` characters."""
    pieces: list[str] = []
    taken = at = 0
    while at + RUN < len(text):
        end = at + RUN + 1
        mark = max(text.rfind("<", at, end), text.rfind(">", at, end))
        if mark >= 0:
            at = mark + 1
            continue
        pieces.append(text[taken : at + RUN])
        following = _MARK.search(text, end)
        taken = at = following.start() if following else len(text)
    pieces.append(text[taken:])
    return "".join(pieces)


def tame(text: str) -> str:
    """What the parser is given."""
    if len(text) < SHORT:
        return text
    text = _parted(text)
    flat = formatting = wholes = others = 0
    special: set[str] = set()
    for name, number in Counter(_OPENING.findall(text)).items():
        lower = name.lower()
        if lower in _FLAT:
            flat += number
            wholes += number if lower in _WHOLES else 0
            continue
        others += number
        if lower in _FORMATTING or lower in _FOREIGN:
            special.add(lower)
            formatting += number if lower in _FORMATTING else 0
    plain: set[str] = set()
    if formatting and formatting * text.count("<") > min(COPIES * len(text), MAX_COPIES):
        plain |= special & _FORMATTING
    if flat > 2 * DEEP:
        plain |= special & _FOREIGN
    if wholes > MAX_WHOLES:
        plain |= _WHOLES
    if plain:
        text = _renamed(text, plain)
    return _shallow(text) if others > DEEP else text


def _parted(text: str) -> str:
    """With an end to tags of more attributes than an honest one has. Those with > in their attributes are not looked for: few of those are long."""
    pieces: list[str] = []
    taken = at = 0
    while at + 2 * MAX_ATTRIBUTES < len(text):
        mark = text.rfind(">", at, at + 2 * MAX_ATTRIBUTES)
        if mark >= 0:
            at = mark + 1
            continue
        end = text.find(">", at) % (len(text) + 1)
        tag = _OPENING.search(text, at, end)
        at = _cut(text, tag.end(), end) if tag else end
        if at < end:
            pieces += text[taken:at], ">"
            taken = at
    return "".join([*pieces, text[taken:]])


def _cut(text: str, at: int, end: int) -> int:
    """Where the attributes that begin `at` are too many, else their end."""
    for _ in range(MAX_ATTRIBUTES):
        attribute = _ATTRIBUTE.match(text, at, end)
        if attribute is None:
            return end
        at = attribute.end()
    return at


def _renamed(text: str, names: Iterable[str]) -> str:
    """With elements in place of these that are nothing special."""
    return re.sub(rf"<(/?)((?:{'|'.join(sorted(names))})(?![^\s/>]))", r"<\1x-\2", text, flags=re.IGNORECASE)


def _shallow(text: str) -> str:
    """Without the opening tags that would nest elements deeper than `DEEP`."""
    opened: dict[str, int] = {}
    depth = 0

    def kept(match: re.Match[str]) -> str:
        nonlocal depth
        name = match[2].lower()
        if name in _FLAT:
            return match[0]
        if match[1]:
            if opened.get(name):
                opened[name] -= 1
                depth -= 1
        elif depth >= DEEP:
            # What stands around it is not to become a tag.
            return " " if match.start() and text[match.start() - 1] == "<" else ""
        else:
            opened[name] = opened.get(name, 0) + 1
            depth += 1
        return match[0]

    return _TAG.sub(kept, text)
