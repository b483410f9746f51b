"""The archive's segments, octet for octet and one after the other: for whoever reads all of it, and once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.archive.archive import SealedArchive
from pipeline.archive.seal import Seal
from pipeline.archive.segment import Tuple, file_hash, rows_behind
from pipeline.faults import CorruptError
from pipeline.places import place_of

if TYPE_CHECKING:
    import duckdb

PART: Final = 8192
"""Rows that are read together."""


async def seals(archive: SealedArchive, partition: int, start: int, end: int) -> list[Seal]:
    """Of the segments that hold entries of a stretch (ms, both inside). Raises CorruptError."""
    found = []
    async for seal in archive.chain.segments(partition, start, await archive.chain.head(partition)):
        if place_of(seal.first)[0] > end:
            break
        found.append(seal)
    return found


async def rows(
    archive: SealedArchive, partition: int, after: tuple[int, int], until: tuple[int, int]
) -> AsyncIterator[list[Tuple]]:
    """All that is archived behind `after`, none behind `until`, in order. Raises CorruptError for what is not as it was sealed."""
    async for seal in archive.chain.segments(partition, after[0], await archive.chain.head(partition)):
        if place_of(seal.first) > until:
            return
        if place_of(seal.last) <= after:
            continue
        cursor = await archive.duck.run(_open, archive, seal, after)
        while part := await archive.duck.run(cursor.fetchmany, PART):
            chosen = part if part[-1][:2] <= until else [row for row in part if row[:2] <= until]
            if chosen:
                yield chosen


def _open(archive: SealedArchive, seal: Seal, after: tuple[int, int]) -> duckdb.DuckDBPyConnection:
    """Blocks."""
    path: Path | None = archive.objects.fetch(f"{seal.stem}.parquet", seal.sha256, seal.octets)
    if path is None:
        raise CorruptError(f"{seal.stem}.parquet is missing")
    if file_hash(path) != seal.sha256:
        raise CorruptError(f"{seal.stem}.parquet was changed: its hash is not that of its seal")
    return rows_behind(archive.duck, path, after, None)


async def whole_from(archive: SealedArchive, partition: int) -> int:
    """Before which millisecond retention has taken entries away; 0: none."""
    at = await archive.chain.head(partition)
    if not at.through:
        return 0
    return at.floor if at.empty else place_of(at.first)[0]
