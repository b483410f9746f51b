"""Both tiers behind one door: what Redis has of a body, and where the rest is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline import keys
from pipeline.bodies.cold import Buffer, Cold
from pipeline.bodies.draft import Draft
from pipeline.faults import CorruptError, StoreAwayError, StoreError
from pipeline.ids import partition_of
from pipeline.store import Client, faults

DOOMED: Final = 10_000
"""Bodies that wait for a place that cannot be reached, to be dropped there; what is more is swept up later."""


class Bodies:
    """Both tiers behind one door; one for each process."""

    def __init__(self, redis: Client, cold: Cold, drafts: Path) -> None:
        """`drafts`: a directory of this machine, for what is too large for memory while it comes in."""
        self._redis = redis
        self.cold = cold
        self.drafts = drafts
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

    async def get(self, message_id: str) -> Buffer:
        """Raises CorruptError when the message has no body, StoreAwayError."""
        with faults():
            hot: bytes | None = await self._redis.get(keys.body(partition_of(message_id), message_id))
        return hot if hot is not None else await self.cold.get(message_id)

    async def of(self, message_id: str, hot: bytes | None) -> Buffer:
        """The body of a message, given what Redis was just seen to have of it: it only ever moves from there to the cold store."""
        if hot is not None:
            return hot
        with contextlib.suppress(CorruptError):
            return await self.cold.get(message_id)
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
                await self.cold.put_many(found)
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
            try:
                await self.cold.drop_many(doomed)
            except StoreAwayError:
                # With the next one that has to go.
                self._doomed = [*doomed, *self._doomed][:DOOMED]
                return

    async def close(self) -> None:
        """Until no file is left that has to go, but for what cannot be reached: it is swept up later."""
        if self._dropping is not None:
            await self._dropping
        await self._drop_doomed()
