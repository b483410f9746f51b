"""Where two builds of one view differ, piece by piece, each at an exact moment (see replay.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from pipeline import keys
from pipeline.faults import ConflictError
from pipeline.places import place_of
from pipeline.store import Client, faults
from projections.base import START, View
from projections.cutting import LAYOUTS
from projections.parts import Part, is_about, part_of
from projections.positions import hour_of, hour_of_key, since

_CHUNK: Final = 500
_SHOWN: Final = 500
_READ: Final = 100_000
"""Octets of a value that is still shown as what it says."""

Stored: TypeAlias = "bytes | float | list[bytes] | None"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    partition: int
    key: str
    """Within the view, as in the projection's list of keys."""
    field: str
    """Of a hash or sorted set; empty for a whole key."""
    live: str
    rebuilt: str


class Replaced(ConflictError):
    """The live view is not what it was when the comparison began."""


async def differences(
    redis: Client, live: View, rebuilt: View, catch_up: Callable[[str], Awaitable[None]], domain: str = ""
) -> AsyncIterator[Difference]:
    """Every difference. `catch_up` brings `rebuilt` to a checkpoint, which never lies before an earlier one.

    `domain`: only in what is about this one, of whose events alone `rebuilt` was made.
    """
    comparison = _Comparison(redis, live, rebuilt, catch_up, domain)
    for name in sorted(await comparison.names()):
        async for difference in comparison.of_key(name):
            # A view of what is in Redis loses its oldest hours when the log does.
            if not (live.projection.hot and await comparison.trimmed(name)):
                yield difference


class _Comparison:
    def __init__(
        self, redis: Client, live: View, rebuilt: View, catch_up: Callable[[str], Awaitable[None]], domain: str
    ) -> None:
        self._domain = domain
        self._redis = redis
        self._live = live
        self._rebuilt = rebuilt
        self._catch_up = catch_up
        self._reached = START

    async def names(self) -> set[str]:
        with faults():
            both: Any = await self._redis.sunion([self._live.prefix + "keys", self._rebuilt.prefix + "keys"])
        found = {name.decode() for name in both}
        return {name for name in found if self._part(name) is not Part.NONE}

    def _part(self, name: str) -> Part:
        return part_of(name, self._domain) if self._domain else Part.ALL

    async def trimmed(self, name: str) -> bool:
        """Whether a key is about an hour that is not in the log any more."""
        hour = hour_of_key(name)
        if hour is None:
            return False
        begin = await self._begin()
        return begin is None or hour < hour_of(begin)

    async def _begin(self) -> int | None:
        """Where the log begins (ms), None where nothing is left: the floor is raised, and views are cut, before the last of it is gone."""
        with faults():
            pipe = self._redis.pipeline(transaction=True)
            pipe.xrange(keys.log(self._live.partition), count=1)
            pipe.hget(keys.archive(self._live.partition), "floor")
            first, floor = await pipe.execute()
        return max(place_of(first[0][0].decode())[0], int(floor or 0)) if first else None

    async def _since(self, name: str, values: Sequence[Stored]) -> list[Stored]:
        """Of an hour in which the log begins: what comes before that is in one build or in both, until it is cut off."""
        layout, hour = LAYOUTS.get(self._live.projection.name), hour_of_key(name)
        begin = await self._begin() if layout is not None and hour is not None else None
        if layout is None or begin is None or hour != hour_of(begin):
            return list(values)
        return [since(one, layout, begin) or None if isinstance(one, bytes) else one for one in values]

    async def of_key(self, name: str) -> AsyncIterator[Difference]:
        kinds = [await self._type(view.prefix + name) for view in (self._live, self._rebuilt)]
        known = [kind for kind in kinds if kind != "none"]
        if len(set(known)) > 1:
            yield self._difference(name, "", f"a {kinds[0]}", f"a {kinds[1]}")
        elif known and known[0] in ("hash", "zset"):
            async for difference in self._of_fields(name, known[0]):
                yield difference
        elif known and self._part(name) is not Part.SHARED:
            (ours,), (theirs,) = await self._both(name, known[0], ())
            ours, theirs = await self._since(name, [ours, theirs])
            if ours != theirs:
                yield self._difference(name, "", _show(ours), _show(theirs))

    async def _of_fields(self, name: str, kind: str) -> AsyncIterator[Difference]:
        """The live view's fields, then those that only the rebuilt one has."""
        reported: set[str] = set()
        part = self._part(name)
        for view in (self._live, self._rebuilt):
            if view is self._live and part is Part.SHARED:
                continue
            async for found in self._pages(view.prefix + name, kind):
                fields = [field for field, row in found if part is not Part.SOME or is_about(row, self._domain)]
                if not fields:
                    continue
                ours, theirs = await self._both(name, kind, fields)
                for field, mine, other in zip(fields, ours, theirs, strict=True):
                    text = field.decode("utf-8", "replace")
                    if mine != other and text not in reported:
                        reported.add(text)
                        yield self._difference(name, text, _show(mine), _show(other))

    async def _both(self, name: str, kind: str, fields: Sequence[bytes]) -> tuple[list[Stored], list[Stored]]:
        """One piece of both builds, as it was at the same checkpoint."""
        with faults():
            pipe = self._redis.pipeline(transaction=True)
            pipe.get(self._live.prefix + "checkpoint")
            _read(pipe, self._live.prefix + name, kind, fields)
            stored, ours = await pipe.execute()
        checkpoint = stored.decode() if stored else START
        if place_of(checkpoint) < place_of(self._reached):
            raise Replaced("the live view was replaced while it was being compared", remedy="Run the replay again.")
        self._reached = checkpoint
        await self._catch_up(checkpoint)
        with faults():
            pipe = self._redis.pipeline(transaction=False)
            _read(pipe, self._rebuilt.prefix + name, kind, fields)
            (theirs,) = await pipe.execute()
        return (ours, theirs) if fields else ([ours], [theirs])

    async def _type(self, key: str) -> str:
        with faults():
            kind: Any = await self._redis.type(key)
        return str(kind.decode())

    async def _pages(self, key: str, kind: str) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """(field, what is stored there), the latter for a hash only."""
        cursor = 0
        page: Any
        while True:
            with faults():
                if kind == "hash":
                    cursor, page = await self._redis.hscan(key, cursor, count=_CHUNK)
                else:
                    cursor, page = await self._redis.zscan(key, cursor, count=_CHUNK)
            found = list(page.items()) if kind == "hash" else [(member, b"") for member, _ in page]
            for start in range(0, len(found), _CHUNK):
                yield found[start : start + _CHUNK]
            if not cursor:
                return

    def _difference(self, name: str, field: str, ours: str, theirs: str) -> Difference:
        return Difference(partition=self._live.partition, key=name, field=field, live=ours, rebuilt=theirs)


def _read(pipe: Any, key: str, kind: str, fields: Sequence[bytes]) -> None:
    if kind == "hash":
        pipe.hmget(key, fields)
    elif kind == "zset":
        pipe.zmscore(key, fields)
    elif kind == "list":
        pipe.lrange(key, 0, -1)
    elif kind == "string":
        pipe.get(key)
    else:
        pipe.dump(key)


def _show(value: Stored) -> str:
    """A stored value in words: a count as it is, a record as JSON."""
    if value is None or value == []:
        return "absent"
    if isinstance(value, list):
        return f"{len(value)} entries, the newest {_show(value[0])}"
    if isinstance(value, float):
        return f"{value:.0f}"
    if value.removeprefix(b"-").isdigit():
        return value.decode()
    if len(value) > _READ:
        return f"{len(value)} octets"
    try:
        return msgspec.json.encode(msgspec.msgpack.decode(value)).decode()[:_SHOWN]
    except (msgspec.DecodeError, TypeError, ValueError):
        return repr(value)[:_SHOWN]
