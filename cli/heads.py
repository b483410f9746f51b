"""The live messages, as the workers see them: read from their heads, never from a view."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from pipeline import keys
from pipeline.ids import partition_of
from pipeline.state import Message
from pipeline.store import faults
from workers.steering import live_or_refuse
from workers.wiring import Wiring

__all__ = ["PAGE", "LiveHeads", "live_or_refuse"]

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
        """Those that are live, in the given order."""
        places: dict[int, list[str]] = {}
        for message_id in message_ids:
            places.setdefault(partition_of(message_id), []).append(message_id)
        found: dict[str, Message] = {}
        for partition, names in places.items():
            heads = await self._wiring.schedule.heads(partition, names)
            found |= {message.id: message for message in heads if message is not None}
        return [found[message_id] for message_id in message_ids if message_id in found]
