"""`gatepost audit verify --live`: whether the store itself is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.archive.model import DIRECTORY
from pipeline.audit import live
from pipeline.audit.entries import Entries
from pipeline.audit.live import Walk
from pipeline.audit.subjects import Filter
from pipeline.audit.verify import Problems
from pipeline.faults import CorruptError
from pipeline.ids import partition_for
from projections.checkpoints import beyond

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.archive.archive import SealedArchive


class Looked(msgspec.Struct, kw_only=True):
    """What was looked at."""

    logs: int = 0
    entries: int = 0
    subjects: int = 0
    """Whose history was seen from its beginning."""
    live: int = 0
    """Of them that go on."""
    segments: int = 0
    """Of the archive."""
    seconds: float = 0.0


async def verify_live(opened: Session, domain: str, begin: int, problems: Problems) -> Looked:
    """`begin`: ms from which on the logs are looked at, 0: from their first entries. Raises StoreError."""
    from cli.progress import Progress

    wiring = opened.wiring
    redis, partitions = wiring.store.redis, wiring.store.partitions
    entries, gone, looked = Entries(redis, wiring.archive), Filter(), Looked()
    started = opened.now()
    wanted = [partition_for(domain, partitions)] if domain else list(range(partitions))
    walks: dict[int, Walk] = {}
    with Progress("entries", None) as bar:

        def told(number: int) -> None:
            looked.entries += number
            bar.advance(number)

        for partition in (DIRECTORY, *wanted):
            start = max(begin, await entries.first(partition))
            walk = walks[partition] = Walk(entries, partition, problems, gone, start, told)
            try:
                await walk.read(await entries.last(partition))
            except CorruptError as fault:
                walk.problem(str(fault))
                continue
            missing = await live.taken_out(redis, partition)
            if missing:
                walk.problem(f"entries were taken out of the log: {missing:,}")
        await live.heads(redis, walks)
        await live.directory(redis, walks[DIRECTORY])
    if wiring.archive is not None:
        await _archive(wiring.archive, [DIRECTORY, *wanted], looked, problems)
    for partition in wanted:
        for text in await beyond(redis, partition):
            walks[partition].problem(text)
    looked.logs = len(walks)
    looked.subjects = sum(walk.subjects.seen for walk in walks.values())
    looked.live = sum(len(walk.subjects.live) for walk in walks.values())
    looked.seconds = (opened.now() - started) / 1e9
    return looked


async def _archive(archive: SealedArchive, partitions: list[int], looked: Looked, problems: Problems) -> None:
    """Every seal, every file and every entry of it."""
    from cli.progress import Progress
    from pipeline.archive.verify import Progress as Seen
    from pipeline.archive.verify import verify

    total = 0
    for partition in partitions:
        at = await archive.chain.head(partition)
        total += at.number - at.through
    with Progress("segments", total) as bar:

        def told(seen: Seen) -> None:
            bar.advance(seen.segments - looked.segments)
            looked.segments = seen.segments

        for verified in await verify(archive, partitions, told) if total else []:
            for fault in verified.faults:
                problems.add(f"the archive, {fault.where}: {fault.what}", partition=fault.partition)
