"""Writing an export: to names that are not the file's until all of it is there."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cli.audit.readable import readable
from cli.files import to_be_written
from cli.period import END
from cli.render import rfc3339
from pipeline.acted import home, recorded_step
from pipeline.archive.seal import Seal
from pipeline.audit import segments
from pipeline.audit.chain import moment, written
from pipeline.audit.entries import Entries
from pipeline.audit.export import Export
from pipeline.audit.manifest import Asked, File, Made, Manifest, beside, rendered, sealed
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
    start, end = -(-bounds[0] // MS), bounds[1] // MS
    return Asked(domain=domain, start=written(str(start)), end=written(str(end)), partitions=partitions)


async def zone_for(opened: Session, domain: str, tz: str) -> dt.tzinfo | None:
    """Whose days are meant: as named, else the domain's, else None for this machine's. Raises ConfigurationError."""
    from pipeline.zones import zone_of

    if not tz and domain:
        await opened.wiring.directory.refresh()
        home = opened.wiring.directory.home(domain)
        tz = home.timezone if home is not None else ""
    return zone_of(tz) if tz else None


def default_name(asked: Asked, kind: str, zone: dt.tzinfo | None) -> Path:
    """Such as gatepost-audit-example.com-20261101-20261122.jsonl; its days are those of the zone."""
    days = []
    if moment(asked.start):
        days.append(_day(moment(asked.start), zone))
    if moment(asked.end) < END // MS:
        days.append(_day(moment(asked.end), zone))
    return Path("-".join(["gatepost-audit", asked.domain or "all", *days]) + "." + kind)


def _day(ms: int, zone: dt.tzinfo | None) -> str:
    return dt.datetime.fromtimestamp(ms // 1000, dt.UTC).astimezone(zone).strftime("%Y%m%d")


def refuse_existing(file: Path, *, force: bool) -> None:
    """Raises RefusedError, ConfigurationError."""
    for path in (file, beside(file)):
        to_be_written(path)
    there = [path for path in (file, beside(file)) if path.exists() or path.is_symlink()]
    if there and not force:
        raise RefusedError(f"{there[0]} is there already", remedy="Name another file with --output, or say --force.")


@contextlib.contextmanager
def _growing(directory: Path) -> Iterator[Path]:
    """A directory beside the file in which it grows, and which only we may read; gone afterwards with all that is still in it."""
    try:
        with tempfile.TemporaryDirectory(prefix=".gatepost-audit-", dir=directory) as name:
            yield Path(name)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write in {directory}: {error.strerror}", remedy="Name another file with --output."
        ) from None


def _put(path: Path, data: bytes = b"") -> BinaryIO:
    """A new file with something in it, which stays open."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    stream = os.fdopen(descriptor, "w+b", 1 << 20)
    stream.write(data)
    return stream


def _on_disk(path: Path) -> None:
    path.chmod(0o600)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def export(
    opened: Session, asked: Asked, file: Path, *, kind: str, by: str, key: Ed25519PrivateKey | None
) -> Manifest:
    """Write it, write down that it was written, and only then give it its name. Raises GatepostError."""
    from cli.progress import Progress
    from cli.version import installed

    wiring = opened.wiring
    with _growing(file.parent) as growing:
        records, beside_it = growing / "records", growing / "manifest"
        with _put(records) as out, Progress("exporting", None) as bar:
            made = Export(asked, readable, out)
            async for number in made.write(Entries(wiring.store.redis, wiring.archive)):
                bar.advance(number)
        digest, octets = made.digest, made.octets
        if kind == "parquet":
            digest, octets, records = await asyncio.to_thread(_parquet, records)
        at = opened.now()
        who = Made(at=rfc3339(at) or "", by=by, program=f"gatepost {installed()}")
        what = File(name=file.name, format=kind, octets=octets, sha256=digest)
        manifest = sealed(made.manifest(who, what, await _seals(opened, asked)), key)
        _put(beside_it, rendered(manifest)).close()
        _on_disk(records)
        _on_disk(beside_it)
        step = recorded_step(_event(manifest, at), home(asked.domain, asked.partitions))
        await wiring.log.commit(step, patience=PATIENCE)
        beside_it.replace(beside(file))
        records.replace(file)
    _directory_on_disk(file.parent)
    return manifest


async def _seals(opened: Session, asked: Asked) -> list[Seal]:
    archive = opened.wiring.archive
    if archive is None:
        return []
    start, end = moment(asked.start), moment(asked.end)
    return [seal for partition in asked.logs for seal in await segments.seals(archive, partition, start, end)]


def _parquet(records: Path) -> tuple[str, int, Path]:
    """(SHA-256, octets, file). Blocks."""
    from pipeline.audit import parquet

    target = records.with_name("parquet")
    parquet.write(records, target)
    return (*parquet.digest(target), target)


def _event(manifest: Manifest, at: int) -> Exported:
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
