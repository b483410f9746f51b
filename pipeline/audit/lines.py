"""An export as JSON lines: reading it back, whatever was done to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.audit import chain
from pipeline.audit.manifest import Manifest
from pipeline.audit.verify import Checker, Problems, Row
from pipeline.faults import ConfigurationError


def rows(path: Path, manifest: Manifest, problems: Problems) -> Iterator[Row]:
    """The records, each checked before it is handed out, in constant memory. Raises ConfigurationError."""
    checker = Checker(manifest, problems)
    sha, octets = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while line := stream.readline(chain.MAX_LINE):
                sha.update(line)
                octets += len(line)
                if not line.endswith(b"\n"):
                    problems.add("the line has no end: the file was cut off", line=checker.lines + 1)
                row = checker.take(line.removesuffix(b"\n"))
                if row is not None:
                    yield row
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    checker.finish(sha.hexdigest(), octets)
