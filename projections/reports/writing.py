"""How a report is written: a head, the rows one by one, and what they add up to. Every format is a writer of its own, and none keeps rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Final, Protocol

from pipeline.events import Event, Recorded
from pipeline.text import printable
from pipeline.zones import day_of, local
from projections.reports.model import Classes, Heading, Row, rows_of
from projections.reports.totals import Totals

CHUNK: Final = 64 << 10
"""Characters that are put out together."""


class Writer(Protocol):
    """Each method answers the text that comes next."""

    def head(self) -> str: ...

    def row(self, row: Row) -> str: ...

    def tail(self, totals: Totals) -> str: ...


class Attempts(Protocol):
    """Where rows come from: `Past`."""

    def attempts(self, domain: str, start: int, end: int, kinds: frozenset[type[Event]]) -> AsyncIterator[Recorded]: ...


async def rows(past: Attempts, heading: Heading, about: Classes) -> AsyncGenerator[Row, None]:
    """The rows of a report: one domain after the other, in the order of `heading.domains`, each in the order of its log."""
    for domain in heading.domains:
        async for recorded in past.attempts(domain, heading.start, heading.end, heading.wanted.kinds):
            for row in rows_of(recorded, about):
                if heading.wanted(row):
                    yield row


async def write(
    found: AsyncIterator[Row],
    writer: Writer,
    totals: Totals,
    put: Callable[[str], object],
    told: Callable[[int], object],
) -> None:
    """All of a report, with `put` called for each piece of it, and `told` with how many rows went into the piece."""
    pieces = [writer.head()]
    length = len(pieces[0])
    since = 0
    async for row in found:
        totals.add(row)
        text = writer.row(row)
        pieces.append(text)
        length += len(text)
        since += 1
        if length > CHUNK:
            put("".join(pieces))
            told(since)
            pieces, length, since = [], 0, 0
    put("".join([*pieces, writer.tail(totals)]))
    told(since)


def shown(at: int, zone: dt.tzinfo) -> str:
    """`2026-11-20 13:00:05+01:00`."""
    return local(at, zone).isoformat(" ", "seconds")


def exact(at: int, zone: dt.tzinfo) -> str:
    """With milliseconds, for programs: `2026-11-20T13:00:05.123+01:00`."""
    return local(at, zone).isoformat("T", "milliseconds")


def span(heading: Heading) -> tuple[str, str]:
    """The first day and the last, or the moments where it begins or ends within a day."""
    first, last = day_of(heading.start, heading.zone), day_of(heading.end - 1, heading.zone)
    whole = heading.start != heading.end and (
        day_of(heading.start - 1, heading.zone) < first and day_of(heading.end, heading.zone) > last
    )
    if whole:
        return first.isoformat(), last.isoformat()
    return shown(heading.start, heading.zone), shown(heading.end, heading.zone)


def named(zone: dt.tzinfo) -> str:
    return printable(getattr(zone, "key", "") or str(zone))


def one_line(text: str) -> str:
    return printable(text.replace("\r\n", "\n").replace("\n", " / "))


def whole(text: str) -> str:
    """In all its lines."""
    return printable(text, keep="\n")


def joined(addresses: Sequence[str]) -> str:
    return " ".join(addresses)
