"""An archive in memory, and a log that is trimmed behind it as the real one is.

For properties that are tried on hundreds of logs, each cut at several hours: `tests/support/archives.py` has the real archive, which
seals files for each of these, and `tests/contract/test_past.py` asks the same questions of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Container, Sequence

import msgspec

from pipeline import keys
from pipeline.events import Event, Recorded, encode
from pipeline.log import Damaged
from pipeline.places import HOUR_MS, place_of
from pipeline.terms import terms
from projections import builds
from projections.base import Projection
from projections.positions import hour_of_key
from projections.readers.past import ATTEMPTS


class MemoryArchive:
    """All that was ever given to it, in the order of the log."""

    def __init__(self, entries: Sequence[Recorded] = ()) -> None:
        self.entries = list(entries)

    def _of(self, partition: int) -> list[Recorded]:
        return [one for one in self.entries if one.partition == partition]

    async def first(self, partition: int) -> str:
        found = self._of(partition)
        return found[0].entry if found else ""

    async def last(self, partition: int) -> str:
        found = self._of(partition)
        return found[-1].entry if found else "0"

    async def read(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> list[Recorded | Damaged]:
        found: list[Recorded | Damaged] = [
            one
            for one in self._of(partition)
            if place_of(one.entry) > place_of(after)
            and (until is None or place_of(one.entry) <= place_of(until))
            and (kinds is None or type(one.event) in kinds)
        ]
        return found[:count]

    async def find(self, partition: int, term: int, start: int, end: int) -> AsyncIterator[Recorded]:
        for one in reversed(self._of(partition)):
            if start <= place_of(one.entry)[0] < end and term in terms(one.subject, one.event):
                yield one

    async def attempts(self, partition: int, domain: str, after: str, end: int) -> AsyncIterator[Recorded]:
        for one in self._of(partition):
            where = place_of(one.entry)
            if (
                type(one.event) in ATTEMPTS
                and one.event.domain == domain
                and place_of(after) < where
                and where[0] < end
            ):
                yield one


def stretched(events: Sequence[Recorded], factor: int, origin: int) -> list[Recorded]:
    """The same events with `factor` times as much time between them and `origin` (ns), and entries of those times."""
    found: list[Recorded] = []
    last = (0, 0)
    for one in events:
        at = origin + (one.event.at - origin) * factor
        ms = max(at // 1_000_000, last[0])
        last = (ms, last[1] + 1 if ms == last[0] else 0)
        event = msgspec.structs.replace(one.event, at=at)
        found.append(msgspec.structs.replace(one, entry=f"{last[0]}-{last[1]}", event=event))
    return found


async def write_entries(redis, events: Sequence[Recorded]) -> None:
    """Events into the logs under the ids that they have."""
    pipe = redis.pipeline(transaction=False)
    for one in events:
        fields = {"s": one.subject, "v": one.version, "e": encode(one.event)}
        pipe.xadd(keys.log(one.partition), fields, id=one.entry)
    await pipe.execute()


async def trim(redis, partition: int, hour: float, views: Sequence[Projection]) -> None:
    """The log of a partition begins at an hour, or within it, and so do its index views but for what is of that hour."""
    pipe = redis.pipeline(transaction=True)
    pipe.xtrim(keys.log(partition), minid=str(int(hour * HOUR_MS)), approximate=False)
    for projection in views:
        live = await builds.live(redis, partition, projection)
        if live is None:
            continue
        for name in await redis.smembers(live[0].prefix + "keys"):
            of = hour_of_key(name.decode())
            if of is not None and of < int(hour):
                pipe.delete(live[0].prefix + name.decode())
                pipe.srem(live[0].prefix + "keys", name)
    await pipe.execute()
