"""An export as Parquet: each record as the line of JSON that it is, and beside it columns to query by.

The chain of hashes is over the lines, so both formats are checked alike, and each can be made from the other. The column `time` is UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.archive.duck import plain
from pipeline.audit import chain
from pipeline.audit.manifest import Manifest
from pipeline.audit.verify import Checker, Problems, Row
from pipeline.faults import ConfigurationError

if TYPE_CHECKING:
    import duckdb

MEMORY: Final = "512MB"
ROWS: Final = 16
"""Taken out of DuckDB together."""
CHUNK: Final = 2048
"""Rows that DuckDB itself has in memory together, beyond the memory that it is allowed; a file of a few KiB may unpack to any length."""
TOGETHER: Final = 128 << 20
"""Octets of records up to which it may have so many."""
LONGEST: Final = 1024
"""Octets of another column's text that are looked at; more cannot be what the record says."""
GROUP: Final = 8192
"""Rows that are compressed together."""
_TYPES: Final = (
    '{"n": "BIGINT", "partition": "INTEGER", "entry": "VARCHAR", "subject": "VARCHAR", "version": "BIGINT", '
    '"time": "VARCHAR", "kind": "VARCHAR", "domain": "VARCHAR"}'
)
_WRITE: Final = f"""
COPY (
  SELECT f.n AS n, f.partition AS partition, f.entry AS entry, f.subject AS subject, f.version AS version,
    CAST(rtrim(f.time, 'Z') AS TIMESTAMP) AS time, f.kind AS kind, f.domain AS domain, record
  FROM (
    SELECT record, json_transform(record, '{_TYPES}') AS f
    FROM read_csv($source, columns = {{'record': 'VARCHAR'}}, header = false, auto_detect = false, delim = '\x01', quote = '', escape = '',
      max_line_size = {chain.MAX_LINE}, parallel = false, new_line = '\\n', hive_partitioning = false)
  )
) TO '%TARGET%' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP})
"""  # noqa: S608 - constants of this module
_FROM: Final = "FROM read_parquet($path, hive_partitioning = false, file_row_number = true)"
"""Without DuckDB's guess that `entry=5/` in the path is a column."""
_WEIGHED: Final = f"""
SELECT max(file_row_number) + 1, sum(least(strlen(record), {chain.MAX_LINE})) {_FROM} GROUP BY file_row_number // $rows ORDER BY 1
"""
_READ: Final = f"""
SELECT CAST(n AS BIGINT), CAST(partition AS BIGINT), left(entry, {LONGEST}), left(subject, {LONGEST}), CAST(version AS BIGINT),
  strftime(time, '%Y-%m-%dT%H:%M:%S.%gZ'), left(kind, {LONGEST}), left(domain, {LONGEST}),
  CASE WHEN strlen(record) <= {chain.MAX_LINE} THEN record END
{_FROM}"""
_PART: Final = f"{_READ} WHERE file_row_number >= $low AND file_row_number < $high"


def connect() -> duckdb.DuckDBPyConnection:
    """Raises ConfigurationError where it is not installed."""
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "DuckDB is not installed, which Parquet is written and read with",
            remedy="Install it: pip install 'gatepost[archive]'; or export JSON lines.",
        ) from None
    settings: dict[str, Any] = {
        "threads": 1, "memory_limit": MEMORY, "autoinstall_known_extensions": False, "autoload_known_extensions": False,
    }  # fmt: skip
    connection = duckdb.connect(":memory:", config=settings)
    # A program started with `python -c` counts as somebody at a prompt, and a slow query would draw a bar into its output.
    connection.execute("SET enable_progress_bar = false")
    return connection


def write(source: Path, target: Path) -> None:
    """Make it of an export as JSON lines. Blocks."""
    with connect() as connection:
        connection.execute(_WRITE.replace("%TARGET%", str(target).replace("'", "''")), {"source": plain(source)})


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file. Raises ConfigurationError."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), path.stat().st_size
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None


def rows(path: Path, manifest: Manifest, problems: Problems) -> Iterator[Row]:
    """As `lines.rows`."""
    whole = digest(path)
    checker = Checker(manifest, problems)
    with connect() as connection:
        import duckdb  # noqa: PLC0415 - it is there: `connect` has it

        try:
            for columns in _read(connection, plain(path)):
                row = _taken(columns, checker, problems)
                if row is not None:
                    yield row
        except (duckdb.Error, UnicodeError) as error:
            problems.add(f"it cannot be read any further: {str(error).splitlines()[0][:200]}", line=checker.lines + 1)
    checker.finish(*whole)


def _read(connection: duckdb.DuckDBPyConnection, path: str) -> Iterator[tuple[Any, ...]]:
    """The rows, in order; where many are long only as many at a time as memory has room for."""
    weighed = connection.execute(_WEIGHED, {"path": path, "rows": CHUNK})
    heavy = False
    while (found := weighed.fetchone()) is not None and not heavy:
        heavy = (found[1] or 0) > TOGETHER
    for named in _parts(connection, path) if heavy else [{}]:
        cursor = connection.execute(_PART if named else _READ, {"path": path, **named})
        while rows := cursor.fetchmany(ROWS):
            yield from rows


def _parts(connection: duckdb.DuckDBPyConnection, path: str) -> list[dict[str, int]]:
    """Stretches of rows that fit."""
    parts: list[dict[str, int]] = []
    octets = TOGETHER
    for end, more in connection.execute(_WEIGHED, {"path": path, "rows": ROWS}).fetchall():
        octets += more or 0
        if octets > TOGETHER:
            parts.append({"low": parts[-1]["high"] if parts else 0, "high": 0})
            octets = more or 0
        parts[-1]["high"] = end
    return parts


def _taken(columns: tuple[Any, ...], checker: Checker, problems: Problems) -> Row | None:
    *named, record = columns
    row = checker.take(record.encode("utf-8", "backslashreplace") if isinstance(record, str) else b"")
    if row is None:
        return None
    said = [row.n, row.partition, row.entry, row.subject, row.version, row.time, row.kind, row.domain]
    if named != [text[:LONGEST] if isinstance(text, str) else text for text in said]:
        text = "its columns are not what its record says"
        problems.add(text, line=checker.lines, partition=row.partition, entry=row.entry)
    return row
