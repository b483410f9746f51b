"""Where segments are kept: named objects in a directory, or in an object store (`cloud.py`)."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from pipeline.faults import ConfigurationError, CorruptError, StoreAwayError, StoreFullError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
WORK: Final = ".work"
SMALL: Final = 64 << 10
"""Octets of what `get` reads; a seal has about 700."""
LARGEST: Final = 1 << 30
"""Octets of what `fetch` reads; a segment of 100,000 entries has about 6 MiB, its index less."""


class Objects(Protocol):
    """Names are relative, with `/` between folders. All of it blocks: call it in a thread.

    Raises StoreAwayError (try again), StoreFullError, ConfigurationError (what trying again does not mend).
    """

    @property
    def place(self) -> str:
        """For people: a path or an address, without any secret."""

    def put(self, name: str, source: Path) -> None:
        """Durably, whole or not at all, in the place of what was there. `source` may be gone afterwards."""

    def get(self, name: str) -> bytes | None:
        """The octets of a small object; None when there is none. Raises CorruptError for one that is not small."""

    def fetch(self, name: str, sha256: str, most: int = LARGEST) -> Path | None:
        """A file with the object's octets, to be read right away; None when there is no such object.

        `sha256`: what it should be; who has a copy of just that need not ask for another. The caller checks. `most`: octets that
        are taken over a network at most; then it raises CorruptError, as for what was asked for by its hash and has another.
        """

    def names(self, folder: str) -> list[str]:
        """What is directly in a folder ("" for the top), folders too; none when there is no such folder."""

    def delete(self, names: Sequence[str]) -> None:
        """Also what is not there."""

    @property
    def work(self) -> Path:
        """A directory for files that are being made."""


def temporary(objects: Objects, ending: str) -> Path:
    """A new file for what is being made."""
    handle, name = tempfile.mkstemp(dir=objects.work, suffix=ending)
    os.close(handle)
    return Path(name)


def put_octets(objects: Objects, name: str, data: bytes) -> None:
    """A small object. Blocks."""
    path = temporary(objects, ".part")
    try:
        with disk(objects.place):
            path.write_bytes(data)
        objects.put(name, path)
    finally:
        path.unlink(missing_ok=True)


def tidy(objects: Objects, before: float) -> None:
    """Remove what was left half made before a moment (seconds since the epoch). Blocks."""
    with disk(objects.place):
        for path in objects.work.iterdir():
            with contextlib.suppress(FileNotFoundError):  # somebody is done with it
                if path.stat().st_mtime < before:
                    path.unlink()


@contextlib.contextmanager
def disk(place: str) -> Iterator[None]:
    """Turns errors of the file system into faults."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFullError(f"no space for the archive in {place}", remedy="Free disk space.") from error
        raise StoreAwayError(
            f"the archive in {place} cannot be used: {error.strerror}",
            remedy="Is the disk mounted, and may this user write there?",
        ) from error


def too_large(name: str) -> CorruptError:
    return CorruptError(f"{name} was changed: it is larger than it can be")


def sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class LocalObjects:
    """Files below a directory: written, fsynced, renamed, their directory fsynced, before anything relies on them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def place(self) -> str:
        return str(self.root)

    @property
    def work(self) -> Path:
        path = self.root / WORK
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write to {self.root}: {error.strerror}",
                remedy="Choose another archive_store, or give this user the right to write there.",
            ) from None
        return path

    def put(self, name: str, source: Path) -> None:
        target = self.root / name
        with disk(self.place):
            self._folder(target.parent)
            sync_file(source)
            source.replace(target)
            sync_file(target.parent)

    def _folder(self, path: Path) -> None:
        """The folder, and durably so."""
        if path.is_dir():
            return
        self._folder(path.parent)
        path.mkdir(exist_ok=True, mode=0o700)
        sync_file(path.parent)

    def get(self, name: str) -> bytes | None:
        path = self.root / name
        with disk(self.place):
            if not path.is_file():
                return None
            with path.open("rb") as file:
                data = file.read(SMALL + 1)
        if len(data) > SMALL:
            raise too_large(name)
        return data

    def fetch(self, name: str, sha256: str, most: int = LARGEST) -> Path | None:
        del sha256, most
        path = self.root / name
        return path if path.is_file() else None

    def names(self, folder: str) -> list[str]:
        with disk(self.place):
            try:
                return sorted(path.name for path in (self.root / folder).iterdir() if path.name != WORK)
            except (FileNotFoundError, NotADirectoryError):
                return []

    def delete(self, names: Sequence[str]) -> None:
        with disk(self.place):
            for name in names:
                (self.root / name).unlink(missing_ok=True)
            for folder in {(self.root / name).parent for name in names}:
                # A day with nothing left in it goes too; its folder is shared by partitions, so it may stay for now.
                for empty in (folder, folder.parent):
                    with contextlib.suppress(OSError):
                        if empty != self.root:
                            empty.rmdir()
