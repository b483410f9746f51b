"""Where the bytes of a message are kept: hot in Redis, cold in a directory.

Hot: up to 256 KiB, written by the same atomic step as the `received` event. Cold: larger ones from the start, and every one
that has to wait: written, fsynced, renamed, directory fsynced, before the step that relies on it. A body is looked for hot,
then cold; it moves only from hot to cold, and the cold file is durable before the hot key goes, so it is always in one of
the two. A large message is never in memory twice: it comes in through a file and goes out through a mapping of that file.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from pipeline import keys
from pipeline.faults import ConfigurationError, CorruptError, StoreFullError
from pipeline.ids import is_id, partition_of
from pipeline.store import Client, faults

Buffer: TypeAlias = bytes | mmap.mmap
"""A message as it was received, CRLF line ends, nothing added."""

HOT_LIMIT: Final = 256 << 10
CHUNK: Final = 256 << 10
HEAD: Final = 64 << 10
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFullError(f"no space for a message body: {error}", remedy="Free disk space.") from error
        raise


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
            with _disk():
                self._file.write(chunk)
            return
        self._memory += chunk
        if self.size > HOT_LIMIT:
            with _disk():
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
        assert self._file is not None
        with _disk():
            self._file.flush()
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


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class ColdStore:
    """Bodies as files: `<root>/<partition>/<two characters of the id>/<id>`, durable before a name is visible."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.drafts = root / "drafts"
        try:
            self.drafts.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write to {root}: {error.strerror}",
                remedy="Choose another --data, or give this user the right to write there.",
            ) from None

    def path(self, message_id: str) -> Path:
        if not is_id(message_id):
            raise CorruptError(f"not a message id: {message_id[:40]!r}")
        # The random part spreads the files; the first characters are the time and hardly change.
        return self.root / str(partition_of(message_id)) / message_id[9:11] / message_id

    def _place(self, source: str, message_id: str) -> Path:
        target = self.path(message_id)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            os.link(source, target)
        return target.parent

    def keep(self, source: str, message_ids: Sequence[str]) -> None:
        """Give a synced file the names of messages, and take its own away."""
        with _disk():
            for directory in {self._place(source, message_id) for message_id in message_ids}:
                _sync_directory(directory)
                _sync_directory(directory.parent)
            Path(source).unlink()

    def share(self, message_id: str, other_id: str) -> None:
        """Give a body a second name, for another message. Blocks. Raises CorruptError when there is none."""
        with _disk():
            try:
                os.utime(self.path(message_id))  # as young as its new name, or it would look like nobody's
                directory = self._place(str(self.path(message_id)), other_id)
            except FileNotFoundError:
                raise CorruptError(f"the body of {message_id} is gone", remedy="See `gatepost parked`.") from None
            _sync_directory(directory)
            _sync_directory(directory.parent)

    def put_many(self, bodies: Sequence[tuple[str, bytes]]) -> None:
        """Bodies that leave Redis: all written, then all forced to disk, so that the disk can work on them together."""
        with _disk():
            names = []
            for message_id, body in bodies:
                handle, name = tempfile.mkstemp(dir=self.drafts, prefix="cool-")
                with os.fdopen(handle, "wb") as file:
                    file.write(body)
                names.append((name, message_id))
            for name, _ in names:
                handle = os.open(name, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
            directories = {self._place(name, message_id) for name, message_id in names}
            for directory in directories:
                _sync_directory(directory)
                _sync_directory(directory.parent)
            for name, _ in names:
                Path(name).unlink()

    def get(self, message_id: str) -> Buffer:
        """Raises CorruptError when there is none."""
        try:
            with self.path(message_id).open("rb") as file:
                if os.fstat(file.fileno()).st_size <= HOT_LIMIT:
                    return file.read()
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise CorruptError(f"the body of {message_id} is gone", remedy="See `gatepost parked`.") from None

    def drop(self, message_id: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.path(message_id).unlink()

    def drop_many(self, message_ids: Sequence[str]) -> None:
        for message_id in message_ids:
            with contextlib.suppress(OSError):
                self.drop(message_id)

    def older(self, partition: int, than: float) -> list[str]:
        """Ids of a partition's bodies that were written before `than` (seconds since 1970). Blocks."""
        found = []
        for directory in (self.root / str(partition)).glob("??"):
            for path in directory.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if is_id(path.name) and path.stat().st_mtime < than:
                        found.append(path.name)
        return found


class Bodies:
    """Both tiers behind one door."""

    def __init__(self, redis: Client, cold: ColdStore) -> None:
        self._redis = redis
        self.cold = cold
        self._doomed: list[str] = []
        self._dropping: asyncio.Task[None] | None = None

    def draft(self) -> Draft:
        return Draft(self.cold.drafts)

    async def settle(self, draft: Draft, message_ids: Sequence[str]) -> bytes | None:
        """Make a draft ready for the step that accepts it: its bytes when it goes into Redis, None when it is durable on disk."""
        hot = draft.hot
        if hot is None:
            await asyncio.to_thread(lambda: self.cold.keep(draft.sync(), message_ids))
        return hot

    async def get(self, message_id: str) -> Buffer:
        """Raises CorruptError when the message has no body, StoreAwayError."""
        with faults():
            hot: bytes | None = await self._redis.get(keys.body(partition_of(message_id), message_id))
        return hot if hot is not None else self.cold.get(message_id)

    async def get_moved(self, message_id: str) -> Buffer:
        """`get` for a body that Redis was just seen not to have: as it only ever moves from there to the disk, it is there."""
        with contextlib.suppress(CorruptError):
            return self.cold.get(message_id)
        return await self.get(message_id)

    async def cool(self, message_ids: Sequence[str]) -> int:
        """Move bodies out of Redis, in bulk; how many moved."""
        names = [keys.body(partition_of(message_id), message_id) for message_id in message_ids]
        with faults():
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.get(name)
            found = [
                (message_id, body) for message_id, body in zip(message_ids, await pipe.execute(), strict=True) if body
            ]
            if found:
                await asyncio.to_thread(self.cold.put_many, found)
                pipe = self._redis.pipeline(transaction=False)
                for message_id, _ in found:
                    pipe.delete(keys.body(partition_of(message_id), message_id))
                await pipe.execute()
        return len(found)

    async def drop_cold(self, message_id: str) -> None:
        """After the step that recorded a last outcome and found no hot body.

        Nobody waits for the disk: files go many at once, and all of them before `close` returns. What a crash or the disk leaves
        is swept up later.
        """
        self._doomed.append(message_id)
        if self._dropping is None or self._dropping.done():
            self._dropping = asyncio.create_task(self._drop_doomed())

    async def _drop_doomed(self) -> None:
        while self._doomed:
            doomed, self._doomed = self._doomed, []
            await asyncio.to_thread(self.cold.drop_many, doomed)

    async def close(self) -> None:
        """Until no file is left that has to go."""
        if self._dropping is not None:
            await self._dropping
