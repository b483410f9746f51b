"""Sizes and durations as people read them: the same on a terminal, on a page and in a mail."""

from __future__ import annotations

from typing import Final

_SECOND: Final = 1_000_000_000
_AGES: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def size(octets: int) -> str:
    """`512 B`, `1.2 KiB`, `34 MiB`."""
    value = float(octets)
    for unit in _SIZES:
        if value < 1024 or unit == _SIZES[-1]:
            return f"{octets} B" if unit == "B" else f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
        value /= 1024
    raise AssertionError


def age(duration: int) -> str:
    """A duration of ns in at most two units: `0.4 ms`, `40 ms`, `1.2 s`, `12 s`, `4 min`, `2 h 10 min`, `6 d 3 h`."""
    seconds = max(0, duration) / _SECOND
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    first, second = (0, 1) if whole >= 86400 else (1, 2)
    big, rest = divmod(whole, _AGES[first][0])
    small = rest // _AGES[second][0]
    return f"{big} {_AGES[first][1]}" + (f" {small} {_AGES[second][1]}" if small else "")
