"""Compressed octets, undone a chunk at a time, never more than the budget has.

Both what goes in and what comes out is counted: many entries may claim the same octets, and a stream may be long and empty.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from pipeline.scanning.files.octets import Budget, Octets

CHUNK: Final = 64 << 10
_MEMORY: Final = 64 << 20
"""For the dictionary of LZMA; xz at its highest setting takes 65 MiB, at its usual one 8."""
_ERRORS: Final = (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError, MemoryError)

_MAKERS: Final[dict[str, Callable[[], Any]]] = {
    "deflate": lambda: zlib.decompressobj(-15),
    "zlib": zlib.decompressobj,
    "gzip": lambda: zlib.decompressobj(31),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=_MEMORY + (2 << 20)),
}

_TOLD_LATE: Final = frozenset({"deflate", "zlib", "gzip"})
"""zlib says nothing of what it had undone when it meets damage in the same call."""
_STEP: Final = 32
_SINGLE: Final = frozenset({"deflate", "zlib"})


def unpacked(octets: Octets, method: str, budget: Budget, chunk: int = CHUNK) -> Iterator[bytes]:
    """What is in `octets`, in chunks of at most `chunk`, until they are damaged, at their end, or the budget is. Raises nothing."""
    return _stored(octets, budget, chunk) if method == "stored" else _undone(octets, method, budget, chunk)


def _stored(octets: Octets, budget: Budget, chunk: int) -> Iterator[bytes]:
    for at in range(0, len(octets), chunk):
        piece = octets.read(at, chunk)
        if not budget.take(len(piece)):
            return
        yield piece


def _undone(octets: Octets, method: str, budget: Budget, chunk: int) -> Iterator[bytes]:
    engine, pending, at = _MAKERS[method](), b"", 0
    while True:
        if not pending and getattr(engine, "needs_input", True):
            pending = octets.read(at, chunk)
            at += len(pending)
        starved = not pending
        try:
            out = engine.decompress(pending, chunk)
        except _ERRORS:
            if at <= chunk and method in _TOLD_LATE:
                yield from _salvaged(octets, method, budget)
            return
        # bz2 and lzma keep what they have not looked at, zlib hands it back.
        left = bytes(getattr(engine, "unconsumed_tail", b""))
        if not budget.take(len(pending) - len(left) + len(out)):
            return
        pending = left
        if out:
            yield out
        if engine.eof:
            # A file of several streams, one behind the other, is one file to gzip, bzip2 and xz.
            pending = engine.unused_data
            if method in _SINGLE or not (pending or octets.read(at, 1)):
                return
            engine = _MAKERS[method]()
        elif starved and not out:
            return


def _salvaged(octets: Octets, method: str, budget: Budget) -> Iterator[bytes]:
    """The beginning of what is damaged further on, in steps small enough to come near the damage: other programs show it too."""
    engine = _MAKERS[method]()
    for at in range(0, CHUNK, _STEP):
        try:
            out = engine.decompress(octets.read(at, _STEP), CHUNK)
        except _ERRORS:
            return
        if engine.eof or not budget.take(_STEP + len(out)):
            return
        if out:
            yield out


def start_of(octets: Octets, method: str, budget: Budget, limit: int) -> bytes:
    """The first `limit` octets of what is in it, or as many as can be had."""
    out: list[bytes] = []
    size = 0
    for piece in unpacked(octets, method, budget, min(max(limit, 512), CHUNK)):
        out.append(piece)
        size += len(piece)
        if size >= limit:
            break
    return b"".join(out)[:limit]
