"""Whether a log of the store is whole: order, versions and steps of every subject, and that the heads say what it says.

The gateway goes on meanwhile. So a head is held against the log at one moment: it is read in one transaction with the newest entry, and
the log is then read up to just that one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from pipeline import keys
from pipeline.archive.model import DIRECTORY
from pipeline.audit.changes import Changes
from pipeline.audit.entries import FIRST, Entries, Entry
from pipeline.audit.subjects import Filter, Subjects
from pipeline.audit.verify import Problems
from pipeline.events import DirectoryEvent
from pipeline.ids import born, is_id
from pipeline.log import SKEW_MS
from pipeline.places import place_of
from pipeline.store import Client, faults
from pipeline.topology.spread import masters

HEADS: Final = 1000
"""Asked for in one call."""
LAST: Final = (1 << 64) - 1


class Walk:
    """Along one log, from its beginning or a moment to any later entry."""

    def __init__(
        self,
        entries: Entries,
        partition: int,
        problems: Problems,
        gone: Filter,
        begin: int = 0,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`begin`: ms from which on it is looked at; 0: from its first entry. `told` hears how many entries were read."""
        self.partition = partition
        self.subjects = Subjects(gone, begin)
        self.changes = Changes(begin=begin)
        self.reached = f"{begin - 1}-{LAST}" if begin else FIRST
        self._entries = entries
        self._problems = problems
        self._told = told

    async def read(self, until: str) -> None:
        """Raises CorruptError where the archive is not what it should be, StoreError."""
        if place_of(until) <= place_of(self.reached):
            return
        async for batch in self._entries.all(self.partition, self.reached, until):
            for entry in batch:
                await self._take(entry)
            self._told(len(batch))

    async def _take(self, entry: Entry) -> None:
        if place_of(entry.id) <= place_of(self.reached):
            self.problem(f"it stands behind entry {self.reached}", entry.id)
        else:
            self.reached = entry.id
        if entry.event is None:
            self.problem(f"it cannot be read: {entry.fault}", entry.id)
        wrong = self.subjects.see(entry)
        if self.subjects.suspect and not wrong:
            wrong = await self._been_before(entry)
        if not wrong and self.partition == DIRECTORY and isinstance(entry.event, DirectoryEvent):
            wrong = self.changes.see(entry.event)
        if wrong:
            self.problem(wrong, entry.id)

    async def _been_before(self, entry: Entry) -> str:
        """The filter says that it may have been: the log knows, from the moment on that is in the id."""
        start = max(0, born(entry.subject) - SKEW_MS)
        async for batch in self._entries.all(self.partition, f"{start}-0", entry.id):
            for one in batch:
                if one.subject == entry.subject and one.id != entry.id:
                    return f"{entry.subject} was there already, in entry {one.id}"
        return ""

    def problem(self, text: str, entry: str = "") -> None:
        self._problems.add(text, partition=self.partition, entry=entry)


async def heads(redis: Client, walks: dict[int, Walk]) -> None:
    """Hold the heads of all messages, and of routes, against what the logs say of them."""
    for walk in walks.values():
        if walk.partition == DIRECTORY:
            continue
        for subjects in _pages(list(walk.subjects.live)):
            known = [subject for subject in subjects if _head(walk.partition, subject)]
            await _compare(redis, walk, known)
    async for batch in _stored(redis):
        found: dict[int, list[str]] = {}
        for partition, subject in batch:
            if partition in walks and subject not in walks[partition].subjects.live:
                found.setdefault(partition, []).append(subject)
        for partition, subjects in found.items():
            await _compare(redis, walks[partition], subjects)


def _pages(subjects: list[str]) -> Iterator[list[str]]:
    rest = iter(subjects)
    while page := list(islice(rest, HEADS)):
        yield page


def _head(partition: int, subject: str) -> str:
    """The key of a subject's head; empty where it has none that stays."""
    if is_id(subject):
        return keys.head(partition, subject)
    return keys.route(partition, subject[1:]) if subject.startswith("@") else ""


async def _compare(redis: Client, walk: Walk, subjects: Iterable[str]) -> None:
    names = list(subjects)
    with faults():
        pipe = redis.pipeline(transaction=False)
        for subject in names:
            pipe.hget(_head(walk.partition, subject), "v")
        versions: Any = await pipe.execute()
    for subject, version in zip(names, versions, strict=True):
        if _number(version) != _said(walk, subject):
            await _settle(redis, walk, subject)


async def _settle(redis: Client, walk: Walk, subject: str) -> None:
    """Head and log at one moment."""
    with faults():
        pipe = redis.pipeline(transaction=True)
        pipe.hget(_head(walk.partition, subject), "v")
        pipe.xrevrange(keys.log(walk.partition), count=1)
        version, newest = await pipe.execute()
    if newest:
        await walk.read(newest[0][0].decode())
    head, said = _number(version), _said(walk, subject)
    if head == said:
        return
    state = walk.subjects.live.get(subject)
    if state is None:
        walk.problem(
            f"{subject} has a head at version {head}, and the log says that it is finished, or was never there"
        )
    elif not head:
        # A lesson's head is under another name, and goes after some months.
        if subject.startswith("@") or state.names:
            walk.problem(f"{subject} has no head, and the log says that it lives, at version {said}")
    else:
        walk.problem(f"the head of {subject} is at version {head}, and the log is at version {said}")


def _said(walk: Walk, subject: str) -> int:
    state = walk.subjects.live.get(subject)
    return state.version if state is not None else 0


def _number(version: bytes | None) -> int:
    try:
        return int(version or 0)
    except ValueError:
        return -1


async def _stored(redis: Client) -> AsyncIterator[list[tuple[int, str]]]:
    """All heads of messages that there are: partition and id."""
    prefix = keys.head(0, "").partition("0")[0]
    pattern = f"{prefix}*}}:msg:*"
    with faults():
        servers = await masters(redis)
    for server in servers:
        cursor = -1
        while cursor:
            with faults():
                cursor, found = await server.scan(max(0, cursor), match=pattern, count=10 * HEADS)
            named = [name.decode("utf-8", "replace").removeprefix(prefix).split("}:msg:", 1) for name in found]
            yield [(int(partition), subject) for partition, subject in named if partition.isdigit() and is_id(subject)]


async def directory(redis: Client, walk: Walk) -> None:
    """Whether the directory is what its log says: the number of changes, and every domain, address, entry, sync and held server."""
    while True:
        with faults():
            pipe = redis.pipeline(transaction=True)
            pipe.hget(keys.DIRECTORY_HEAD, "v")
            pipe.xrevrange(keys.DIRECTORY_LOG, count=1)
            version, newest = await pipe.execute()
        if newest:
            await walk.read(newest[0][0].decode())
        wrong = [text async for text in walk.changes.differences(redis)]
        with faults():
            again = await redis.hget(keys.DIRECTORY_HEAD, "v")
        if again == version:
            break
    said = _said(walk, keys.DIRECTORY_SUBJECT)
    if _number(version) != said and walk.changes.whole:
        walk.problem(f"the directory is at change {_number(version)}, and its log at {said}")
    for text in wrong:
        walk.problem(text)


async def taken_out(redis: Client, partition: int) -> int:
    """How many entries are gone from a log that did not go to the archive first."""
    with faults():
        if not await redis.exists(keys.log(partition)):
            return 0
        pipe = redis.pipeline(transaction=True)
        pipe.xinfo_stream(keys.log(partition))
        pipe.hget(keys.archive(partition), "trimmed")
        found, trimmed = await pipe.execute()
    return max(0, int(found["entries-added"]) - int(found["length"]) - int(trimmed or 0))
