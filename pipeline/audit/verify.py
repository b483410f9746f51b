"""Whether an export is what was exported: needs the file and its manifest, and no store.

Each record is held against the one before it (chain of hashes, number, place in its log, version of its subject), and the end against the
manifest. What does not fit is named with its line, and checking goes on behind it, so that one fault is told once.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from typing import Final

import msgspec

from pipeline.archive.model import DIRECTORY
from pipeline.audit import chain
from pipeline.audit.entries import Entry, is_entry
from pipeline.audit.export import NAMED, subjects_of
from pipeline.audit.manifest import Manifest
from pipeline.audit.sealed import Seals, broken
from pipeline.audit.subjects import Filter, Subjects
from pipeline.events import decode
from pipeline.places import place_of

FOLLOWED: Final = 8
"""Chains that are followed at the same time: one forks at each record whose hash is not what it says."""
_HASH: Final = re.compile(rb"[0-9a-f]{64}")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """`line` 0: it is of no line."""

    text: str
    line: int = 0
    partition: int = 0
    entry: str = ""


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """A record without its hash."""

    n: int
    partition: int
    entry: str
    subject: str
    version: int
    time: str
    kind: str
    domain: str
    event: msgspec.Raw
    raw: str


_row: Final = msgspec.json.Decoder(Row)


class Problems:
    """The first ones, and how many there are."""

    def __init__(self) -> None:
        self.named: list[Problem] = []
        self.count = 0

    def add(self, text: str, *, line: int = 0, partition: int = 0, entry: str = "") -> None:
        self.count += 1
        if len(self.named) < NAMED:
            self.named.append(Problem(text=text, line=line, partition=partition, entry=entry))


class Checker:
    """Takes the lines one after the other, then `finish`."""

    def __init__(self, manifest: Manifest, problems: Problems) -> None:
        self._manifest = manifest
        self.problems = problems
        self.lines = 0
        self._number = 0
        """Of the record before."""
        self._previous = [chain.START]
        """Hashes that the next record may follow: what the last one says of itself, and what it is; a few, whatever was done to it."""
        self._kinds: Counter[str] = Counter()
        self._counts: Counter[int] = Counter()
        self._starts: dict[int, str] = {}
        self._ends: dict[int, str] = {}
        self._logs = {partition: place for place, partition in enumerate(manifest.asked.logs)}
        self._gone = Filter()
        self._partition = DIRECTORY
        self._subjects, self._seals = self._of(DIRECTORY)
        for text in broken(manifest.seals):
            problems.add(text)

    def _of(self, partition: int) -> tuple[Subjects, Seals]:
        piece = self._manifest.piece(partition)
        return subjects_of(self._manifest.asked, partition, piece, self._gone), Seals(self._manifest, partition)

    def _next(self, partition: int) -> None:
        """All records of a log were there."""
        self._sealed(self._seals.finish())
        self._partition = partition
        self._subjects, self._seals = self._of(partition)

    def _sealed(self, wrong: str) -> None:
        if wrong:
            self.problems.add(wrong, line=self.lines, partition=self._partition)

    def take(self, line: bytes) -> Row | None:
        """A line without its end; the record in it. What is wrong with it is in `problems`."""
        self.lines += 1
        digest, content = line[len(chain.PREFIX) : len(chain.PREFIX) + 64], line[chain.BODY :]
        row = _decoded(line, digest, content)
        if row is None:
            self.problems.add("it is no record", line=self.lines)
            self._previous = [digest.decode("latin-1")] if _HASH.fullmatch(digest) else []
            self._number += 1
            return None
        said = digest.decode("ascii")
        links = [chain.link(previous, content) for previous in self._previous]
        whole = said in links
        wrong = self._misplaced(row.n) or ("" if whole else "it was changed: its hash is another") or self._inside(row)
        if wrong:
            self.problems.add(wrong, line=self.lines, partition=row.partition, entry=row.entry)
        self._previous = list(dict.fromkeys([said, *links]))[:FOLLOWED]
        self._number = max(row.n, self._number)
        self._kinds[row.kind] += 1
        self._counts[row.partition] += 1
        if is_entry(row.entry):
            self._starts.setdefault(row.partition, row.entry)
            self._ends[row.partition] = row.entry
        return row

    def _misplaced(self, number: int) -> str:
        expected = self._number + 1
        if number == expected:
            return ""
        if number < expected:
            return f"record {number} stands behind record {self._number}: it is doubled, or was moved"
        gone = f"record {expected} is" if number == expected + 1 else f"records {expected:,} to {number - 1:,} are"
        return f"{gone} missing: record {number} stands here"

    def _inside(self, row: Row) -> str:
        """What is wrong with a record that has its place in the chain: whoever made the chain may have left something out."""
        if row.partition not in self._logs:
            return f"partition {row.partition} is no part of this export"
        if row.partition != self._partition:
            if self._logs[row.partition] < self._logs[self._partition]:
                return f"partition {row.partition} stands behind partition {self._partition}"
            self._next(row.partition)
        before = self._ends.get(row.partition)
        if not is_entry(row.entry):
            return f"{row.entry!a} is no place in a log"
        if before is not None and place_of(row.entry) <= place_of(before):
            return f"entry {row.entry} stands behind entry {before}"
        if row.time != chain.written(row.entry):
            return f"entry {row.entry} was not written down at {row.time!a}"
        if not self._in_piece(row):
            return f"entry {row.entry} is no part of the stretch that was exported"
        entry = read_back(row)
        if entry is None or entry.kind != row.kind or entry.domain != row.domain:
            return "its raw octets are not what its fields say"
        if row.partition != DIRECTORY and self._manifest.asked.domain not in ("", row.domain):
            return f"it is of the domain {row.domain!a}"
        self._sealed(self._seals.take(entry))
        return self._subjects.see(entry)

    def _in_piece(self, row: Row) -> bool:
        piece = self._manifest.piece(row.partition)
        return place_of(piece.begin) < place_of(row.entry) <= place_of(piece.end)

    def finish(self, digest: str, octets: int) -> None:
        """Hold the whole against the manifest. `digest`, `octets`: SHA-256 and size of the file."""
        manifest = self._manifest
        self._sealed(self._seals.finish())
        if manifest.records != self.lines:
            self.problems.add(f"the manifest says {manifest.records} records, and there are {self.lines}")
        if manifest.chain not in self._previous:
            self.problems.add("the last record is not the one that the manifest ends with", line=self.lines)
        if manifest.kinds != dict(self._kinds):
            self.problems.add("the manifest counts other kinds of events")
        if set(manifest.partitions) != {str(partition) for partition in self._logs}:
            self.problems.add("the manifest names other partitions than were asked for")
        for partition in self._logs:
            self._ended(partition)
        if manifest.file.sha256 != digest or manifest.file.octets != octets:
            self.problems.add("the octets of the file are not those that were exported")

    def _ended(self, partition: int) -> None:
        piece, count = self._manifest.piece(partition), self._counts[partition]
        if piece.records != count:
            self.problems.add(f"the manifest says {piece.records} records, and there are {count}", partition=partition)
        first, last = self._starts.get(partition, ""), self._ends.get(partition, "")
        if (piece.first, piece.last) != (first, last):
            text = f"the manifest says {piece.first or 'nothing'} to {piece.last or 'nothing'}, and it is {first or 'nothing'} to {last or 'nothing'}"
            self.problems.add(text, partition=partition)


def _decoded(line: bytes, digest: bytes, content: bytes) -> Row | None:
    framed = line.startswith(chain.PREFIX) and line[chain.BODY - 2 : chain.BODY] == b'",' and _HASH.fullmatch(digest)
    if not framed:
        return None
    try:
        return _row.decode(b"{" + content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_back(row: Row) -> Entry | None:
    """The entry that a record is of; None where its octets are none."""
    try:
        data = base64.b64decode(row.raw, validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        event = decode(data)
    except (msgspec.DecodeError, ValueError):
        event = None
    return Entry(row.partition, row.entry, row.subject, row.version, data, event)
