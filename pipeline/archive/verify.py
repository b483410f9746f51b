"""Proving that the archive is what was sealed: nothing missing, changed, doubled or out of order."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from pipeline.archive.archive import SealedArchive


class Fault(msgspec.Struct, frozen=True):
    """Something that is not as it was sealed."""

    partition: int
    where: str
    """The segment or link, as it is named in the store."""
    what: str


class Progress(msgspec.Struct, frozen=True):
    partition: int
    segments: int
    """Looked at so far, over all partitions, of `total`."""
    total: int


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """Of one partition. Without faults all its entries from `first` to `last` are there, as they were sealed."""

    partition: int
    segments: int
    entries: int
    octets: int
    first: str
    last: str
    seal: str
    """The end of the chain."""
    faults: tuple[Fault, ...] = ()
    """In the order of the chain: the first says where it is not right for the first time."""


async def verify(
    archive: SealedArchive, partitions: Iterable[int], progress: Callable[[Progress], None] | None = None
) -> list[Verified]:
    """Look at every seal, every file, and every entry. -1 is the directory's log."""
    raise NotImplementedError
