"""Copies of objects on this machine: each named after its hash, the ones that were not read for longest going first."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.archive.objects import disk, sync_file
from pipeline.archive.segment import file_hash


class Cache:
    """Shared by all processes of a machine. A file that is open stays readable when it goes."""

    def __init__(self, directory: Path, limit: int) -> None:
        """`limit`: octets; what was added last stays, however large it is."""
        self._directory = directory
        self._limit = limit

    def find(self, sha256: str) -> Path | None:
        """The copy of what has this hash; it counts as read just now."""
        if not sha256:
            return None
        path = self._directory / sha256
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    @contextlib.contextmanager
    def adding(self) -> Iterator[Path]:
        """A file to write an object to."""
        with disk(str(self._directory)):
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self._directory, suffix=".part")
            os.close(handle)
            try:
                yield Path(name)
            finally:
                Path(name).unlink(missing_ok=True)

    def keep(self, path: Path) -> Path:
        """Give it its name, and make room."""
        kept = self._directory / file_hash(path)
        sync_file(path)  # what has the name has the content, whenever the power fails
        path.replace(kept)
        self._make_room(kept)
        return kept

    def _make_room(self, newest: Path) -> None:
        found = []
        for path in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        used = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if used <= self._limit:
                return
            if path != newest and path.suffix != ".part":
                path.unlink(missing_ok=True)
                used -= size
