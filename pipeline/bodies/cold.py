"""Bodies that have to wait, or are large: where a crash and a full Redis do not reach them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import mmap
import os
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from pipeline.bodies.draft import HOT_LIMIT, Draft, disk
from pipeline.faults import CorruptError
from pipeline.ids import earliest, is_id, partition_of

Buffer: TypeAlias = bytes | mmap.mmap
"""A message as it was received, CRLF line ends, nothing added."""
PORTION: Final = 500
"""Bodies that are listed at a time."""


class Cold(Protocol):
    """Where bodies lie by the ids of their messages. What was written is durable when a method returns, and each call may be made again.

    All raise StoreFullError when there is no space, and StoreAwayError when the place cannot be reached.
    """

    async def keep(self, draft: Draft, message_ids: Sequence[str]) -> None:
        """Take a draft over that has a file, under the names of messages."""

    async def put_many(self, bodies: Sequence[tuple[str, bytes]]) -> None:
        """Bodies that leave Redis."""

    async def share(self, message_id: str, other_id: str) -> None:
        """Give a body a second name, for another message. Raises CorruptError when there is none."""

    async def get(self, message_id: str) -> Buffer:
        """Raises CorruptError when there is none."""

    async def drop_many(self, message_ids: Sequence[str]) -> None:
        """Harmless for those that are not there. What a disk would not let go is swept up later."""

    def listed(self, partition: int, than: float) -> AsyncGenerator[list[str]]:
        """Ids made before `than` (seconds since 1970) of a partition's bodies: some hundred at a time, as a million may wait."""

    async def drop_older(self, message_ids: Sequence[str], than: float) -> int:
        """As `drop_many`, of those that were written before `than`; how many."""


def sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_directories(directories: set[Path]) -> None:
    """What is in them, and that they are there: many share one that they are in."""
    for directory in directories | {directory.parent for directory in directories}:
        sync_directory(directory)


class LocalCold:
    """Bodies as files: `<root>/<partition>/<two characters of the id>/<id>`, durable before a name is visible."""

    def __init__(self, root: Path, drafts: Path) -> None:
        self.root = root
        self._drafts = drafts

    def path(self, message_id: str) -> Path:
        return Path(self._name(message_id))

    def _name(self, message_id: str) -> str:
        if not is_id(message_id):
            raise CorruptError(f"not a message id: {message_id[:40]!r}")
        # The random part spreads the files; the first characters are the time and hardly change.
        return f"{self.root}/{partition_of(message_id)}/{message_id[9:11]}/{message_id}"

    def _place(self, source: str, message_id: str) -> Path:
        target = self.path(message_id)
        with contextlib.suppress(FileExistsError):
            try:
                os.link(source, target)
            except FileNotFoundError:  # the first of its directory
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                os.link(source, target)
        return target.parent

    async def keep(self, draft: Draft, message_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self._keep, draft, message_ids)

    def _keep(self, draft: Draft, message_ids: Sequence[str]) -> None:
        source = draft.sync()
        with disk():
            sync_directories({self._place(source, message_id) for message_id in message_ids})
            Path(source).unlink()

    async def share(self, message_id: str, other_id: str) -> None:
        await asyncio.to_thread(self._share, message_id, other_id)

    def _share(self, message_id: str, other_id: str) -> None:
        with disk():
            try:
                os.utime(self.path(message_id))  # as young as its new name, or it would look like nobody's
                directory = self._place(str(self.path(message_id)), other_id)
            except FileNotFoundError:
                raise CorruptError(f"the body of {message_id} is gone", remedy="See `gatepost parked`.") from None
            sync_directories({directory})

    async def put_many(self, bodies: Sequence[tuple[str, bytes]]) -> None:
        await asyncio.to_thread(self._put_many, bodies)

    def _put_many(self, bodies: Sequence[tuple[str, bytes]]) -> None:
        """All written, then all forced to disk, so that the disk can work on them together."""
        with disk():
            names = []
            for message_id, body in bodies:
                handle, name = tempfile.mkstemp(dir=self._drafts, prefix="cool-")
                with os.fdopen(handle, "wb") as file:
                    file.write(body)
                names.append((name, message_id))
            for name, _ in names:
                handle = os.open(name, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
            sync_directories({self._place(name, message_id) for name, message_id in names})
            for name, _ in names:
                Path(name).unlink()

    async def get(self, message_id: str) -> Buffer:
        try:
            handle = os.open(self._name(message_id), os.O_RDONLY)
        except FileNotFoundError:
            raise CorruptError(f"the body of {message_id} is gone", remedy="See `gatepost parked`.") from None
        try:
            size = os.fstat(handle).st_size
            return os.read(handle, size) if size <= HOT_LIMIT else mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(handle)

    async def drop_many(self, message_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self._drop_many, message_ids)

    def _drop_many(self, message_ids: Sequence[str]) -> None:
        for message_id in message_ids:
            with contextlib.suppress(OSError):
                os.unlink(self._name(message_id))  # noqa: PTH108 - a backlog that leaves is bound by this process

    async def listed(self, partition: int, than: float) -> AsyncGenerator[list[str]]:
        limit = earliest(int(than * 1e9))
        with contextlib.closing(self._listed(partition)) as names:
            while some := await asyncio.to_thread(_next, names):
                yield [name for name in some if name < limit and is_id(name)]

    def _listed(self, partition: int) -> Generator[str]:
        for directory in (self.root / str(partition)).glob("??"):
            with os.scandir(directory) as found:
                yield from (entry.name for entry in found)

    async def drop_older(self, message_ids: Sequence[str], than: float) -> int:
        return await asyncio.to_thread(self._drop_older, message_ids, than)

    def _drop_older(self, message_ids: Sequence[str], than: float) -> int:
        old = []
        for message_id in message_ids:
            with contextlib.suppress(FileNotFoundError):
                if self.path(message_id).stat().st_mtime < than:
                    old.append(message_id)
        self._drop_many(old)
        return len(old)


def _next(names: Generator[str]) -> list[str]:
    return list(itertools.islice(names, PORTION))
