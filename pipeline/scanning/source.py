"""The source of a page, made fit to be parsed: what a browser would show is the same, and what it costs grows with the page alone.

A parser looks through all open elements at each tag, opens anew at each paragraph what was left open in the one before (HTML 13.2.4.3), and
lets anything nest in drawings. Twelve thousand characters that make use of it are a million elements. Pages that could are told by how
often they open what; all others, which are all honest ones, are left as they are.
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
FEW: Final = 600
"""Tags that can do no harm, whatever they are."""
MAX_COPIES: Final = 100_000
"""Elements that a page may have the parser make of those that it left open: 30 MiB. That many could come of half as many tags at worst."""

_WIDE: Final = re.compile(r"\s\s{63,}+")
_SAMPLE: Final = 8
_SAMPLED: Final = re.compile(r"\s{8}")
_MARK: Final = re.compile(r"[<>]")
# Outlook shows what stands in <!--[if mso]> ... <![endif]-->; its targets are links as well.
CONDITIONAL: Final = re.compile(r"\s*+\[if\b[^\]]{0,100}+\]>", re.IGNORECASE)
_OPENING: Final = re.compile(r"<([a-zA-Z][^\s/<>]{0,20}+)")
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][^\s/<>]{0,20}+)[^<>]*+>?")
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
    tags = text.count("<")
    if tags <= FEW:
        return text
    opened: Counter[str] = Counter()
    for name, number in Counter(_OPENING.findall(text)).items():
        opened[name.lower()] += number
    flat = sum(opened[name] for name in _FLAT)
    plain: set[str] = set()
    if sum(opened[name] for name in _FORMATTING) * tags > MAX_COPIES:
        plain |= _FORMATTING
    if flat > 2 * DEEP and not _FOREIGN.isdisjoint(opened):
        plain |= _FOREIGN
    if plain:
        text = _renamed(text, plain)
    return _shallow(text) if opened.total() - flat > DEEP else text


def _renamed(text: str, names: Iterable[str]) -> str:
    """With elements in place of these that are nothing special."""
    return re.sub(rf"<(/?)(?=(?:{'|'.join(sorted(names))})(?![^\s/>]))", r"<\1x-", text, flags=re.IGNORECASE)


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
