"""Whatever is done to an export as Parquet is found as in one of JSON lines."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import duckdb
import msgspec
import pytest

from pipeline.audit import parquet
from pipeline.audit.manifest import Manifest, parsed
from pipeline.audit.verify import Problems
from tests.support.exports import sample
from tests.support.servers import ROOT


class Packed:
    def __init__(self, directory: Path) -> None:
        data, manifest = sample("example.test")
        self.rows = data.splitlines(keepends=True)
        self._directory = directory
        self.file = self.write(self.rows)
        old, _ = parsed(manifest, None)
        digest, octets = parquet.digest(self.file)
        file = msgspec.structs.replace(old.file, format="parquet", sha256=digest, octets=octets)
        self.manifest: Manifest = msgspec.structs.replace(old, file=file)

    def write(self, rows: list[bytes]) -> Path:
        source, target = self._directory / "x.jsonl", self._directory / "x.parquet"
        source.write_bytes(b"".join(rows))
        parquet.write(source, target)
        return target

    def first(self) -> tuple[int, str]:
        problems = Problems()
        for _ in parquet.rows(self.file, self.manifest, problems):
            pass
        return (problems.named[0].line, problems.named[0].text) if problems.count else (0, "")


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    return Packed(tmp_path)


def test_an_export_that_nobody_touched_is_whole(packed: Packed):
    assert packed.first() == (0, "")


def test_each_record_that_is_taken_away_is_missed_at_its_place(packed: Packed):
    rows = packed.rows
    for place in range(len(rows)):
        packed.write(rows[:place] + rows[place + 1 :])
        line, text = packed.first()
        assert line == (place + 1 if place + 1 < len(rows) else 0)
        assert "missing" in text or "the manifest says" in text


def test_records_that_are_doubled_or_change_places_are_found(packed: Packed):
    rows = packed.rows
    for place in range(len(rows) - 1):
        packed.write(rows[: place + 1] + rows[place:])
        assert packed.first()[0] == place + 2
        packed.write([*rows[:place], rows[place + 1], rows[place], *rows[place + 2 :]])
        assert packed.first()[0] == place + 1


def test_a_record_that_was_changed_is_found(packed: Packed):
    rows = packed.rows
    for place, row in enumerate(rows):
        packed.write([*rows[:place], row.replace(b'"version":', b'"version":1'), *rows[place + 1 :]])
        assert packed.first() == (place + 1, "it was changed: its hash is another")


def test_columns_that_say_something_else_than_the_record_are_found(packed: Packed, tmp_path: Path):
    other = tmp_path / "other.parquet"
    columns = {
        "kind": "'delivered'",
        "domain": "'x'",
        "subject": "'x'",
        "version": "99",
        "time": "TIMESTAMP '2000-01-01'",
    }
    for name, value in columns.items():
        duckdb.sql(f"COPY (SELECT * REPLACE ({value} AS {name}) FROM '{packed.file}') TO '{other}' (FORMAT parquet)")
        packed.file, kept = other, packed.file
        assert packed.first() == (1, "its columns are not what its record says")
        packed.file = kept


def test_a_change_of_any_octet_is_found(packed: Packed):
    whole = packed.file.read_bytes()
    rng = random.Random(5)
    for _ in range(60):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        packed.file.write_bytes(changed)
        assert packed.first() != (0, "")


@pytest.mark.parametrize("size", [0, 4, 100, -1, -8])
def test_a_file_that_was_cut_off_is_found(packed: Packed, size: int):
    packed.file.write_bytes(packed.file.read_bytes()[:size])
    assert packed.first()[1].startswith("it cannot be read any further")


def test_what_has_other_columns_is_found(packed: Packed):
    duckdb.sql(f"COPY (SELECT 1 AS n) TO '{packed.file}' (FORMAT parquet)")
    assert packed.first()[1].startswith("it cannot be read any further")


def test_a_file_in_a_folder_that_looks_like_a_column_says_what_is_in_it(packed: Packed, tmp_path: Path):
    folder = tmp_path / "domain=elsewhere.test" / "[entry=5]*"
    folder.mkdir(parents=True)
    packed.file = packed.file.rename(folder / "x.parquet")
    assert packed.first() == (0, "")


def test_records_that_are_long_are_read_a_few_at_a_time(packed: Packed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parquet, "CHUNK", 8)
    monkeypatch.setattr(parquet, "ROWS", 2)
    monkeypatch.setattr(parquet, "TOGETHER", 3000)
    assert packed.first() == (0, "")
    packed.write(packed.rows[:-3] + packed.rows[-2:])
    assert packed.first()[0] == len(packed.rows) - 2


def test_nothing_is_drawn_into_the_output_of_who_reads():
    asked = "SELECT current_setting('enable_progress_bar')"
    code = f"from pipeline.audit import parquet; print(parquet.connect().execute({asked!r}).fetchone())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "(False,)\n"


BOMB = """
import resource, sys
from pathlib import Path
from pipeline.audit import parquet
from pipeline.audit.manifest import parsed
from pipeline.audit.verify import Problems
from tests.support.exports import sample
from tests.support.servers import ROOT

problems = Problems()
manifest, _ = parsed(sample("example.test")[1], None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert not list(parquet.rows(Path(sys.argv[1]), manifest, problems))
print(problems.count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("ending", ["''", "n"])
def test_a_small_file_that_unpacks_to_gigabytes_takes_little_memory(tmp_path: Path, ending: str):
    bomb = tmp_path / "bomb.parquet"
    columns = "0 AS partition, '1-1' AS entry, 's' AS subject, 1 AS version, now()::TIMESTAMP AS time, 'k' AS kind, 'd' AS domain"
    duckdb.connect().execute(
        f"COPY (SELECT n, {columns}, repeat('a', 2000000) || {ending} AS record FROM range(700) r(n)) TO '{bomb}'"
        " (FORMAT parquet, COMPRESSION zstd)"
    )
    assert bomb.stat().st_size < 200_000
    done = subprocess.run(
        [sys.executable, "-c", BOMB, bomb], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    problems, kibibytes = map(int, done.stdout.split())
    assert problems
    assert kibibytes < 600_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time", "'infinity'::TIMESTAMP"), ("time", "'290000-01-01'::TIMESTAMP"), ("time", "[1]"), ("n", "[n]"),
        ("n", "repeat('9', 5000)"), ("record", "NULL"), ("record", "{'a': 1}"), ("entry", "NULL"), ("subject", "5"),
    ],
)  # fmt: skip
def test_columns_of_other_types_and_years_are_told_like_every_change(packed: Packed, tmp_path: Path, name, value):
    other = tmp_path / "other.parquet"
    duckdb.sql(f"COPY (SELECT * REPLACE ({value} AS {name}) FROM '{packed.file}') TO '{other}' (FORMAT parquet)")
    packed.file = other
    assert packed.first() != (0, "")
