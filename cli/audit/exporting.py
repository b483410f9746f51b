"""Writing an export: to names that are not the file's until all of it is there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cli.audit.readable import readable
from pipeline.audit.entries import Entries
from pipeline.audit.export import Export
from pipeline.audit.manifest import Asked, File, Made, Manifest, Seal, beside, rendered, sealed
from pipeline.audit.recording import recorded_step
from pipeline.events import Exported
from pipeline.faults import ConfigurationError, RefusedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from cli.session import Session

PATIENCE = 5.0
"""Seconds to wait for a Redis that is away."""
MS = 1_000_000


def asked_of(domain: str, bounds: tuple[int, int], partitions: int) -> Asked:
    """`bounds`: ns, both inside."""
    from pipeline.audit.chain import written

    start, end = -(-bounds[0] // MS), bounds[1] // MS
    return Asked(domain=domain, start=written(str(start)), end=written(str(end)), partitions=partitions)


def default_name(asked: Asked, kind: str) -> Path:
    """Such as gatepost-audit-example.com-20261101-20261122.jsonl."""
    from pipeline.audit.chain import moment, written

    days = [] if moment(asked.start) == 0 else [asked.start[:10].replace("-", "")]
    end = written(str(moment(asked.end)))[:10].replace("-", "")
    if end < "2100":
        days.append(end)
    return Path("-".join(["gatepost-audit", asked.domain or "all", *days]) + "." + kind)


def refuse_existing(file: Path, *, force: bool) -> None:
    """Raises RefusedError."""
    there = [path for path in (file, beside(file)) if path.exists() or path.is_symlink()]
    if there and not force:
        raise RefusedError(f"{there[0]} is there already", remedy="Name another file with --output, or say --force.")


@contextlib.contextmanager
def _growing(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file of another name in the same directory, which only we may read; it is gone afterwards unless it was renamed."""
    growing = path.with_name(f".{path.name}.{os.getpid()}.growing")
    try:
        descriptor = os.open(growing, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigurationError(f"cannot write in {path.parent}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            yield stream, growing
    finally:
        growing.unlink(missing_ok=True)


def _on_disk(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


async def export(
    opened: Session, asked: Asked, file: Path, *, kind: str, by: str, key: Ed25519PrivateKey | None
) -> Manifest:
    """Write it, write down that it was written, and only then give it its name. Raises GatepostError."""
    from cli.progress import Progress

    wiring = opened.wiring
    entries = Entries(wiring.store.redis, wiring.history.archive)
    with _growing(file) as (out, growing):
        made = Export(asked, readable, out)
        with Progress("exporting", None) as bar:
            async for number in made.write(entries):
                bar.advance(number)
        _on_disk(out)
        digest, octets = made.digest, made.octets
        seals: list[Seal] = []
        from cli.version import installed

        at = opened.now()
        manifest = sealed(
            made.manifest(
                Made(at=_rfc3339(at), by=by, program=f"gatepost {installed()}"),
                File(name=file.name, format=kind, octets=octets, sha256=digest),
                seals,
            ),
            key,
        )
        with _growing(beside(file)) as (beside_out, beside_growing):
            beside_out.write(rendered(manifest))
            _on_disk(beside_out)
            await wiring.log.commit(recorded_step(_event(manifest, at), asked.partitions), patience=PATIENCE)
            beside_growing.replace(beside(file))
            growing.replace(file)
    _directory_on_disk(file.parent)
    return manifest


def _rfc3339(at: int) -> str:
    from cli.render import rfc3339

    return rfc3339(at) or ""


def _event(manifest: Manifest, at: int) -> Exported:
    from pipeline.audit.chain import moment

    asked = manifest.asked
    return Exported(
        at=at, domain=asked.domain, by=manifest.made.by, start=moment(asked.start) * MS, end=(moment(asked.end) + 1) * MS,
        events=manifest.records, digest=manifest.file.sha256,
    )  # fmt: skip


def _directory_on_disk(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
