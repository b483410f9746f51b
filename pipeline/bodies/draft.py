"""A body on its way in, before anything was promised for it."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from pipeline.faults import StoreFullError

HOT_LIMIT: Final = 256 << 10
CHUNK: Final = 256 << 10
HEAD: Final = 64 << 10
PIECE: Final = 8 << 10
"""Octets from which on a chunk is kept as it came. Smaller ones are put together: a body is in few pieces, however it comes."""
Piece: TypeAlias = bytes | bytearray | memoryview
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextlib.contextmanager
def disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFullError(f"no space for a message body: {error}", remedy="Free disk space.") from error
        raise


def sweep_drafts(directory: Path, before: float) -> int:
    """Remove what dead processes of this machine left before a moment (seconds since 1970); how many files. Blocks."""
    swept = 0
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):  # somebody is done with it
            if path.stat().st_mtime < before:
                path.unlink()
                swept += 1
    return swept


class Draft:
    """A body on its way in: in memory up to the hot limit, in a file of its own above."""

    def __init__(self, directory: Path) -> None:
        self.size = 0
        self._directory = directory
        self._pieces: list[Piece] = []
        self._file: BinaryIO | None = None
        self._head = b""

    def write(self, chunk: bytes | memoryview) -> None:
        """`chunk` never changes any more. Raises StoreFullError when the disk is full."""
        self.size += len(chunk)
        if self._file is not None:
            with disk():
                self._file.write(chunk)
            return
        pieces = self._pieces
        if len(chunk) >= PIECE:
            pieces.append(chunk)
        elif pieces and isinstance(pieces[-1], bytearray):
            pieces[-1] += chunk
        else:
            pieces.append(bytearray(chunk))
        if self.size > HOT_LIMIT:
            self._begin_file()

    def _begin_file(self) -> None:
        self._head = self.head()
        with disk():
            handle, name = tempfile.mkstemp(dir=self._directory, prefix="draft-")
            self._file = os.fdopen(handle, "wb", buffering=CHUNK)
            self._name = name
            self._file.writelines(self._pieces)
        self._pieces = []

    def head(self) -> bytes:
        """The first 64 KiB, or less."""
        if self._file is not None:
            return self._head
        first, left = [], HEAD
        for piece in self._pieces:
            first.append(memoryview(piece)[:left])
            left -= len(piece)
            if left <= 0:
                break
        return b"".join(first)

    @property
    def pieces(self) -> Sequence[Piece] | None:
        """The whole body when it is small enough to be in motion, as it came; what follows each other is one body."""
        return self._pieces if self._file is None else None

    @property
    def hot(self) -> bytes | None:
        """As `pieces`, in one."""
        return b"".join(self._pieces) if self._file is None else None

    def sync(self) -> str:
        """Everything on disk; the name of the file. Blocks."""
        return self.written(durably=True)

    def written(self, *, durably: bool = False) -> str:
        """Everything in the file; its name. Blocks."""
        assert self._file is not None
        with disk():
            self._file.flush()
            if durably:
                os.fsync(self._file.fileno())
            self._file.close()
        return self._name

    def discard(self) -> None:
        """Forget it; harmless when it was kept or discarded before."""
        self._pieces = []
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(FileNotFoundError):
                Path(self._name).unlink()
