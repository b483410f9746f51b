"""An entry of the log as the archive holds it: exactly what was appended, whether it can be read or not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from pipeline.events import AnyEvent, Recorded, decode
from pipeline.kinds import tag_of
from pipeline.log import Damaged, decode_entry
from pipeline.places import place_of
from pipeline.terms import terms

RAW: Final = -1
"""The version of an entry that has not just the three fields that it should: its `event` is all of them (MessagePack)."""
_EXPECTED: Final = frozenset({b"s", b"v", b"e"})
_MAX_VERSION: Final = 1 << 62


class Row(NamedTuple):
    ms: int
    seq: int
    subject: str
    version: int
    event: bytes

    @property
    def entry(self) -> str:
        return f"{self.ms}-{self.seq}"


class Found(NamedTuple):
    """What an entry is looked up by; of one that cannot be read there is nothing but its subject."""

    kind: str = ""
    at: int = 0
    domain: str = ""
    terms: tuple[int, ...] = ()


def row_of(entry: bytes | str, fields: Mapping[bytes, bytes]) -> Row:
    """The row of an entry of the stream, from which `entry_of` makes what `decode_entry` would have made of it."""
    ms, seq = place_of(entry.decode() if isinstance(entry, bytes) else entry)
    if fields.keys() == _EXPECTED:
        version = fields[b"v"]
        if version.isdigit() and (version == b"0" or version[:1] != b"0") and int(version) < _MAX_VERSION:
            try:
                return Row(ms, seq, fields[b"s"].decode(), int(version), fields[b"e"])
            except UnicodeDecodeError:
                pass
    subject = fields.get(b"s", b"").decode("utf-8", "replace")
    return Row(ms, seq, subject, RAW, msgspec.msgpack.encode(list(fields.items())))


def entry_of(partition: int, row: tuple[int, int, str, int, bytes]) -> Recorded | Damaged:
    """What the log would say of it."""
    ms, seq, subject, version, event = row
    if version != RAW:
        try:
            return Recorded(partition, f"{ms}-{seq}", subject, version, decode(event))
        except (ValueError, msgspec.DecodeError):
            fields = {b"s": subject.encode(), b"v": b"%d" % version, b"e": event}
    else:
        fields = dict(msgspec.msgpack.decode(event, type=list[tuple[bytes, bytes]]))
    return decode_entry(partition, b"%d-%d" % (ms, seq), fields)


def found_by(row: Row) -> Found:
    """The columns that are beside the bytes."""
    entry = entry_of(0, row)
    if isinstance(entry, Damaged):
        return Found()
    event: AnyEvent = entry.event
    return Found(tag_of(type(event)), event.at, event.domain, tuple(terms(row.subject, event)))


class Contents:
    """The hash of entries: the same whether they are read from the log or from a segment."""

    def __init__(self) -> None:
        self._hash: Any = hashlib.sha256()

    def add(self, rows: Iterable[tuple[int, int, str, int, bytes]]) -> None:
        update = self._hash.update
        for ms, seq, subject, version, event in rows:
            name = subject.encode()
            update(b"%d-%d %d %d %d\n%b%b" % (ms, seq, version, len(name), len(event), name, event))

    def digest(self) -> str:
        return str(self._hash.hexdigest())
