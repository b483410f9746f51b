"""How what is measured is written: the same for a log, a mail and a terminal, in any language."""

from __future__ import annotations

from typing import Final

from pipeline.text import printable
from pipeline.units import SECOND

MAX_DETAIL: Final = 500
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span(duration: int) -> str:
    """A duration of ns in at most two units: `12 s`, `4 min`, `2 h 10 min`, `6 d 3 h`."""
    seconds = max(0, duration) // SECOND
    for place, (unit, name) in enumerate(_UNITS):
        if seconds >= unit or unit == 1:
            rest = seconds % unit // _UNITS[place + 1][0] if unit > 60 else 0
            return f"{seconds // unit} {name}" + (f" {rest} {_UNITS[place + 1][1]}" if rest else "")
    raise AssertionError


def size(octets: int) -> str:
    """`512 B`, `1.2 GiB`."""
    value = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{octets} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def said(text: str) -> str:
    """Words of somebody else, in one line that does nothing."""
    return printable(" ".join(text.split()))[:MAX_DETAIL]
