"""Retention: whole days leave the archive at its beginning, and a link in the chain says so.

In this order: the link is written, one step tells Redis and appends the event `dropped`, the files go. A crash after the first
leaves a link that nobody knows yet, one after the second leaves files that nobody reads any more: the next round goes on.
"""

from __future__ import annotations

import msgspec

from pipeline import keys
from pipeline.archive.archive import SealedArchive
from pipeline.archive.chain import Head
from pipeline.archive.model import DIRECTORY
from pipeline.archive.objects import put_octets
from pipeline.archive.seal import Cut, Seal, day_of, folder, number_of, sealed, start_of, written
from pipeline.events import Dropped, encode
from pipeline.faults import ConflictError, RefusedError
from pipeline.log import Log
from pipeline.places import place_of
from pipeline.steps import Effect, Step
from pipeline.store import Client, faults

SUBJECT = "!archive"


class Portion(msgspec.Struct, frozen=True):
    """What would be dropped of a partition."""

    start: str
    end: str
    """The first and the last of the days."""
    segments: int
    entries: int
    octets: int


def first_kept(at: Head, now: int, retention: int) -> str:
    """The day from which on the archive is kept; "" when nothing is old enough. `now`, `retention`: ms; 0: for ever."""
    if at.empty or not retention:
        return ""
    day = day_of(max(0, now - retention))
    return day if day_of(place_of(at.first)[0]) < day else ""


async def portion(archive: SealedArchive, partition: int, before: str) -> tuple[Portion, list[Seal], Head] | None:
    """What the archive has of the days before this one; None when it has nothing.

    Raises RefusedError when some of it is not out of Redis yet: there it would then be without a copy.
    """
    at = await archive.chain.head(partition)
    if at.empty or partition == DIRECTORY or day_of(place_of(at.first)[0]) >= before:
        return None
    if start_of(before) > at.floor:
        raise RefusedError(
            f"partition {partition} is still in Redis from {day_of(at.floor)} on"
            if at.floor
            else f"partition {partition} is still in Redis, all of it",
            remedy="Name an earlier day.",
        )
    seals = []
    async for seal in archive.chain.segments(partition, 0, at):
        if seal.date >= before:
            break
        seals.append(seal)
    entries, octets = sum(seal.count for seal in seals), sum(seal.octets for seal in seals)
    return Portion(seals[0].date, seals[-1].date, len(seals), entries, octets), seals, at


async def drop(
    redis: Client, archive: SealedArchive, log: Log, partition: int, before: str, *, now: int, by: str = ""
) -> Portion | None:
    """Drop the days before this one; None when there are none. `now`: ns.

    Raises ConflictError when somebody else did, or a segment was sealed at that moment.
    """
    found = await portion(archive, partition, before)
    if found is None:
        return None
    dropped, seals, at = found
    cut = sealed(
        Cut(
            partition=partition,
            through=seals[-1].number,
            gone=seals[-1].seal,
            start=dropped.start,
            end=dropped.end,
            events=dropped.entries,
            segments=dropped.segments,
            previous=at.link,
        )
    )
    await archive.duck.run(put_octets, archive.objects, cut.name, written(cut))
    await log.commit(await _step(redis, archive, partition, at, cut, dropped, now, by))
    await sweep(archive, partition)
    return dropped


async def _step(
    redis: Client, archive: SealedArchive, partition: int, at: Head, cut: Cut, dropped: Portion, now: int, by: str
) -> Step:
    """The event, and what Redis knows of the chain's beginning. Its head's version is the number of cuts so far."""
    head = keys.head(partition, SUBJECT)
    with faults():
        version = int(await redis.hget(head, "v") or 0)
    first = ""
    async for seal in archive.chain.segments(partition, 0, msgspec.structs.replace(at, through=cut.through)):
        first = seal.first
        break
    event = Dropped(
        at=now, domain="", start=dropped.start, end=dropped.end, events=dropped.entries, segments=dropped.segments,
        seal=cut.gone, by=by,
    )  # fmt: skip
    if (await archive.chain.head(partition)).link != at.link:
        raise ConflictError(f"days of partition {partition} were dropped meanwhile")
    chain = keys.archive(partition)
    effects: tuple[Effect, ...] = (
        ("HSET", chain, "through", cut.through, "link", cut.seal, "first", first),
        ("HINCRBY", chain, "count", -dropped.entries),
        ("HINCRBY", chain, "octets", -dropped.octets),
    )
    return Step(
        head=head, log=keys.log(partition), subject=SUBJECT, expected=version, events=(encode(event),),
        state=cut.seal.encode(), effects=effects,
    )  # fmt: skip


async def sweep(archive: SealedArchive, partition: int) -> int:
    """Remove the files of segments that were dropped; how many."""
    at = await archive.chain.head(partition)
    if not at.through:
        return 0

    def clean(where: str) -> int:
        gone = [f"{where}/{name}" for name in archive.objects.names(where) if 0 < number_of(name) <= at.through]
        archive.objects.delete(gone)
        return len(gone)

    last = day_of(place_of(at.first)[0]) if at.first else ""
    days = [day for day in await archive.chain.days() if not last or day < last]
    return sum([await archive.duck.run(clean, folder(day, partition)) for day in days])
