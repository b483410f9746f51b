"""All that was written down of one message, without reading what lies between."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Final

from pipeline.events import MessageEvent, Recorded, Refused
from pipeline.history import History
from pipeline.ids import born, partition_of
from pipeline.log import SKEW_MS, page_of
from pipeline.places import Place, place_of
from pipeline.state import IllegalStep, Message, evolve
from pipeline.terms import SUBJECT, term
from projections import trace
from projections.positions import hour_of
from projections.readers.past.hot import FOREVER, Extent, Hot, behind_of, subject_of

WINDOW: Final = 2
"""Hours looked at in the first round trip, twice as many in each that follows: most mail is gone within the first of them."""
WIDEST: Final = 64
TAIL: Final = 1000


class Story:
    """What belongs to the history of a message: its own events, and those of its route while it waits."""

    def __init__(self, message_id: str, version: int | None = None) -> None:
        self.message_id = message_id
        self.message: Message | None = None
        self.over = False
        self._version = version
        self._own = message_id.encode()
        self._route: bytes | None = None

    @property
    def route(self) -> str | None:
        """The subject of its route's events, as soon as the message was received."""
        return "@" + self.message.domain if self.message is not None else None

    def concerns(self, subject: bytes) -> bool:
        return subject == self._own or (self._route is not None and subject == self._route)

    def takes(self, recorded: Recorded) -> bool:
        """Whether an event, the next in the order of the log, belongs to it; `over` says whether it is the last one."""
        if recorded.subject != self.message_id:
            return recorded.subject == self.route
        if isinstance(recorded.event, Refused):
            self.over = True
        elif isinstance(recorded.event, MessageEvent):
            # Old history is read as it is: a step that should not have been possible is shown, not judged.
            with contextlib.suppress(IllegalStep):
                self.message = evolve(self.message, recorded.event, self.message_id)
            self._route = self.route.encode() if self.route is not None else None
            finished = self.message is not None and not self.message.live
            self.over = finished or (self._version is not None and recorded.version >= self._version)
        return True

    def after(self, own: Iterable[Recorded]) -> tuple[str | None, Place | None]:
        """What follows from more of its own events: the subject of its route, and where it ends, None when it goes on."""
        trial = Story(self.message_id, self._version)
        trial.message = self.message
        for recorded in own:
            trial.takes(recorded)
            if trial.over:
                return trial.route, place_of(recorded.entry)
        return trial.route, None


class Stories:
    def __init__(self, hot: Hot, history: History) -> None:
        self._hot = hot
        self._history = history

    async def read(self, story: Story, told: Place) -> AsyncIterator[Recorded]:
        """What may belong to a story, behind a place, in order. Raises MovedError."""
        extent = await self._hot.extent(partition_of(story.message_id), trace.NAME)
        start = max(told, (max(0, born(story.message_id) - SKEW_MS), -1))
        async for recorded in self._archived(story, extent, start):
            yield recorded
        if extent.first is None:
            return
        start = max(start, behind_of(extent.first))
        if extent.prefix:
            for hours in windows(hour_of(start[0]), hour_of(extent.reached[0])):
                for recorded in await self._window(story, extent, hours):
                    if place_of(recorded.entry) > start:
                        yield recorded
        async for recorded in self._tail(story, extent.partition, max(extent.reached, start)):
            yield recorded

    async def _archived(self, story: Story, extent: Extent, start: Place) -> AsyncIterator[Recorded]:
        archive = self._history.archive
        end = FOREVER if extent.first is None else extent.first[0]
        if archive is None or start[0] >= end:
            return

        async def of(subject: str, until: int) -> list[Recorded]:
            found = archive.find(extent.partition, term(SUBJECT, subject), start[0], until)
            return [one async for one in found if one.subject == subject and place_of(one.entry) > start]

        own = in_order(await of(story.message_id, end))
        route, last = story.after(own)
        routes = await of(route, end if last is None else last[0] + 1) if route is not None else []
        for recorded in in_order([*own, *routes]):
            if extent.first is None or place_of(recorded.entry) < extent.first:
                yield recorded

    async def _window(self, story: Story, extent: Extent, hours: Sequence[int]) -> list[Recorded]:
        """The entries of some hours that are the message's, or its route's."""
        own = await self._of(extent, hours, story.message_id, None)
        route, last = story.after(own)
        routes = await self._of(extent, hours, route, last) if route is not None else []
        return in_order([*own, *routes])

    async def _of(self, extent: Extent, hours: Sequence[int], subject: str, last: Place | None) -> list[Recorded]:
        places = await self._hot.postings(extent, hours, term(SUBJECT, subject))
        if last is not None:
            places = [one for one in places if one <= last]
        return [one for one in await self._hot.fetch(extent.partition, places) if one.subject == subject]

    async def _tail(self, story: Story, partition: int, after: Place) -> AsyncIterator[Recorded]:
        """What the view does not know yet. The story grows with what is given back, and so does what belongs to it."""
        following: Place | None = after
        while following is not None:
            rows, following = await self._hot.tail(partition, following, TAIL)
            for row in rows:
                if story.concerns(subject_of(row)):
                    for recorded in page_of(partition, [row], "0").entries:
                        if isinstance(recorded, Recorded):
                            yield recorded


def windows(first: int, last: int) -> Iterator[range]:
    """Hours in growing portions."""
    size = WINDOW
    while first <= last:
        yield range(first, min(first + size, last + 1))
        first += size
        size = min(size * 2, WIDEST)


def in_order(entries: Iterable[Recorded]) -> list[Recorded]:
    return sorted(entries, key=lambda one: place_of(one.entry))
