"""A file as a window of octets, and the budget for what is unpacked of a message.

An attachment is decoded once, into memory when it is small and else into a temporary file without a name that is mapped, so that
many large messages at once do not fill the memory. One that came unencoded is looked at where it is.
"""

from __future__ import annotations

import mmap
import re
import tempfile
from collections.abc import Iterator
from typing import Final

from pipeline.mime import Buffer, Part

IN_MEMORY: Final = 4 << 20
"""Decoded octets of one attachment above which it is put into a file."""
MAX_UNPACKED: Final = 16 << 20
"""Octets unpacked of one message, archives and documents of all depths together; octets read for it count too."""
MAX_FILES: Final = 300
"""Files within files that are looked into."""
MAX_PAGES: Final = 10
"""Pages within archives that are read; a saved web site has more of them, and a trap has one."""
HEAD: Final = 64 << 10
_PIECE: Final = 1 << 20
"""Octets that are searched at once: a few ms."""
_LONGEST: Final = 4 << 10


class Budget:
    """How much may still be unpacked. `spent` says that something was left unseen for want of it."""

    __slots__ = ("files", "left", "pages", "spent")

    def __init__(self, left: int = MAX_UNPACKED, files: int = MAX_FILES) -> None:
        self.left = left
        self.files = files
        self.pages = MAX_PAGES
        self.spent = False

    def take(self, octets: int) -> bool:
        """Whether there were so many left."""
        if octets > self.left:
            self.spent = True
            self.left = 0
            return False
        self.left -= octets
        return True

    def page(self) -> bool:
        """Whether another page may be read as a browser would: that is more work than all other files are."""
        self.pages -= 1
        return self.pages >= 0

    def open(self) -> bool:
        """Whether another file may be looked into."""
        if self.files == 0 or self.left == 0:
            self.spent = True
            return False
        self.files -= 1
        return True


class Octets:
    """`buffer[start:end]`, read in place. Offsets count from `start`; nothing outside is ever read."""

    __slots__ = ("buffer", "end", "start")

    def __init__(self, buffer: Buffer, start: int = 0, end: int | None = None) -> None:
        self.buffer = buffer
        size = len(buffer)
        self.start = min(max(start, 0), size)
        self.end = size if end is None else min(max(end, self.start), size)

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def head(self) -> bytes:
        return self.read(0, HEAD)

    def read(self, at: int, length: int) -> bytes:
        """So many octets, or as many as there are."""
        if at < 0 or length <= 0:
            return b""
        begin = self.start + at
        return self.buffer[begin : min(begin + length, self.end)] if begin < self.end else b""

    def window(self, at: int, end: int | None = None) -> Octets:
        limit = self.end if end is None else min(self.start + max(end, 0), self.end)
        return Octets(self.buffer, min(self.start + max(at, 0), self.end), limit)

    def find(self, what: bytes, at: int = 0, end: int | None = None) -> int:
        limit = self.end if end is None else min(self.start + end, self.end)
        found = self.buffer.find(what, self.start + max(at, 0), limit)
        return found - self.start if found >= 0 else -1

    def rfind(self, what: bytes, at: int = 0) -> int:
        found = self.buffer.rfind(what, self.start + max(at, 0), self.end)
        return found - self.start if found >= 0 else -1

    def finditer(self, pattern: re.Pattern[bytes], end: int | None = None) -> Iterator[tuple[int, re.Match[bytes]]]:
        """Each match of at most 4 KiB with its offset.

        Piece by piece, because nothing else runs while the octets are searched in one call: the event loop waits for it, too.
        """
        limit = self.end if end is None else min(self.start + end, self.end)
        begin = self.start
        while begin < limit:
            stop = min(begin + _PIECE, limit)
            for match in pattern.finditer(self.buffer, begin, min(stop + _LONGEST, limit)):
                if match.start() >= stop:
                    break
                yield match.start() - self.start, match
                begin = match.end()
            begin = max(begin, stop)


def octets_of(part: Part) -> Octets:
    """All of a part, decoded."""
    if part.encoding not in ("base64", "quoted-printable"):
        return Octets(part.content, part.start, part.end)
    pieces: list[bytes] = []
    size = 0
    decoded = part.decoded()
    for piece in decoded:
        pieces.append(piece)
        size += len(piece)
        if size > IN_MEMORY:
            return _mapped(pieces, decoded)
    return Octets(b"".join(pieces))


def _mapped(pieces: list[bytes], rest: Iterator[bytes]) -> Octets:
    try:
        with tempfile.TemporaryFile(prefix="gatepost-") as file:
            file.writelines(pieces)
            file.writelines(rest)
            file.flush()
            return Octets(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError:
        # No room on the disk: the beginning is looked at, which is where most of what matters stands.
        return Octets(b"".join(pieces))
