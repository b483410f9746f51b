"""The names in a ZIP (APPNOTE 4.3.7, 4.3.12), found in one pass over the decoded part.

Both kinds of header are taken wherever they stand: programs differ in whether they trust the local headers or the central
directory, some find an archive behind other octets, and an archive stored within the archive shows its names too. Nothing is
unpacked, so there is no bomb to fear.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from pipeline.mime import Part

MAX_ENTRIES: Final = 20_000
"""Headers looked at; an entry has two of them."""
_MAX_NAME: Final = 1024
# Signature, version needed below 10.0, flags, method below 100: enough to tell a header from octets that look like one by chance.
_HEADER: Final = re.compile(rb"PK(?:\x03\x04|\x01\x02[\x00-\xff]{2})[\x00-\x63][\x00-\xff]{3}[\x00-\x63]\x00")
_LOCAL: Final = struct.Struct("<6xH18xH2x")
_CENTRAL: Final = struct.Struct("<8xH18xH16x")
"""Flags and length of the name; behind it the name. 30 and 46 octets."""
_BEGINNINGS: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_LONGEST: Final = _CENTRAL.size + _MAX_NAME
_ENCRYPTED: Final = 0x0001
_UTF8: Final = 0x0800


class Entry(NamedTuple):
    name: str
    encrypted: bool


def is_zip(part: Part) -> bool:
    """By its first octets, its type or its name."""
    return (
        part.head.startswith(_BEGINNINGS)
        or "zip" in part.content_type
        or any(name.lower().endswith(".zip") for name in part.names)
    )


def zip_entries(part: Part) -> Iterator[Entry]:
    """At most MAX_ENTRIES, in order of appearance; each entry of a regular archive appears twice."""
    seen = 0
    for window, limit in _windows(part):
        for match in _HEADER.finditer(window):
            if match.start() >= limit:
                break
            entry = _entry(window, match.start())
            if entry is not None:
                yield entry
                seen += 1
                if seen == MAX_ENTRIES:
                    return


def _windows(part: Part) -> Iterator[tuple[bytes, int]]:
    """The part's octets in overlapping pieces; whatever begins before the number beside a piece is whole in it."""
    window = b""
    for piece in part.decoded():
        window += piece
        limit = max(len(window) - _LONGEST, 0)
        yield window, limit
        window = window[limit:]
    yield window, len(window)


def _entry(data: bytes, at: int) -> Entry | None:
    form = _LOCAL if data[at + 2] == 3 else _CENTRAL
    if len(data) - at < form.size:
        return None
    flags, length = form.unpack_from(data, at)
    octets = data[at + form.size : at + form.size + length]
    if not 0 < length <= _MAX_NAME or len(octets) < length:
        return None
    return Entry(_text(octets, flags), bool(flags & _ENCRYPTED))


def _text(octets: bytes, flags: int) -> str:
    if flags & _UTF8 or octets.isascii():
        return octets.decode("utf-8", "replace")
    return octets.decode("cp437")
