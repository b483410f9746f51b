"""Places in a log. An entry's id is Redis's clock in milliseconds and a number within that millisecond, so it says where it stands."""

from __future__ import annotations

from typing import Final, TypeAlias

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

Place: TypeAlias = tuple[int, int]
"""(milliseconds, number) of an entry: places of one log compare as its entries follow one another."""


def place_of(entry: str) -> Place:
    ms, _, number = entry.partition("-")
    return int(ms), int(number or 0)


def written(place: Place) -> str:
    """The id of the entry there."""
    return f"{place[0]}-{place[1]}"
