"""Seals: what a segment is, in a few words that cannot be changed without being found out.

Each seal holds the hash of its segment's file, that of the entries in it, and the seal before it; its own is SHA-256 over all
of that. So the last one, which Redis keeps too, stands for everything before it. Retention takes days away from the beginning
of the chain, and leaves a link that says up to which seal.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Final, TypeVar

import msgspec

from pipeline.archive.model import DIRECTORY
from pipeline.faults import CorruptError
from pipeline.places import DAY_MS

GENESIS: Final = ""
"""The seal before the first."""


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one segment. `seal` is empty until it is computed."""

    partition: int
    number: int
    """1 for the first of the partition; none is left out."""
    date: str
    """The UTC day of its entries, YYYY-MM-DD."""
    first: str
    last: str
    count: int
    octets: int
    """Of the file."""
    sha256: str
    """Of the file."""
    index: str
    """SHA-256 of the index of terms beside it."""
    contents: str
    """Of the entries: SHA-256 over milliseconds, sequence, subject, version and bytes of each (`rows.Contents`)."""
    previous: str
    seal: str = ""

    @property
    def stem(self) -> str:
        """Where it is in the store, without the ending. The hash in it keeps apart what two archivers wrote at once."""
        return f"{folder(self.date, self.partition)}/{self.number:08d}-{self.sha256[:8]}"


class Cut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The link that stands for what retention took away. Each names the one before it."""

    partition: int
    through: int
    """The number of the last segment that is gone."""
    gone: str
    """Its seal: what the first segment that is still there names as the one before it."""
    start: str
    end: str
    """The days of what this cut took away, YYYY-MM-DD."""
    events: int
    segments: int
    previous: str
    seal: str = ""

    @property
    def name(self) -> str:
        return f"{cuts(self.partition)}/{self.through:08d}.json"


Link = TypeVar("Link", Seal, Cut)


def sealed(link: Link) -> Link:
    """With its own hash."""
    return msgspec.structs.replace(link, seal=_digest(link))


def _digest(link: Seal | Cut) -> str:
    canonical = msgspec.json.encode(msgspec.structs.replace(link, seal=""), order="sorted")
    return hashlib.sha256(canonical).hexdigest()


def written(link: Seal | Cut) -> bytes:
    return msgspec.json.encode(link, order="sorted") + b"\n"


def read(data: bytes, kind: type[Link], where: str) -> Link:
    """Raises CorruptError for what is no seal, or one that was changed."""
    try:
        link = msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise CorruptError(f"{where} is not a seal: {error}") from error
    if link.seal != _digest(link):
        raise CorruptError(f"{where} was changed: its hash is not that of what it says")
    return link


def day_of(ms: int) -> str:
    """The UTC day, YYYY-MM-DD."""
    return dt.datetime.fromtimestamp(ms // DAY_MS * 86400, dt.UTC).strftime("%Y-%m-%d")


def start_of(day: str) -> int:
    """The first millisecond of a day."""
    return int(dt.datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=dt.UTC).timestamp()) * 1000


def _name(partition: int) -> str:
    return "directory" if partition == DIRECTORY else f"p{partition}"


def folder(day: str, partition: int) -> str:
    return f"{day}/{_name(partition)}"


def cuts(partition: int) -> str:
    return f"dropped/{_name(partition)}"
