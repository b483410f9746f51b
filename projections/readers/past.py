"""What happened, found by whom it concerns: in Redis and in the archive alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from pipeline.events import Deferred, Delivered, Event, Failed, Recorded, RouteDeferred, Undeliverable
from pipeline.history import History
from pipeline.ids import partition_for
from pipeline.store import Client

ATTEMPTS: Final[frozenset[type[Event]]] = frozenset({Deferred, Delivered, Failed, Undeliverable, RouteDeferred})
_PAGE: Final = 1000


class Past:
    """One per process; stateless."""

    def __init__(self, redis: Client, history: History, partitions: int) -> None:
        self._redis = redis
        self._history = history
        self._partitions = partitions

    async def message(self, message_id: str) -> AsyncIterator[Recorded]:
        """All that was written down of a message, or of mail that was refused, and of its route while it waited, in order."""
        async for recorded in self._history.log.history(message_id):
            yield recorded

    async def attempts(self, domain: str, start: int, end: int) -> AsyncIterator[Recorded]:
        """The delivery attempts for a domain (`ATTEMPTS`) whose `at` is from `start` to before `end` (ns), in the order of the log."""
        partition, after = partition_for(domain, self._partitions), "0"
        while entries := await self._history.read(partition, after, _PAGE):
            for entry in entries:
                if isinstance(entry, Recorded) and type(entry.event) in ATTEMPTS:
                    event = entry.event
                    if event.domain == domain and start <= event.at < end:
                        yield entry
            after = entries[-1].entry
