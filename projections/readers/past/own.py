"""The own events of many messages at once: what is needed to say whether a message is what somebody looks for, and to show it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.events import Recorded, Scanned
from pipeline.history import History
from pipeline.ids import born, partition_of
from pipeline.log import SKEW_MS
from pipeline.places import Place, place_of
from pipeline.state import Message, Stage, decode_head
from pipeline.store import Client, faults
from pipeline.terms import SUBJECT, term
from projections import trace
from projections.positions import hour_of
from projections.readers.past.hot import FOREVER, Extent, Hot
from projections.readers.past.story import WIDEST, WINDOW, Story

AT_ONCE: Final = 8
"""Messages looked up in the archive side by side."""


class Own(msgspec.Struct):
    story: Story
    events: list[Recorded]
    head: Message | None = None
    """Of a live one whose events were not all read."""

    @property
    def message(self) -> Message | None:
        return self.head if self.head is not None else self.story.message

    def take(self, entries: Iterable[Recorded]) -> None:
        for one in entries:
            if not self.story.over and (not self.events or place_of(one.entry) > place_of(self.events[-1].entry)):
                self.story.takes(one)
                self.events.append(one)


class Owns:
    """For one search. `extents`: of the trace view, by partition. `tails`: what it does not know yet, by subject, in order."""

    def __init__(
        self,
        redis: Client,
        hot: Hot,
        history: History,
        extents: Mapping[int, Extent],
        tails: Mapping[str, Sequence[Recorded]],
    ) -> None:
        self._redis = redis
        self._hot = hot
        self._history = history
        self._extents = extents
        self._tails = tails

    async def read(self, ids: Iterable[str], *, whole: bool) -> dict[str, Own]:
        """`whole`: all events of live messages too, however long they wait; else their heads say how they are.

        Ids of partitions without an extent are left out. Raises MovedError.
        """
        found = {one: Own(Story(one), []) for one in ids if partition_of(one) in self._extents}
        limit = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._archived(own, limit) for own in found.values()))
        pending = [own for own in found.values() if not own.story.over]
        skip, size = 0, WINDOW
        while pending:
            pending = await self._window(pending, skip, size)
            skip += size
            size = min(size * 2, WIDEST)
            if pending and not whole:
                await self._heads(pending)
                pending = [own for own in pending if own.head is None]
        for own in found.values():
            own.take(self._tails.get(own.story.message_id, ()))
        return found

    async def _archived(self, own: Own, limit: asyncio.Semaphore) -> None:
        archive = self._history.archive
        message_id = own.story.message_id
        extent = self._extents[partition_of(message_id)]
        start, end = max(0, born(message_id) - SKEW_MS), FOREVER if extent.first is None else extent.first[0]
        if archive is None or start >= end:
            return
        async with limit:
            found = archive.find(extent.partition, term(SUBJECT, message_id), start, end)
            entries = [one async for one in found if one.subject == message_id]
        own.take(sorted(entries, key=lambda one: place_of(one.entry)))

    async def _window(self, pending: Sequence[Own], skip: int, size: int) -> list[Own]:
        """Read on in some hours of each; those that go on behind them."""
        wanted: list[tuple[Own, Extent, int]] = []
        going_on: list[Own] = []
        for own in pending:
            extent = self._extents[partition_of(own.story.message_id)]
            if not extent.prefix or extent.first is None:
                continue
            first = hour_of(max(born(own.story.message_id) - SKEW_MS, extent.first[0])) + skip
            last = hour_of(extent.reached[0])
            wanted += [(own, extent, hour) for hour in range(first, min(first + size, last + 1))]
            if first + size <= last:
                going_on.append(own)
        places = await self._places(wanted)
        await asyncio.gather(*(self._fetch(partition, of) for partition, of in places.items()))
        return [own for own in going_on if not own.story.over]

    async def _places(self, wanted: Sequence[tuple[Own, Extent, int]]) -> dict[int, dict[str, tuple[Own, list[Place]]]]:
        """By partition and message where it is spoken of."""
        found: dict[int, dict[str, tuple[Own, list[Place]]]] = {}
        if not wanted:
            return found
        terms = {own.story.message_id: term(SUBJECT, own.story.message_id) for own, _, _ in wanted}
        stored = await self._hot.strings(
            [(extent, trace.key(hour, terms[own.story.message_id])) for own, extent, hour in wanted]
        )
        for (own, extent, hour), postings in zip(wanted, stored, strict=True):
            message_id = own.story.message_id
            _, places = found.setdefault(extent.partition, {}).setdefault(message_id, (own, []))
            places += [one for one in trace.places(postings, hour, terms[message_id]) if extent.knows(one)]
        return found

    async def _fetch(self, partition: int, of: Mapping[str, tuple[Own, Sequence[Place]]]) -> None:
        entries = await self._hot.fetch(partition, [one for _, places in of.values() for one in places])
        by_subject: dict[str, list[Recorded]] = {}
        for one in entries:
            by_subject.setdefault(one.subject, []).append(one)
        for message_id, (own, _) in of.items():
            own.take(by_subject.get(message_id, ()))

    async def _heads(self, owns: Sequence[Own]) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for own in owns:
            pipe.hget(keys.head(partition_of(own.story.message_id), own.story.message_id), "m")
        with faults():
            heads: Any = await pipe.execute()
        for own, head in zip(owns, heads, strict=True):
            if head is not None and own.story.message is not None:
                with contextlib.suppress(msgspec.DecodeError):
                    own.head = _enough(decode_head(head), own.events)


def _enough(head: Message, events: Sequence[Recorded]) -> Message | None:
    """The head, if what was not read can tell nothing by which a message is found, but for the servers that it was tried at."""
    redirected = any(one.stage is Stage.REDIRECTED for one in head.recipients)
    scanned = head.stage is Stage.RECEIVED or any(isinstance(one.event, Scanned) for one in events)
    return head if scanned and not redirected else None
