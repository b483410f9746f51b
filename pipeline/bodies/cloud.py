"""Bodies in an object store, for workers on any number of machines.

    <prefix>/<partition>/<two characters of the id>/<id>    a body: the names of `LocalCold`, so that a directory can be copied over
    <prefix>/owner                                          which Gatepost's bodies these are

A body is put whole or not at all, and only where there is nothing yet: who finds it there was here before, as one id has one
body. A large one goes up from its draft's file and comes back into a file without a name, and both are mapped: it is never in
our memory. What the store does not answer is an outage (StoreAwayError), also where it refuses us: mail waits until somebody
has mended it. That a body is gone is said only when the store was there to say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from pipeline.bodies.cold import PORTION, Buffer
from pipeline.bodies.draft import HOT_LIMIT, Draft, disk
from pipeline.bodies.way import Way, together
from pipeline.faults import CorruptError, UnsafeStoreError
from pipeline.ids import earliest, is_id, partition_of

DELETED_TOGETHER: Final = 500
LARGEST: Final = 1 << 30
"""Octets of what is taken for a body at most."""
CHUNK: Final = 1 << 20
YOUNG: Final = timedelta(hours=1)
"""What was put longer ago and is put again is made young, or it would look like nobody's."""
OWNER: Final = "owner"


class CloudCold:
    """`cold.Cold` in an object store. One for each process."""

    def __init__(self, address: str, drafts: Path, owner: Callable[[], Awaitable[str]], timeout: float) -> None:
        """`drafts`: a directory of this machine. `owner`: the name of the Redis that knows which bodies are somebody's.

        `timeout`: seconds that one body may take. Raises ConfigurationError.
        """
        self._way = Way(address, timeout)
        self.place = self._way.place
        self._drafts = drafts
        self._owner = owner

    def name(self, message_id: str) -> str:
        if not is_id(message_id):
            raise CorruptError(f"not a message id: {message_id[:40]!r}")
        return f"{partition_of(message_id)}/{message_id[9:11]}/{message_id}"

    # Putting

    async def _create(self, name: str, content: Buffer) -> None:
        """Raises FileExistsError, and leaves what is there."""
        import obstore  # noqa: PLC0415
        from obstore.exceptions import AlreadyExistsError  # noqa: PLC0415

        try:
            async with self._way.asking() as store:
                await obstore.put_async(store, name, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            raise FileExistsError(name) from None
        except FileNotFoundError as error:  # there is no such bucket
            raise self._way.away(error) from None

    async def _put(self, name: str, content: Buffer) -> None:
        import obstore  # noqa: PLC0415

        try:
            await self._create(name, content)
        except FileExistsError:
            async with self._way.asking() as store:
                found = await obstore.head_async(store, name)
                if found["last_modified"] < datetime.now(UTC) - YOUNG:
                    await obstore.put_async(store, name, content, mode="overwrite", use_multipart=False)

    async def keep(self, draft: Draft, message_ids: Sequence[str]) -> None:
        content = await asyncio.to_thread(_mapped_draft, draft)
        first, *others = message_ids
        # Never closed by us: the library may still look into it after a request that was given up.
        await self._put(self.name(first), content)
        await together(*(self.share(first, other) for other in others))
        await asyncio.to_thread(draft.discard)

    async def put_many(self, bodies: Sequence[tuple[str, bytes]]) -> None:
        await together(*(self._put(self.name(message_id), body) for message_id, body in bodies))

    async def share(self, message_id: str, other_id: str) -> None:
        import obstore  # noqa: PLC0415

        name = self.name(message_id)
        try:
            async with self._way.asking() as store:
                await obstore.copy_async(
                    store, name, self.name(other_id)
                )  # over what is there: it is the same, and old
        except FileNotFoundError:
            await self._way.confirm(name)
            raise _gone(message_id) from None

    # Getting

    async def get(self, message_id: str) -> Buffer:
        import obstore  # noqa: PLC0415

        name = self.name(message_id)
        try:
            async with self._way.asking() as store:
                found: Any = await obstore.get_async(store, name)
                size = int(found.meta["size"])
                if size > LARGEST:
                    raise CorruptError(
                        f"the body of {message_id} is larger than it can be", remedy="See `gatepost parked`."
                    )
                if size <= HOT_LIMIT:
                    return bytes(await found.bytes_async())
                return await self._mapped(found, size)
        except FileNotFoundError:
            await self._way.confirm(name)
            raise _gone(message_id) from None

    async def _mapped(self, found: Any, size: int) -> Buffer:
        """In a file of this machine that has no name, and is gone with its mapping."""
        with disk():
            file: BinaryIO = tempfile.TemporaryFile(dir=self._drafts)  # noqa: SIM115 - closed below
        with file:
            came = 0
            async for chunk in found.stream(min_chunk_size=CHUNK):
                came += len(chunk)
                with disk():
                    await asyncio.to_thread(file.write, chunk)
            with disk():
                file.flush()
            if came != size:
                raise self._way.away(ConnectionError("a body came in part"))
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    # Dropping

    async def drop_many(self, message_ids: Sequence[str]) -> None:
        names = [self.name(message_id) for message_id in message_ids]
        chunks = (names[start : start + DELETED_TOGETHER] for start in range(0, len(names), DELETED_TOGETHER))
        await together(*(self._drop(chunk) for chunk in chunks))

    async def _drop(self, names: list[str]) -> None:
        """Some stores stop at the first that is not there, and some have no word for many."""
        import obstore  # noqa: PLC0415

        try:
            async with self._way.asking() as store:
                await obstore.delete_async(store, names)
        except FileNotFoundError:
            if len(names) > 1:
                await together(*(self._drop([name]) for name in names))
            else:
                await self._way.confirm(names[0])

    async def listed(self, partition: int, than: float) -> AsyncGenerator[list[str]]:
        """Raises UnsafeStoreError where the bodies are those of another Gatepost, which only that one may call nobody's."""
        import obstore  # noqa: PLC0415

        await self._claim()
        limit = earliest(int(than * 1e9))
        async with self._way.asking() as store:
            listing = aiter(obstore.list(store, f"{partition}/", chunk_size=PORTION))
        while True:
            async with self._way.asking():
                batch: Any = await anext(listing, None)
            if batch is None:
                return
            names = [str(row["path"]).rpartition("/")[2] for row in batch if row["last_modified"].timestamp() < than]
            yield [name for name in names if name < limit and is_id(name)]

    async def drop_older(self, message_ids: Sequence[str], than: float) -> int:
        """What is old in the listing may have got a second name since, or have been put again, and is young by it."""
        old: list[str] = []
        await together(*(self._look(message_id, than, old) for message_id in message_ids))
        await self.drop_many(old)
        return len(old)

    async def _look(self, message_id: str, than: float, old: list[str]) -> None:
        import obstore  # noqa: PLC0415

        name = self.name(message_id)
        try:
            async with self._way.asking() as store:
                found = await obstore.head_async(store, name)
        except FileNotFoundError:
            await self._way.confirm(name)
            return
        if found["last_modified"].timestamp() < than:
            old.append(message_id)

    async def _claim(self) -> None:
        """Whose the bodies are is written beside them, by the first who sweeps there."""
        import obstore  # noqa: PLC0415

        ours = (await self._owner()).encode()
        with contextlib.suppress(FileExistsError):
            await self._create(OWNER, ours)
        async with self._way.asking() as store:
            theirs = bytes(await (await obstore.get_async(store, OWNER)).bytes_async())
        if theirs != ours:
            raise UnsafeStoreError(
                f"{self.place} has the bodies of another Gatepost, or of another Redis than this one",
                remedy=f"Give each a prefix of its own. If the bodies are ours, remove {self.place}/{OWNER}.",
            )

    async def reach(self) -> None:
        """Raises StoreAwayError, with what to do about it, when the store does not answer us."""
        await self._way.confirm(f"{OWNER}/")


def _mapped_draft(draft: Draft) -> mmap.mmap:
    with disk(), Path(draft.written()).open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _gone(message_id: str) -> CorruptError:
    return CorruptError(f"the body of {message_id} is gone", remedy="See `gatepost parked`.")
