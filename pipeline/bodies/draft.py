"""A body on its way in, before anything was promised for it."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from pipeline.faults import StoreFullError

HOT_LIMIT: Final = 256 << 10
CHUNK: Final = 256 << 10
HEAD: Final = 64 << 10
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
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._head = b""

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Raises StoreFullError when the disk is full."""
        self.size += len(chunk)
        if self._file is not None:
            with disk():
                self._file.write(chunk)
            return
        self._memory += chunk
        if self.size > HOT_LIMIT:
            with disk():
                handle, name = tempfile.mkstemp(dir=self._directory, prefix="draft-")
                self._file = os.fdopen(handle, "wb", buffering=CHUNK)
                self._name = name
                self._file.write(self._memory)
            self._head = bytes(self._memory[:HEAD])
            self._memory = bytearray()

    def head(self) -> bytes:
        """The first 64 KiB, or less."""
        return self._head if self._file is not None else bytes(self._memory[:HEAD])

    @property
    def hot(self) -> bytes | None:
        """The whole body when it is small enough for Redis."""
        return bytes(self._memory) if self._file is None else None

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
        self._memory = bytearray()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(FileNotFoundError):
                Path(self._name).unlink()
