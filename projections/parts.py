"""Which part of a view is about one domain, where that can be told from the key or from what is stored under it."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

import msgspec

ROWS: Final = "live"
"""The hash of rows, message id -> row, of the views that have one. A row begins with its domain."""
WHOLE_VIEW: Final = frozenset({"meta", "damaged"})
"""What cannot be read is nobody's."""


class Part(Enum):
    ALL = auto()
    """The key is about the domain."""
    SOME = auto()
    """Some of its fields are; `is_about` tells which."""
    SHARED = auto()
    """Some of it may be, and nobody can tell what: a rebuilt view of the domain alone has nothing that the live one has not."""
    NONE = auto()


def part_of(key: str, domain: str) -> Part:
    """What of a key is about a domain. Domains stand between or behind colons in all views: `d:example.com`."""
    _, *rest = key.split(":")
    if rest:
        return Part.ALL if domain in rest else Part.NONE
    if key in WHOLE_VIEW:
        return Part.NONE
    return Part.SOME if key == ROWS else Part.SHARED


def is_about(row: bytes, domain: str) -> bool:
    """Whether a row is a domain's; one that cannot be read is every domain's, so that somebody sees it."""
    try:
        return bool(_head(row).domain == domain)
    except (ValueError, msgspec.DecodeError):
        return True


class _Head(msgspec.Struct, array_like=True):
    domain: str


_head: Final = msgspec.msgpack.Decoder(_Head).decode
