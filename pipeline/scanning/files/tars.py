"""tar: POSIX ustar, GNU's long names and pax headers (POSIX pax, "ustar Interchange Format"), read in one pass over chunks.

What it holds is passed over and not kept, so that a compressed tar is looked through with a block in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pipeline.scanning.files.listing import MAX_ENTRIES, MAX_NAME, Listing, Member
from pipeline.scanning.files.octets import Octets

BLOCK: Final = 512
_MAX_LONG: Final = 64 << 10
"""Octets of a long name or a pax header; both have a path in them and little else."""
_LONG_NAME: Final = b"L"
_PAX: Final = b"xX"


class _Blocks:
    """Octets in chunks, taken by number; what is passed over is dropped."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""
        self._at = 0

    def take(self, length: int) -> bytes:
        """So many, or fewer at the end."""
        while len(self._held) - self._at < length:
            more = next(self._chunks, None)
            if more is None:
                break
            self._held = self._held[self._at :] + more
            self._at = 0
        piece = self._held[self._at : self._at + length]
        self._at += len(piece)
        return piece

    def skip(self, length: int) -> bool:
        """Whether there were so many."""
        while True:
            here = len(self._held) - self._at
            if length <= here:
                self._at += length
                return True
            length -= here
            self._held, self._at = next(self._chunks, b""), 0
            if not self._held:
                return False


def read_tar(octets: Octets) -> Listing:
    """Of one that is not compressed, whose files can be looked into where they are."""
    members: list[Member] = []
    at, long_name = 0, ""
    while len(members) < MAX_ENTRIES:
        header = octets.read(at, BLOCK)
        size = _size(header)
        if size is None:
            return Listing(tuple(members))
        kind = header[156:157]
        if kind == _LONG_NAME or kind in _PAX:
            long_name = _long(kind, octets.read(at + BLOCK, min(size, _MAX_LONG))) or long_name
        else:
            members.append(Member(long_name or _name(header), octets.window(at + BLOCK, at + BLOCK + size)))
            long_name = ""
        at += BLOCK + _padded(size)
    return Listing(tuple(members), cut=True)


def read_tar_stream(chunks: Iterator[bytes]) -> Listing:
    """Of one that comes out of a decompressor: names only."""
    blocks = _Blocks(chunks)
    members: list[Member] = []
    long_name = ""
    while len(members) < MAX_ENTRIES:
        header = blocks.take(BLOCK)
        size = _size(header)
        if size is None:
            return Listing(tuple(members))
        kind = header[156:157]
        left = _padded(size)
        if kind == _LONG_NAME or kind in _PAX:
            data = blocks.take(min(size, _MAX_LONG))
            left -= len(data)
            long_name = _long(kind, data) or long_name
        else:
            members.append(Member(long_name or _name(header)))
            long_name = ""
        if not blocks.skip(left):
            return Listing(tuple(members))
    return Listing(tuple(members), cut=True)


def _size(header: bytes) -> int | None:
    """Of what follows the header; None: this is no header, and the archive is over."""
    if len(header) < BLOCK or not header[0]:
        return None
    field = header[124:136]
    if field[0] & 0x80:
        return int.from_bytes(field[4:], "big")
    digits = field.strip(b"\0 ")
    if not digits:
        return 0
    try:
        size = int(digits, 8)
    except ValueError:
        return None
    return size if size >= 0 else None


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")


def _long(kind: bytes, data: bytes) -> str:
    if kind == _LONG_NAME:
        return data.partition(b"\0")[0][: 4 * MAX_NAME].decode("utf-8", "replace")
    for line in data.split(b"\n"):
        key, found, value = line.partition(b"=")
        if found and key.endswith(b" path"):
            return value[: 4 * MAX_NAME].decode("utf-8", "replace")
    return ""
