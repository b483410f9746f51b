"""Both tiers behind one door: what Redis has of a body, and where the rest is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from pipeline import keys
from pipeline.bodies.cold import Buffer, Cold
from pipeline.bodies.draft import Draft
from pipeline.bodies.segments import WORTH, Writer, path_of, pointer, read
from pipeline.faults import CorruptError, StoreAwayError, StoreError
from pipeline.ids import partition_of
from pipeline.store import Client, faults

DOOMED: Final = 10_000
"""Bodies that wait for a place that cannot be reached, to be dropped there; what is more is swept up later."""

GATHERING: Final = 0.05
"""Seconds after some were dropped until the next are: while a backlog leaves a hundred go together, and the thread that does it is not
called for each.
"""


class Bodies:
    """Both tiers behind one door; one for each process."""

    def __init__(self, redis: Client, cold: Cold, drafts: Path, *, segments: Path, appending: bool = False) -> None:
        """`drafts`: a directory of this machine, for what is too large for memory while it comes in. `segments`: see segments.py;
        `appending`: whether new mail goes there.
        """
        self._redis = redis
        self.cold = cold
        self.drafts = drafts
        self.segments = segments
        self._writer = Writer(segments) if appending else None
        self._doomed: list[str] = []
        self._dropping: asyncio.Task[None] | None = None

    def draft(self) -> Draft:
        return Draft(self.drafts)

    async def settle(self, draft: Draft, message_ids: Sequence[str]) -> bytes | None:
        """Make a draft ready for the step that accepts it: its bytes when it goes into Redis, None when it is durable on disk."""
        hot = draft.hot
        if hot is None:
            try:
                await self.cold.keep(draft, message_ids)
            except StoreError:
                draft.discard()
                raise
        return hot

    def settled(
        self, draft: Draft, message_ids: Sequence[str], *, waits: bool = False
    ) -> AbstractAsyncContextManager[bytes | None]:
        """As `settle`, for steps that the block waits for: what Redis gets may be a pointer. `waits`: it will not leave soon, so small bodies
        would only fill Redis.
        """
        pieces = draft.pieces
        if pieces is None:
            return self._settled_on_disk(draft, message_ids)
        if self._writer is None or (draft.size < WORTH and not waits):
            return contextlib.nullcontext(draft.hot)
        return self._writer.kept(message_ids, pieces, draft.size)

    @contextlib.asynccontextmanager
    async def _settled_on_disk(self, draft: Draft, message_ids: Sequence[str]) -> AsyncIterator[bytes | None]:
        yield await self.settle(draft, message_ids)

    async def get(self, message_id: str) -> Buffer:
        """Raises CorruptError when the message has no body, StoreAwayError."""
        found = await self._found(message_id)
        if found is None:
            return await self.cold.get(message_id)
        try:
            return self._behind(message_id, found)
        except CorruptError as damage:
            with contextlib.suppress(CorruptError):
                return await self.cold.get(message_id)
            raise damage from None

    async def of(self, message_id: str, hot: bytes | None) -> Buffer:
        """The body of a message, given what Redis was just seen to have of it: it only ever moves from there to the cold store."""
        if hot is not None:
            with contextlib.suppress(CorruptError):
                return self._behind(message_id, hot)
        with contextlib.suppress(CorruptError):
            return await self.cold.get(message_id)
        return await self.get(message_id)

    async def in_motion(self, message_id: str) -> bytes | None:
        """The body of a message, unless it is in the cold store or nowhere. Raises StoreAwayError."""
        found = await self._found(message_id)
        with contextlib.suppress(CorruptError):
            return None if found is None else self._behind(message_id, found)
        return None

    async def _found(self, message_id: str) -> bytes | None:
        with faults():
            found: bytes | None = await self._redis.get(keys.body(partition_of(message_id), message_id))
        return found

    def _behind(self, message_id: str, found: bytes) -> bytes:
        """What Redis was seen to have, or what that points to. Raises CorruptError: it has moved to the cold store since, or is gone."""
        where = pointer(found)
        return found if where is None else read(self.segments, where, message_id)

    async def living(self, message_ids: Sequence[str], segment: Path) -> list[str]:
        """Those of whose bodies Redis has a pointer into a segment."""
        living = []
        for message_id, found in zip(message_ids, await self._several(message_ids), strict=True):
            with contextlib.suppress(CorruptError):
                where = pointer(found) if found is not None else None
                if where is not None and path_of(self.segments, where.segment) == segment:
                    living.append(message_id)
        return living

    async def _several(self, message_ids: Sequence[str]) -> list[bytes | None]:
        with faults():
            pipe = self._redis.pipeline(transaction=False)
            for message_id in message_ids:
                pipe.get(keys.body(partition_of(message_id), message_id))
            found: list[bytes | None] = await pipe.execute()
        return found

    async def cool(self, message_ids: Sequence[str]) -> int:
        """Move bodies to the cold store, in bulk; how many moved."""
        moving = []
        for message_id, found in zip(message_ids, await self._several(message_ids), strict=True):
            if found:
                with contextlib.suppress(CorruptError):
                    moving.append((message_id, self._behind(message_id, found)))
        if not moving:
            return 0
        await self.cold.put_many(moving)
        with faults():
            pipe = self._redis.pipeline(transaction=False)
            for message_id, _ in moving:
                pipe.delete(keys.body(partition_of(message_id), message_id))
            await pipe.execute()
        return len(moving)

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
            try:
                await self.cold.drop_many(doomed)
            except StoreAwayError:
                # With the next one that has to go.
                self._doomed = [*doomed, *self._doomed][:DOOMED]
                return
            await asyncio.sleep(GATHERING)

    async def close(self) -> None:
        """Until no file is left that has to go, but for what cannot be reached: it is swept up later."""
        if self._writer is not None:
            self._writer.retire()
        if self._dropping is not None:
            await self._dropping
        await self._drop_doomed()
