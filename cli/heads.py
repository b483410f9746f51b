"""The live messages, as the workers see them: read from their heads, never from a view."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from pipeline import keys
from pipeline.faults import NotFoundError, RefusedError
from pipeline.ids import partition_of
from pipeline.state import Message
from pipeline.store import faults
from workers.wiring import Wiring

PAGE: Final = 500


class LiveHeads:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    async def live(self, partition: int) -> AsyncIterator[Message]:
        """All live messages of a partition, each at some moment while this runs."""
        cursor = 0
        while True:
            with faults():
                page: Any = await self._wiring.store.redis.zscan(keys.expiry(partition), cursor, count=PAGE)
            cursor, rows = page
            for message in await self.read([name.decode() for name, _ in rows]):
                if message.live:
                    yield message
            if not cursor:
                return

    async def load(self, message_id: str) -> Message | None:
        """None when it is finished, was never there, or its head cannot be read."""
        if partition_of(message_id) >= self._wiring.store.partitions:
            return None
        (message,) = await self._wiring.schedule.heads(partition_of(message_id), [message_id])
        return message

    async def read(self, message_ids: Sequence[str]) -> list[Message]:
        """Those that are live, in the given order. All of one partition."""
        if not message_ids:
            return []
        found = await self._wiring.schedule.heads(partition_of(message_ids[0]), message_ids)
        return [message for message in found if message is not None]

    async def all(self) -> AsyncIterator[Message]:
        for partition in range(self._wiring.store.partitions):
            async for message in self.live(partition):
                yield message


async def live_or_refuse(wiring: Wiring, message_id: str) -> Message:
    """A live message. Raises NotFoundError, and RefusedError when it has met its end."""
    message = await LiveHeads(wiring).load(message_id)
    if message is not None:
        return message
    in_range = partition_of(message_id) < wiring.store.partitions
    if in_range and await wiring.log.holds(message_id):
        raise RefusedError(f"{message_id} is finished", remedy=f"See `gatepost trace {message_id}`.")
    raise NotFoundError(
        f"no message {message_id}", remedy="The id is in the reply to the sender, and in `gatepost queue list`."
    )
