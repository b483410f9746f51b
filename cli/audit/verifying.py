"""Checking an export, whichever of the two formats it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.audit import lines, parquet
from pipeline.audit.manifest import Manifest, beside, parsed, read
from pipeline.audit.verify import Problem, Problems, Row


def verify_file(file: Path, public: bytes | None, problems: Problems) -> Manifest | None:
    """The manifest, None when it is none. Raises ConfigurationError for what cannot be read at all."""
    manifest, wrong = parsed(read(beside(file)), public)
    for text in wrong:
        problems.add(text)
    if manifest is not None:
        for _ in rows_of(file, manifest, problems):
            pass
    return manifest


def rows_of(file: Path, manifest: Manifest, problems: Problems) -> Iterator[Row]:
    """The records of an export, each checked before it is handed out."""
    if manifest.file.format == "parquet":
        return parquet.rows(file, manifest, problems)
    return lines.rows(file, manifest, problems)


def place(problem: Problem) -> str:
    """Where it is, with a colon behind it."""
    words = []
    if problem.line:
        words.append(f"line {problem.line:,}")
    if problem.entry:
        words.append(f"entry {problem.entry} of {log_name(problem.partition)}")
    elif not problem.line and problem.partition:
        words.append(log_name(problem.partition))
    return ", ".join(words) + ": " if words else ""


def log_name(partition: int) -> str:
    return "the directory" if partition < 0 else f"partition {partition}"
