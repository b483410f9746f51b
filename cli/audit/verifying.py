"""Checking an export, whichever of the two formats it has."""

from __future__ import annotations

from pathlib import Path

from pipeline.audit import lines
from pipeline.audit.manifest import Manifest, beside, parsed, read
from pipeline.audit.verify import Problem, Problems


def verify_file(file: Path, public: bytes | None, problems: Problems) -> Manifest | None:
    """The manifest, None when it is none. Raises ConfigurationError for what cannot be read at all."""
    manifest, wrong = parsed(read(beside(file)), public)
    for text in wrong:
        problems.add(text)
    if manifest is not None:
        lines.check(file, manifest, problems)
    return manifest


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
