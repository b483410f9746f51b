"""What styles hide: elements that are not seen, as far as a style in the page says so, and letters in the colour of what is behind them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

MAX_SHEET: Final = 128 << 10
MAX_STYLE: Final = 2000
"""Characters of each that are looked at."""

_HIDDEN: Final = re.compile(
    r"display\s*+:\s*+none|visibility\s*+:\s*+(?:hidden|collapse)|font-size\s*+:\s*+0*+(?:1?(?:\.0*+)?(?:px|pt|em|%)?|\.\d++(?:px|pt)|\.0\d*+r?em)\s*+(?:;|!|\Z)"
    r"|(?<![\w-])(?:max-)?(?:height|width)\s*+:\s*+0(?:px)?\s*+(?:;|!|\Z)|opacity\s*+:\s*+(?:0*+\.0\d*+|0++)%?\s*+(?:;|!|\Z)|mso-hide\s*+:\s*+all"
    r"|(?<![\w-])(?:left|top|right|text-indent)\s*+:\s*+-\d{3}|clip\s*+:\s*+rect\(\s*+[01](?:px)?[\s,]|clip-path\s*+:\s*+inset\(\s*+(?:50|100)%",
    re.IGNORECASE,
)  # fmt: skip
_CSS_HIDES: Final = re.compile(r"/\*[^*]*+(?:\*(?!/)[^*]*+)*\*/|\\([0-9a-f]{1,6})\s?|\\(.)", re.IGNORECASE)
"""Comments and escapes (CSS Syntax 4.3)."""
_MEDIA: Final = re.compile(r"@[a-z-]++[^{};@]*+\{(?:[^{}]*+\{[^{}]*+\})*[^{}]*+\}", re.IGNORECASE)
"""Rules that hold for some screens only: what a narrow one hides is not hidden."""
_CLASS_RULE: Final = re.compile(r"\.([A-Za-z_][\w-]{0,63}+)\s*+\{([^{}]{0,2000}+)\}")
_COLOUR: Final = re.compile(
    r"(?<![\w-])(background(?:-color)?|color)\s*+:\s*+([#\w]++(?:\([\d\s,.%]*+\))?)", re.IGNORECASE
)
_SHORT_COLOUR: Final = re.compile(r"#([0-9a-f])([0-9a-f])([0-9a-f])")
_NAMED_COLOURS: Final = {"white": "#ffffff", "black": "#000000", "rgb(255,255,255)": "#ffffff", "rgb(0,0,0)": "#000000"}

Attributes = dict[str, str | None]


def hiding(sheets: Sequence[str]) -> frozenset[str]:
    """Classes that the style sheets of a page hide."""
    return frozenset(
        rule[1]
        for sheet in sheets
        for rule in _CLASS_RULE.finditer(_MEDIA.sub("", sheet[:MAX_SHEET]))
        if _hides(rule[2])
    )


def _hides(style: str) -> bool:
    style = style[:MAX_STYLE]
    if "\\" in style or "/*" in style:
        style = _CSS_HIDES.sub(_unescaped, style)
    return _HIDDEN.search(style) is not None


def _unescaped(match: re.Match[str]) -> str:
    number = int(match[1], 16) if match[1] else 0
    return chr(number) if 0 < number < 0x110000 else match[2] or ""


class _Style(NamedTuple):
    """What a style says of what is in its element."""

    hides: bool = False
    letters: str = ""
    """Their colour; empty where nothing is said."""
    behind: str = ""
    """The colour behind them."""


_NO_STYLE: Final = _Style()


class Styles:
    """Those of one page. Programs that write pages repeat the same styles all over: each is read once."""

    def __init__(self, classes: frozenset[str] = frozenset()) -> None:
        """`classes`: those that hide."""
        self._classes = classes
        self._read: dict[str, _Style] = {}

    def look(self, attributes: Attributes, ground: str) -> tuple[str, bool]:
        """The colour behind what is in an element, empty when it is not known, and whether it is not seen: hidden, or in the same colour."""
        text = attributes.get("style")
        style = (self._read.get(text) or self._first(text)) if text else _NO_STYLE
        letters, behind = style.letters or attributes.get("color"), style.behind or attributes.get("bgcolor")
        names = attributes.get("class")
        if behind:
            ground = _colour(behind)
        elif ground and (names is not None or "class" in attributes or "background" in attributes):
            # Its style is elsewhere, or a picture.
            ground = ""
        hidden = (
            style.hides
            or "hidden" in attributes
            or bool(letters and ground and _colour(letters) == ground)
            or bool(names and self._classes and not self._classes.isdisjoint(names.split()))
        )
        return ground, hidden

    def _first(self, text: str) -> _Style:
        letters = behind = ""
        if "olor" in text or "ackground" in text:
            for name, value in _COLOUR.findall(text[:MAX_STYLE]):
                if name.lower() == "color":
                    letters = _colour(value)
                else:
                    behind = _colour(value)
        style = self._read[text] = _Style(_hides(text), letters, behind)
        return style


def _colour(text: str) -> str:
    text = text.lower().replace(" ", "")
    text = _NAMED_COLOURS.get(text, text)
    short = _SHORT_COLOUR.fullmatch(text)
    return f"#{short[1] * 2}{short[2] * 2}{short[3] * 2}" if short else text
