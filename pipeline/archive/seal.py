"""Seals: what a segment is, in a few words that cannot be changed without being found out.

Each seal holds the hash of its segment's file, that of the entries in it, and the seal before it; its own is SHA-256 over all
of that. So the last one, which Redis keeps too, stands for everything before it. Retention takes days away from the beginning
of the chain, and leaves a link that says up to which seal.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Annotated, Final, TypeAlias, TypeVar

import msgspec

from pipeline.archive.model import DIRECTORY
from pipeline.faults import CorruptError
from pipeline.ids import MAX_PARTITIONS
from pipeline.places import DAY_MS

GENESIS: Final = ""
"""The seal before the first."""
_DIGITS: Final = 8
"""Of the number that each file of a segment is named with."""

Day: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
Place: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,14}-[0-9]{1,20}\Z")]
"""An entry's id."""
Hash: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Before: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
"""GENESIS, or a hash."""
Partition: TypeAlias = Annotated[int, msgspec.Meta(ge=DIRECTORY, lt=MAX_PARTITIONS)]
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1, lt=10**_DIGITS)]
Amount: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one segment. `seal` is empty until it is computed."""

    partition: Partition
    number: Number
    """1 for the first of the partition; none is left out."""
    date: Day
    """The UTC day of its entries, YYYY-MM-DD."""
    first: Place
    last: Place
    count: Amount
    octets: Amount
    """Of the file."""
    sha256: Hash
    """Of the file."""
    index: Hash
    """SHA-256 of the index of terms beside it."""
    contents: Hash
    """Of the entries: SHA-256 over milliseconds, sequence, subject, version and bytes of each (`rows.Contents`)."""
    previous: Before
    seal: str = ""

    @property
    def stem(self) -> str:
        """Where it is in the store, without the ending. The hash in it keeps apart what two archivers wrote at once."""
        return f"{folder(self.date, self.partition)}/{self.number:08d}-{self.sha256[:8]}"


class Cut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The link that stands for what retention took away. Each names the one before it."""

    partition: Partition
    through: Number
    """The number of the last segment that is gone."""
    gone: Hash
    """Its seal: what the first segment that is still there names as the one before it."""
    start: Day
    end: Day
    """The days of what this cut took away, YYYY-MM-DD."""
    events: Amount
    segments: Amount
    previous: Before
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
    except (ValueError, RecursionError) as error:
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


def number_of(name: str) -> int:
    """The number of the segment that a file is of, by its name; 0 for what is named otherwise, whoever put it there."""
    digits = name[:_DIGITS]
    return int(digits) if len(digits) == _DIGITS and digits.isascii() and digits.isdecimal() else 0


def folder(day: str, partition: int) -> str:
    return f"{day}/{_name(partition)}"


def cuts(partition: int) -> str:
    return f"dropped/{_name(partition)}"
