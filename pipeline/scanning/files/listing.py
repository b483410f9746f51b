"""What all readers of archives give: the names within, and where what they name may be read."""

from __future__ import annotations

from typing import Final, NamedTuple

from pipeline.scanning.files.octets import Octets

MAX_ENTRIES: Final = 20_000
MAX_NAME: Final = 1024


class Member(NamedTuple):
    name: str
    octets: Octets | None = None
    """As they stand in the archive; None when they cannot be had (encrypted, solid, an unknown method)."""
    method: str = "stored"
    """Of `unpacking`."""


class Listing(NamedTuple):
    members: tuple[Member, ...] = ()
    encrypted: bool = False
    """Some of the files."""
    hidden: bool = False
    """The names are encrypted too, or packed in a way that is not undone here."""
    cut: bool = False
    """There are more than are listed."""
    bomb: str = ""
    """Why it would fill a disk; empty: it would not."""


BOMB_RATIO: Final = 200
"""Unpacked to packed. Text has 3 to 30, the emptiest honest files some hundreds."""
BOMB_SIZE: Final = 256 << 20
"""Unpacked octets below which nobody is harmed."""


def bomb_of(unpacked: int, packed: int) -> str:
    """By what an archive says of itself."""
    if unpacked >= BOMB_SIZE and unpacked > BOMB_RATIO * max(packed, 1):
        return f"{packed:,} octets that unpack to {unpacked:,}"
    return ""
