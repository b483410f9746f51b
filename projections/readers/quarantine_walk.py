"""Walking the index of the quarantine, the newest first, over several values and partitions at once, and reading rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pipeline.ids import PACKED, is_id, packed, unpacked
from pipeline.store import Client, faults
from projections.quarantine import LIVE, NAME, PLACE, PREFIX, SECOND, Row, decode_row, located
from projections.readers.common import decoded
from projections.readers.quarantine_filters import Query, Value

_LEAST: Final = 16
_NO_PLACE: Final = 1 << 32
Entry = tuple[str, bytes]
"""Prefix of the view, and the end of an entry of the index: since when, and which message."""


class Span(msgspec.Struct, frozen=True):
    """Which ends of entries are meant: from `low` on, and below `high`."""

    low: bytes
    high: bytes

    def of(self, prefix: bytes) -> tuple[bytes, bytes]:
        """ZRANGEBYLEX's bounds."""
        return b"[" + prefix + self.low, b"(" + (prefix + self.high if self.high else end_of(prefix))


def end_of(prefix: bytes) -> bytes:
    """Greater than every entry of a value, and not greater than those of the next."""
    return prefix + b"\xff" * (PLACE + 1)


def span_of(query: Query, cursor: bytes | None) -> Span:
    low = min(max(query.since // SECOND, 0), _NO_PLACE - 1).to_bytes(4, "big") if query.since else b""
    # A second that has begun may hold messages of before the moment: the rows say.
    high = min(max(-(-query.until // SECOND), 0), _NO_PLACE - 1).to_bytes(4, "big") if query.until else b""
    return Span(low, min(high, cursor) if high and cursor else high or cursor or b"")


class Stream:
    """The entries of one value in one partition, the newest first."""

    def __init__(self, prefix: str, value: Value) -> None:
        self.prefix = prefix
        key, self.value = located(*value)
        self.key = prefix + key
        self.waiting: list[bytes] = []
        self.below: bytes | None = None
        """Where the last fetch ended."""
        self.over = False


async def rarest(
    redis: Client, prefixes: Sequence[str], sources: Sequence[Sequence[Value]], span: Span
) -> tuple[Sequence[Value], int]:
    """The source with the fewest entries, and how many."""
    with faults():
        pipe = redis.pipeline(transaction=False)
        for source in sources:
            for value in source:
                key, start = located(*value)
                for prefix in prefixes:
                    pipe.zlexcount(prefix + key, *span.of(start))
        counts: Any = iter(await pipe.execute())
    totals = [sum(next(counts) for _ in range(len(source) * len(prefixes))) for source in sources]
    best = min(range(len(sources)), key=totals.__getitem__)
    return sources[best], totals[best]


class Walk:
    """Merges streams. An entry that several of them have comes once."""

    def __init__(self, redis: Client, streams: Sequence[Stream], span: Span) -> None:
        self._redis = redis
        self._streams = streams
        self._span = span

    async def next(self, count: int) -> list[Entry]:
        """`count` of the next, or fewer at the end; none when all are over."""
        found: dict[bytes, str] = {}
        while len(found) < count:
            await self._fill(count)
            going = [stream for stream in self._streams if stream.waiting]
            if not going:
                break
            # Below the oldest that an unfinished stream has in hand, another of its entries may come.
            floor = max((stream.waiting[-1] for stream in going if not stream.over), default=b"")
            ready = [(end, stream.prefix) for stream in going for end in stream.waiting if end >= floor]
            ready.sort(reverse=True)
            for end, prefix in ready[: count - len(found)]:
                found.setdefault(end, prefix)
            least = min(found)
            for stream in going:
                stream.waiting = [end for end in stream.waiting if end < least]
        return [(prefix, end) for end, prefix in found.items()]

    async def _fill(self, count: int) -> None:
        empty = [stream for stream in self._streams if not stream.waiting and not stream.over]
        if not empty:
            return
        # A share of what is wanted and as much again, as the streams are seldom alike.
        share = max(_LEAST, 2 * count // len(self._streams))
        with faults():
            pipe = self._redis.pipeline(transaction=False)
            for stream in empty:
                low, high = self._span.of(stream.value)
                if stream.below is not None:
                    high = b"(" + stream.value + stream.below
                pipe.zrevrangebylex(stream.key, high, low, start=0, num=share)
            answers: Any = await pipe.execute()
        for stream, members in zip(empty, answers, strict=True):
            stream.waiting = [member[PREFIX:] for member in members]
            stream.over = len(members) < share
            if members:
                stream.below = stream.waiting[-1]


async def sifted(redis: Client, some: Sequence[Entry], others: Sequence[Sequence[Value]]) -> Sequence[Entry]:
    """Those that are in the index of the other values too: a look there costs a tenth of a look at a row."""
    for source in others:
        if not some:
            break
        with faults():
            pipe = redis.pipeline(transaction=False)
            places = _by_prefix(some)
            asked = [(prefix, ends, located(*value)) for prefix, ends in places.items() for value in source]
            for prefix, ends, (key, start) in asked:
                pipe.zmscore(prefix + key, [start + end for end in ends])
            answers: Any = await pipe.execute()
        there = {
            end
            for (_, ends, _), scores in zip(asked, answers, strict=True)
            for end, score in zip(ends, scores, strict=True)
            if score is not None
        }
        some = [entry for entry in some if entry[1] in there]
    return some


async def rows_of(redis: Client, some: Sequence[Entry]) -> dict[bytes, Row]:
    """By the end of the entry."""
    if not some:
        return {}
    places = _by_prefix(some)
    with faults():
        pipe = redis.pipeline(transaction=False)
        for prefix, ends in places.items():
            pipe.hmget(prefix + LIVE, [unpacked(end[4:]) for end in ends])
        answers: Any = await pipe.execute()
    return {
        end: decoded(decode_row, row, NAME)
        for ends, rows in zip(places.values(), answers, strict=True)
        for end, row in zip(ends, rows, strict=True)
        if row
    }


def _by_prefix(some: Sequence[Entry]) -> dict[str, list[bytes]]:
    places: dict[str, list[bytes]] = {}
    for prefix, end in some:
        places.setdefault(prefix, []).append(end)
    return places


def is_there(row: Row, end: bytes) -> bool:
    """It is still kept, and since the moment that the entry says: it may have left and come again meanwhile."""
    return bool(row.kept) and row.since // SECOND == int.from_bytes(end[:4], "big")


def written(end: bytes) -> str:
    return f"{int.from_bytes(end[:4], 'big')}.{unpacked(end[4:])}"


def cursor_of(text: str) -> bytes:
    seconds, _, message_id = text.partition(".")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 10 and is_id(message_id)):
        raise ValueError("no such place in the list")
    if int(seconds) >= _NO_PLACE:
        raise ValueError("no such place in the list")
    return int(seconds).to_bytes(4, "big") + packed(message_id)[:PACKED]
