"""Bodies in motion on one machine: in files that a receiver only appends to, with a pointer in Redis in their place.

Copying a body into Redis, into its log, and out again twice costs more than all else that happens to a large message. So a
receiver writes it once, to the end of a file of its own (a *segment*), and what the step behind the 250 sets is a pointer, some forty octets.
Everybody else on the machine reads the file, which is in the page cache while mail is in motion.

- A pointer is handed out when its record is on disk: a torn end is never pointed to.
- A pointer begins with NUL, which no mail has. It is believed only where the record says its segment, the message and the size.
- Whoever writes a segment holds a lock on it, until each step with a pointer into it has met its fate. The lock ends with the process, too.
- A segment without a lock is never written to again. It goes when no body key points into it (`workers/segments.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import mmap
import os
import secrets
import struct
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.bodies.cold import sync_directory
from pipeline.bodies.draft import Piece, disk
from pipeline.faults import CorruptError
from pipeline.group_commit import GroupCommit
from pipeline.ids import PACKED, packed, unpacked

WORTH: Final = 32 << 10
"""Octets from which on a body is worth a write of its own."""
SIZE: Final = 32 << 20
"""Octets from which on the next record begins another segment."""
AGE: Final = 30.0
"""Seconds for which a segment is written to."""
SUFFIX: Final = ".segment"
_UNNAMED: Final = ".new"
_BATCH: Final = 256
_BATCH_OCTETS: Final = 8 << 20
_TOGETHER: Final = 1000
"""Pieces in one write; the system takes 1,024."""
_LARGEST: Final = 64 << 20
"""Octets of a record: a pointer that says more is damaged. So is one to behind the FARTHEST."""
_FARTHEST: Final = 1 << 40

_POINTER: Final = struct.Struct(">6s8sQII")
"""MAGIC, segment, where the record begins, how many messages it is for, octets of the body."""
_HEAD: Final = struct.Struct(">8sII")
"""Segment, octets of the body, how many messages; then their ids, a checksum of all this, and the body."""
_CHECK: Final = struct.Struct(">I")
_ONE: Final = _HEAD.size + PACKED + _CHECK.size
"""Octets of a record before the body, of one message as most are."""
MAGIC: Final = b"\0body1"


class Pointer(NamedTuple):
    segment: bytes
    offset: int
    messages: int
    size: int

    def encode(self) -> bytes:
        return _POINTER.pack(MAGIC, *self)

    @property
    def head(self) -> int:
        """Octets of the record before the body."""
        return _HEAD.size + self.messages * PACKED + _CHECK.size


def pointer(value: bytes) -> Pointer | None:
    """What Redis has of a body, when that is a pointer. Raises CorruptError."""
    if not value.startswith(MAGIC):
        return None
    if len(value) == _POINTER.size:
        found = Pointer(*_POINTER.unpack(value)[1:])
        if found.head + found.size <= _LARGEST and found.offset < _FARTHEST:
            return found
    raise CorruptError("a pointer to a body is damaged")


def path_of(root: Path, segment: bytes) -> Path:
    return root / (segment.hex() + SUFFIX)


def read(root: Path, where: Pointer, message_id: str) -> bytes:
    """A body out of its segment. Raises CorruptError when it is not there, or another one is."""
    try:
        handle = os.open(path_of(root, where.segment), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise CorruptError(
            f"the segment with the body of {message_id} is gone", remedy="See `gatepost parked`."
        ) from None
    try:
        head = os.pread(handle, where.head, where.offset)
        body = os.pread(handle, where.size, where.offset + where.head)
    finally:
        os.close(handle)
    record = _record(head, where.segment)
    if (
        record is None
        or record != (where.size, where.messages)
        or packed(message_id) not in _ids(head)
        or len(body) < where.size
    ):
        raise CorruptError(f"the segment does not have the body of {message_id}", remedy="See `gatepost parked`.")
    return body


def _head(segment: bytes, message_ids: Sequence[str], size: int) -> bytes:
    data = _HEAD.pack(segment, size, len(message_ids)) + b"".join([packed(one) for one in message_ids])
    return data + _CHECK.pack(zlib.crc32(data))


def _record(head: bytes, segment: bytes) -> tuple[int, int] | None:
    """Octets of the body and how many messages, by a head of this segment; None when it is none."""
    if len(head) < _HEAD.size + _CHECK.size:
        return None
    name, size, count = _HEAD.unpack_from(head)
    end = _HEAD.size + count * PACKED
    if name != segment or len(head) != end + _CHECK.size or _CHECK.unpack_from(head, end)[0] != zlib.crc32(head[:end]):
        return None
    return size, count


def _ids(head: bytes) -> list[bytes]:
    return [head[start : start + PACKED] for start in range(_HEAD.size, len(head) - _CHECK.size, PACKED)]


def listed(path: Path) -> Iterator[list[str]]:
    """The messages of each record of a segment that can be read. What its writer did not finish, or the disk spoilt, hides none behind it."""
    segment = bytes.fromhex(path.name.removesuffix(SUFFIX))
    with path.open("rb", buffering=0) as file:
        offset, end = 0, os.fstat(file.fileno()).st_size
        while 0 <= offset < end:
            head = os.pread(file.fileno(), _ONE, offset)
            messages = _HEAD.unpack_from(head)[2] if len(head) == _ONE else 0
            if 1 != messages <= (end - offset) // PACKED:
                head = os.pread(file.fileno(), Pointer(segment, offset, messages, 0).head, offset)
            record = _record(head, segment)
            if record is not None:
                yield [unpacked(one) for one in _ids(head)]
                offset += len(head) + record[0]
            else:
                offset = _search(file.fileno(), segment, offset + 1, end)


def _search(handle: int, segment: bytes, start: int, end: int) -> int:
    """Where a record may begin; -1: nowhere any more."""
    with mmap.mmap(handle, end, access=mmap.ACCESS_READ) as data:
        return data.find(segment, start)


def closed(root: Path) -> list[tuple[Path, float]]:
    """The segments that nobody writes to any more, and when each was written to last (seconds since 1970)."""
    found = []
    for path in root.glob("[0-9a-f]" * 16 + SUFFIX):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            found.append((path, os.fstat(file.fileno()).st_mtime))
    return found


def unfinished(root: Path, before: float) -> list[Path]:
    """What is left of segments whose writers died while they made them."""
    found = []
    for path in root.glob("*" + _UNNAMED):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                found.append(path)
    return found


class _Segment:
    """One that is written to. `users`: steps that may still happen."""

    def __init__(self, root: Path) -> None:
        self.name = secrets.token_bytes(8)
        self.end = 0
        self.users = 0
        self._retired = False
        path = path_of(root, self.name)
        unnamed = path.with_suffix(_UNNAMED)
        with disk():
            self.handle = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                # The name by which it is looked at comes when the lock is held.
                fcntl.flock(self.handle, fcntl.LOCK_EX)
                unnamed.rename(path)
                sync_directory(root)
            except OSError:
                os.close(self.handle)
                raise

    def write(self, pieces: Sequence[Piece]) -> None:
        """At the end, and on disk. Blocks."""
        end = self.end
        with disk():
            for start in range(0, len(pieces), _TOGETHER):
                end += self._write(pieces[start : start + _TOGETHER], end)
            os.fdatasync(self.handle)
        self.end = end

    def _write(self, pieces: Sequence[Piece], at: int) -> int:
        size, written = sum(map(len, pieces)), os.pwritev(self.handle, pieces, at)
        if written < size:
            rest = memoryview(b"".join(pieces))
            while written < size:
                written += os.pwrite(self.handle, rest[written:], at + written)
        return size

    def retire(self) -> None:
        self._retired = True
        self._close()

    def release(self) -> None:
        self.users -= 1
        self._close()

    def _close(self) -> None:
        if self._retired and not self.users and self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


class _Waiting(NamedTuple):
    message_ids: Sequence[str]
    pieces: Sequence[Piece]
    weight: int
    """Octets of the body."""
    done: asyncio.Future[tuple[_Segment, bytes]]


class Writer:
    """One for each process. What comes while the disk is at work goes together in the next write."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._group = GroupCommit(self._store, most=_BATCH, weight=_BATCH_OCTETS, name="segments", failed=self._failed)
        self._segment: _Segment | None = None
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def kept(self, message_ids: Sequence[str], pieces: Sequence[Piece], size: int) -> AsyncIterator[bytes]:
        """A pointer to the body of so many octets, which is on disk, for the steps of these messages, which the block waits for.

        Raises StoreFullError.
        """
        done = asyncio.get_running_loop().create_future()
        self._group.add(_Waiting(message_ids, pieces, size, done))
        try:
            segment, found = await done
        except asyncio.CancelledError:
            if done.done() and not done.cancelled() and done.exception() is None:
                done.result()[0].release()
            raise
        try:
            yield found
        finally:
            segment.release()

    def _failed(self, error: BaseException) -> BaseException:
        self.retire()  # what is at its end is unknown
        return error

    async def _store(self, batch: Sequence[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        segment = self._segment
        if segment is None:
            segment = self._segment = await loop.run_in_executor(None, _Segment, self._root)
            self._timer = loop.call_later(AGE, self.retire)
        segment.users += 1
        try:
            offset, pointers = segment.end, []
            written: list[Piece] = []
            for message_ids, pieces, size, _ in batch:
                head = _head(segment.name, message_ids, size)
                pointers.append(Pointer(segment.name, offset, len(message_ids), size).encode())
                written += (head, *pieces)
                offset += len(head) + size
            await loop.run_in_executor(None, segment.write, written)
            for waiting, found in zip(batch, pointers, strict=True):
                if not waiting.done.done():
                    segment.users += 1
                    waiting.done.set_result((segment, found))
        finally:
            segment.release()
        if segment.end >= SIZE and segment is self._segment:
            self.retire()

    def retire(self) -> None:
        """The next body begins another segment."""
        if self._timer is not None:
            self._timer.cancel()
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.retire()
