"""One segment: a Parquet file of entries in the log's order, and beside it which of its parts each term is in.

Measured on events of ordinary mail (252 octets each, 4.6 terms): CSV with what is not a number in hexadecimal is the fastest
way into DuckDB without numpy or Arrow, 3 us an event to write and 3 us to read (newline-delimited JSON 11, lists as parameters
20). Level 9 of zstd makes it 57 octets an event in 7 us, level 3 makes it 64 in 2, level 15 makes it 55 in 36. Parts of 8,192
rows cost no octets compared with one for all, and what is looked for is then read without the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pipeline.archive.duck import Duck, plain
from pipeline.archive.rows import Contents, Row, found_by

if TYPE_CHECKING:
    import duckdb

PART: Final = 8192
"""Rows that are read together, and that the index tells apart."""
LEVEL: Final = 9
_MAGIC: Final = b"GPTERMS1"
_COLUMNS: Final = (
    "{'ms': 'UBIGINT', 'seq': 'UBIGINT', 'subject': 'VARCHAR', 'version': 'BIGINT', 'kind': 'VARCHAR', 'at': 'BIGINT', "
    "'domain': 'VARCHAR', 'terms': 'VARCHAR', 'event': 'VARCHAR'}"
)
_WRITE: Final = f"""
COPY (
  SELECT ms, seq, decode(unhex(subject)) AS subject, version, kind, "at", decode(unhex(domain)) AS domain,
    CAST(terms AS UINTEGER[]) AS terms, unhex(event) AS event
  FROM read_csv($source, delim = '\t', header = false, auto_detect = false, quote = '', escape = '', nullstr = '\\N',
    max_line_size = 268435456, columns = {_COLUMNS}, hive_partitioning = false)
) TO '%TARGET%' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {LEVEL}, ROW_GROUP_SIZE {PART})
"""  # noqa: S608 - constants of this module
_ROW: Final = "ms, seq, subject, version, event"
Tuple: TypeAlias = tuple[int, int, str, int, bytes]


class Draft:
    """A segment that is being gathered."""

    def __init__(self, source: Path) -> None:
        """`source`: the file that the rows go into until they are all there."""
        self.count = 0
        self.first = self.last = ""
        self._source = source
        self._file = source.open("w", encoding="ascii", newline="\n", buffering=1 << 20)
        self._contents = Contents()
        self._terms: set[int] = set()
        self._pairs: list[int] = []

    def add(self, rows: Sequence[Row]) -> None:
        """The next ones, in order."""
        lines = []
        for number, row in enumerate(rows, self.count):
            found = found_by(row)
            lines.append(
                f"{row.ms}\t{row.seq}\t{row.subject.encode().hex()}\t{row.version}\t{found.kind}\t{found.at}\t"
                f"{found.domain.encode().hex()}\t{list(found.terms)}\t{row.event.hex()}\n"
            )
            if number and number % PART == 0:
                self._end_part()
            self._terms.update(found.terms)
            self.count += 1
        self._file.write("".join(lines))
        self._contents.add(rows)
        if rows:
            self.first = self.first or rows[0].entry
            self.last = rows[-1].entry

    def _end_part(self) -> None:
        part = (self.count - 1) // PART
        self._pairs += [term << 16 | part for term in self._terms]
        self._terms.clear()

    @property
    def contents(self) -> str:
        return self._contents.digest()

    def write(self, duck: Duck, target: Path, index: Path) -> None:
        """The two files. Blocks."""
        self._file.close()
        if self.count:
            self._end_part()
        duck.cursor().execute(
            _WRITE.replace("%TARGET%", str(target).replace("'", "''")), {"source": plain(self._source)}
        )
        target.chmod(0o600)  # DuckDB puts another file in its place
        index.write_bytes(indexed(self._pairs))

    def discard(self) -> None:
        # A disk that is full takes nothing at the end either; what was written has to go all the more.
        with contextlib.suppress(OSError):
            self._file.close()
        self._source.unlink(missing_ok=True)


def indexed(pairs: list[int]) -> bytes:
    """The index of terms: all of them in order, and parallel to that the part of each. `pairs`: term << 16 | part."""
    pairs.sort()
    terms = array("I", [pair >> 16 for pair in pairs])
    parts = array("H", [pair & 0xFFFF for pair in pairs])
    return _MAGIC + len(pairs).to_bytes(8, "little") + terms.tobytes() + parts.tobytes()


def parts_of(index: Path, term: int) -> list[int]:
    """The parts of a segment that may hold the term, in order. Raises ValueError for what is no index."""
    with index.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        count = int.from_bytes(mapped[8:16], "little")
        if mapped[:8] != _MAGIC or len(mapped) != 16 + count * 6:
            raise ValueError(f"{index.name} is no index of terms")
        with memoryview(mapped) as view, view[16 : 16 + 4 * count].cast("I") as terms:
            low = bisect_left(terms, term)
            high = bisect_right(terms, term, low)
        start = 16 + 4 * count
        return list(array("H", mapped[start + 2 * low : start + 2 * high]))


def rows_behind(
    duck: Duck, path: Path, after: tuple[int, int], kinds: Sequence[str] | None
) -> duckdb.DuckDBPyConnection:
    """A cursor that gives the rows behind `after`, in order. Blocks, as do its fetches."""
    ms, seq = after
    query = f"SELECT {_ROW} FROM read_parquet($path, hive_partitioning = false) WHERE ms >= $ms AND (ms > $ms OR seq > $seq)"  # noqa: S608 - constants
    named: dict[str, Any] = {"path": plain(path), "ms": ms, "seq": seq}
    if kinds is not None:
        query += " AND list_contains($kinds, kind)"
        named["kinds"] = list(kinds)
    return duck.cursor().execute(query, named)


def rows_with(duck: Duck, path: Path, part: int, term: int, start: int, end: int) -> list[Tuple]:
    """The rows of one part that have a term, from `start` to before `end` (ms), in order. Blocks."""
    query = (
        f"SELECT {_ROW} FROM read_parquet($path, hive_partitioning = false) WHERE file_row_number >= $low AND file_row_number < $high "  # noqa: S608 - constants
        "AND list_contains(terms, CAST($term AS UINTEGER)) AND ms >= $start AND ms < $end"
    )
    named = {
        "path": plain(path),
        "low": part * PART,
        "high": part * PART + PART,
        "term": term,
        "start": start,
        "end": end,
    }
    return duck.cursor().execute(query, named).fetchall()


def rows_of(
    duck: Duck, paths: Sequence[Path], domain: str, kinds: Sequence[str], after: tuple[int, int], end: int
) -> list[Tuple]:
    """The rows of a domain and some kinds, behind `after` and before `end` (ms), of segments in order. Blocks."""
    query = (
        f"SELECT {_ROW} FROM read_parquet($paths, hive_partitioning = false) WHERE domain = $domain AND kind IN ({', '.join(repr(kind) for kind in kinds)}) "  # noqa: S608 - tags of events
        "AND ms >= $ms AND (ms > $ms OR seq > $seq) AND ms < $end"
    )
    ms, seq = after
    named = {"paths": [plain(path) for path in paths], "domain": domain, "ms": ms, "seq": seq, "end": end}
    return duck.cursor().execute(query, named).fetchall()


def all_rows(duck: Duck, path: Path) -> Iterator[list[Tuple]]:
    """All rows, in order, some thousand at a time. Blocks."""
    cursor = duck.cursor().execute(
        f"SELECT {_ROW} FROM read_parquet($path, hive_partitioning = false)",  # noqa: S608 - constants
        {"path": plain(path)},
    )
    while rows := cursor.fetchmany(PART):
        yield rows


def counted(duck: Duck, path: Path) -> tuple[int, str]:
    """How many entries a file holds, and the hash of them. Blocks."""
    contents = Contents()
    count = 0
    for rows in all_rows(duck, path):
        contents.add(rows)
        count += len(rows)
    return count, contents.digest()


def index_of(duck: Duck, path: Path) -> bytes:
    """The index as it follows from the file. Blocks."""
    cursor = duck.cursor().execute(
        "SELECT file_row_number, terms FROM read_parquet($path, hive_partitioning = false)", {"path": plain(path)}
    )
    pairs: set[int] = set()
    while rows := cursor.fetchmany(PART):
        pairs.update(term << 16 | number // PART for number, terms in rows for term in terms)
    return indexed(list(pairs))


def file_hash(path: Path) -> str:
    """SHA-256. Blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
