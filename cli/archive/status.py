"""How far the archive of each partition goes."""

from __future__ import annotations

import datetime as dt

import msgspec

from pipeline import keys
from pipeline.archive.archive import SealedArchive
from pipeline.archive.model import DIRECTORY
from pipeline.faults import ConfigurationError
from pipeline.places import DAY_MS, place_of
from pipeline.store import Store, faults

MS = 1_000_000


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Times are ns; 0 for what there is not."""

    name: str
    segments: int
    entries: int
    octets: int
    first: int
    last: int
    floor: int
    """From when on the log is whole in Redis; 0: nothing was ever taken out."""
    hot: int
    """Entries in Redis, and of these ..."""
    unsealed: int
    next: int
    """When what is not sealed will be, at the latest."""
    seal: str


async def statuses(store: Store, archive: SealedArchive) -> list[Status]:
    """Of all partitions, and of the directory."""
    found = []
    for partition in (*range(store.partitions), DIRECTORY):
        at = await archive.chain.head(partition)
        with faults():
            pipe = store.redis.pipeline(transaction=False)
            pipe.xlen(keys.log(partition))
            pipe.xrange(keys.log(partition), min="(" + at.last if at.number else "-", count=1)
            hot, waiting = await pipe.execute()
        due = (place_of(waiting[0][0].decode())[0] // DAY_MS + 1) * DAY_MS if waiting else 0
        found.append(
            Status(
                name="directory" if partition == DIRECTORY else str(partition),
                segments=at.number - at.through,
                entries=at.count,
                octets=at.octets,
                first=0 if at.empty else place_of(at.first)[0] * MS,
                last=place_of(at.last)[0] * MS,
                floor=at.floor * MS,
                hot=hot,
                unsealed=hot + at.trimmed - at.entries,
                next=due * MS,
                seal=at.seal,
            )
        )
    return found


def day(text: str) -> str:
    """YYYY-MM-DD. Raises ConfigurationError."""
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError:
        raise ConfigurationError(f"{text!a} is no day", remedy="Write it as 2026-01-31.") from None
