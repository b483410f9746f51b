"""An export as Parquet: each record as the line of JSON that it is, and beside it columns to query by.

The chain of hashes is over the lines, so both formats are checked alike, and each can be made from the other. The column `time` is UTC.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.audit import chain
from pipeline.audit.manifest import Manifest
from pipeline.audit.verify import Checker, Problems, Row
from pipeline.faults import ConfigurationError

if TYPE_CHECKING:
    import duckdb

MEMORY: Final = "512MB"
ROWS: Final = 2000
"""Read together."""
GROUP: Final = 8192
"""Rows that are compressed together."""
_COLUMNS: Final = "n, partition, entry, subject, version, time, kind, domain"
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
      max_line_size = {chain.MAX_LINE}, parallel = false, new_line = '\\n')
  )
) TO '%TARGET%' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP})
"""  # noqa: S608 - constants of this module
_READ: Final = f"SELECT {_COLUMNS}, record FROM read_parquet($path)"  # noqa: S608 - as above


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
    return duckdb.connect(":memory:", config=settings)


def write(source: Path, target: Path) -> None:
    """Make it of an export as JSON lines. Blocks."""
    with connect() as connection:
        connection.execute(_WRITE.replace("%TARGET%", str(target).replace("'", "''")), {"source": _plain(source)})


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
            cursor = connection.execute(_READ, {"path": _plain(path)})
            while found := cursor.fetchmany(ROWS):
                for columns in found:
                    row = _taken(columns, checker, problems)
                    if row is not None:
                        yield row
        except (duckdb.Error, UnicodeError) as error:
            problems.add(f"it cannot be read any further: {str(error).splitlines()[0][:200]}", line=checker.lines + 1)
    checker.finish(*whole)


def _taken(columns: tuple[Any, ...], checker: Checker, problems: Problems) -> Row | None:
    *named, record = columns
    row = checker.take(record.encode("utf-8", "backslashreplace") if isinstance(record, str) else b"")
    if row is None:
        return None
    said = [row.n, row.partition, row.entry, row.subject, row.version, row.time, row.kind, row.domain]
    if isinstance(named[5], dt.datetime):
        named[5] = named[5].isoformat("T", "milliseconds") + "Z"
    if named != said:
        text = "its columns are not what its record says"
        problems.add(text, line=checker.lines, partition=row.partition, entry=row.entry)
    return row


def _plain(path: Path) -> str:
    """A path that is taken as it is, whatever is in it: DuckDB would look for several."""
    return re.sub(r"[*?\[]", r"[\g<0>]", str(path))
