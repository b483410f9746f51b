"""How far each view is, what it could not read, and how far another build of it has grown.

What this costs does not depend on how long the log is, or how far a view is behind: events are counted up to `COUNTED`, and
beyond that estimated from the times in the entries' ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.places import place_of
from pipeline.store import Client, faults
from pipeline.topology.spread import time_ms
from projections.base import START, DamagedEntry, History
from projections.builds import builds_key
from projections.readers.common import decoded, text

COUNTED: Final = 100
"""Events that a view is behind by are counted so far."""
NEWEST: Final = 10
"""Entries that could not be read, shown per view and partition."""
MS: Final = 1_000_000

_decode = msgspec.msgpack.Decoder(DamagedEntry).decode


class Growing(msgspec.Struct, frozen=True, kw_only=True):
    """A build that takes the live one's place when it has caught up."""

    version: str
    checkpoint: str
    done: float
    """0 to 1, by the times of the log's entries."""


class ViewHealth(msgspec.Struct, frozen=True, kw_only=True):
    view: str
    partition: int
    checkpoint: str
    behind: int
    """ns since the first event that is not in the view was appended; 0 when all are."""
    damaged: int
    """Log entries that could not be read."""
    broken: int
    """Writes that Redis refused: the view is damaged, and a replay mends it."""
    newest_damaged: tuple[DamagedEntry, ...]
    version: str = ""
    """Of the live build; empty: there is none."""
    events: int = 0
    """Entries of the log that are not in it."""
    exact: bool = True
    """Those were counted; else there are about so many."""
    growing: Growing | None = None

    @property
    def reached(self) -> int:
        """When the last event that is in it was appended (ns); 0: none is."""
        return _appended(self.checkpoint)


class _Ends(msgspec.Struct, frozen=True):
    """Of one partition's log."""

    first: str
    last: str
    length: int


class _Builds(msgspec.Struct, frozen=True):
    """Of one view in one partition: (number, version)."""

    live: tuple[int, str] | None
    next: tuple[int, str] | None


async def read_health(
    redis: Client, history: History, partitions: int, names: Iterable[str], now: int
) -> list[ViewHealth]:
    """One per view and partition. `now`: ns, by Redis's clock, which stamps the log."""
    views = list(names)
    builds, ends = await _builds_and_ends(redis, partitions, views)
    stored = await _stored(redis, builds)
    behind: dict[tuple[int, str], tuple[int, int, bool]] = {}
    found = []
    for (name, partition), build in builds.items():
        checkpoint, grown, damaged, broken, newest = stored[name, partition]
        place = partition, checkpoint
        if place not in behind:  # most views of a partition stand at the same entry
            behind[place] = await _behind(history, partition, checkpoint, ends[partition], now)
        since, events, exact = behind[place]
        found.append(
            ViewHealth(
                view=name,
                partition=partition,
                checkpoint=checkpoint,
                behind=since,
                damaged=damaged,
                broken=broken,
                newest_damaged=tuple(decoded(_decode, one, name) for one in newest),
                version=build.live[1] if build.live else "",
                events=events,
                exact=exact,
                growing=Growing(version=build.next[1], checkpoint=grown, done=_done(grown, ends[partition]))
                if build.next
                else None,
            )
        )
    return found


async def redis_now(redis: Client) -> int:
    """ns, by Redis's clock."""
    with faults():
        return await time_ms(redis, keys.log(0)) * 1_000_000


async def _builds_and_ends(
    redis: Client, partitions: int, views: Sequence[str]
) -> tuple[dict[tuple[str, int], _Builds], list[_Ends]]:
    with faults():
        pipe = redis.pipeline(transaction=False)
        for partition in range(partitions):
            pipe.hgetall(builds_key(partition))
            pipe.xrange(keys.log(partition), count=1)
            pipe.xrevrange(keys.log(partition), count=1)
            pipe.xlen(keys.log(partition))
        answers: Any = await pipe.execute()
    fields, firsts, lasts, lengths = (answers[start::4] for start in range(4))
    ends = [
        _Ends(_entry(first), _entry(last), length) for first, last, length in zip(firsts, lasts, lengths, strict=True)
    ]
    builds = {
        (name, partition): _Builds(
            _numbered(fields[partition].get(f"live:{name}".encode())),
            _numbered(fields[partition].get(f"next:{name}".encode())),
        )
        for name in views
        for partition in range(partitions)
    }
    return builds, ends


def _entry(rows: Any) -> str:
    return text(rows[0][0]) if rows else START


def _numbered(stored: bytes | None) -> tuple[int, str] | None:
    if stored is None:
        return None
    number, _, version = text(stored).partition(" ")
    return int(number), version


async def _stored(
    redis: Client, builds: Mapping[tuple[str, int], _Builds]
) -> dict[tuple[str, int], tuple[str, str, int, int, list[bytes]]]:
    """Checkpoint, that of the build that grows, damaged, broken, the newest damaged entries."""
    with faults():
        pipe = redis.pipeline(transaction=False)
        for (name, partition), build in builds.items():
            prefix = keys.view(partition, name, build.live[0] if build.live else 0)  # 0: nothing is there
            grows = keys.view(partition, name, build.next[0] if build.next else 0)
            pipe.get(prefix + "checkpoint")
            pipe.get(grows + "checkpoint")
            pipe.hmget(prefix + "meta", ["damaged", "broken"])
            pipe.lrange(prefix + "damaged", 0, NEWEST - 1)
        answers: Any = await pipe.execute()
    rows = zip(*(answers[start::4] for start in range(4)), strict=True)
    return {
        place: (
            text(checkpoint) if checkpoint else START,
            text(grown) if grown else START,
            int(damaged or 0),
            int(broken or 0),
            newest,
        )
        for place, (checkpoint, grown, (damaged, broken), newest) in zip(builds, rows, strict=True)
    }


async def _behind(history: History, partition: int, checkpoint: str, ends: _Ends, now: int) -> tuple[int, int, bool]:
    """(ns, events, whether these were counted)."""
    if place_of(checkpoint) >= place_of(ends.last):
        return 0, 0, True
    following = await history.page(partition, checkpoint, COUNTED)
    if not following.entries:
        return 0, 0, True
    since = max(0, now - _appended(following.entries[0].entry))
    if following.count < COUNTED:
        return since, following.count, True
    return since, max(COUNTED, round(ends.length * (1 - _done(checkpoint, ends)))), False


def _done(checkpoint: str, ends: _Ends) -> float:
    """How much of the log is behind an entry, by time."""
    first, last, here = (_appended(entry) for entry in (ends.first, ends.last, checkpoint))
    if place_of(checkpoint) >= place_of(ends.last):
        return 1.0
    return min(1.0, max(0.0, (here - first) / (last - first))) if last > first else 0.0


def _appended(entry: str) -> int:
    return place_of(entry)[0] * MS
