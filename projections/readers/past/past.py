"""What happened, found by whom it concerns: in Redis and in the archive alike.

What is in Redis is found by the index views, what came into the log since they were last brought forward is looked at as it stands
there, and what is older than the first entry in Redis comes out of the archive. Nobody sees where one ends and another begins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from pipeline.events import Deferred, Delivered, Event, Failed, Recorded, RouteDeferred, Undeliverable
from pipeline.history import History
from pipeline.ids import is_id, partition_for, partition_of
from pipeline.log import SKEW_MS
from pipeline.places import Place, place_of
from pipeline.store import Client
from projections.readers.past.attempts import Attempts
from projections.readers.past.finding import Found, Page, Query
from projections.readers.past.hot import BEGINNING, Hot, MovedError
from projections.readers.past.search import Search
from projections.readers.past.story import Stories, Story

ATTEMPTS: Final[frozenset[type[Event]]] = frozenset({Deferred, Delivered, Failed, Undeliverable, RouteDeferred})
TRIES: Final = 20
"""How often a reading may be overtaken by trimming and get no further, before something else must be wrong. The log is trimmed once an hour,
where Redis is short of room every few seconds.
"""
PAGE: Final = 50
_NS: Final = 1_000_000


class Past:
    """One per process; stateless."""

    def __init__(self, redis: Client, history: History, partitions: int) -> None:
        self._redis = redis
        self._history = history
        self._partitions = partitions
        self._hot = Hot(redis)
        self._stories = Stories(self._hot, history)
        self._attempts = Attempts(self._hot, history)

    async def message(self, message_id: str, version: int | None = None) -> AsyncIterator[Recorded]:
        """All that was written down of a message, or of mail that was refused, and of its route while it waited, in order.

        Ends at its last outcome, or at `version` for a live one. Nothing for an id that is none, or of another Gatepost.
        """
        if not is_id(message_id) or partition_of(message_id) >= self._partitions:
            return
        story, told, left = Story(message_id, version), BEGINNING, TRIES
        while True:
            try:
                async for recorded in self._stories.read(story, told):
                    told, left = place_of(recorded.entry), TRIES
                    if story.takes(recorded):
                        yield recorded
                    if story.over:
                        return
            except MovedError:
                left -= 1
                if not left:
                    raise
            else:
                return

    async def holds(self, message_id: str) -> bool:
        """Whether a message was ever received under this id, or mail refused."""
        async for _ in self.message(message_id, version=1):
            return True
        return False

    async def attempts(
        self, domain: str, start: int, end: int, kinds: frozenset[type[Event]] = ATTEMPTS
    ) -> AsyncIterator[Recorded]:
        """The delivery attempts for a domain (`kinds`, all of them of `ATTEMPTS`) whose `at` is from `start` to before `end` (ns), in
        the order of the log.
        """
        partition, left = partition_for(domain, self._partitions), TRIES
        told: Place = (max(0, start // _NS - SKEW_MS), -1)
        until = -(-end // _NS) + SKEW_MS
        while True:
            try:
                async for recorded in self._attempts.read(partition, domain, told, until, kinds):
                    told, left = place_of(recorded.entry), TRIES
                    event = recorded.event
                    if event.domain == domain and type(event) in kinds and start <= event.at < end:
                        yield recorded
            except MovedError:
                left -= 1
                if not left:
                    raise
            else:
                return

    async def page(self, query: Query, limit: int, after: str = "") -> Page:
        """Up to `limit` messages that are what is looked for, the newest first, behind where another page ended. Fewer, or none, does
        not mean that there are no more: `Page.following` says it, as the work for one page is bounded. Raises ValueError for an
        `after` that no page said.
        """
        left = TRIES
        while True:
            try:
                return await Search(self._redis, self._hot, self._history, self._partitions, query).page(limit, after)
            except MovedError:
                left -= 1
                if not left:
                    raise

    async def find(self, query: Query, after: str = "") -> AsyncIterator[Found]:
        """All messages that are what is looked for, the newest first."""
        while True:
            page = await self.page(query, PAGE, after)
            for one in page.found:
                yield one
            after = page.following
            if not after:
                return
