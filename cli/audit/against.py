"""`gatepost audit verify --against-store`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.audit.verifying import rows_of
from pipeline.acted import home
from pipeline.audit.against import Comparison
from pipeline.audit.entries import Entries
from pipeline.audit.verify import Problems
from pipeline.faults import RefusedError

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.audit.manifest import Manifest


async def against(opened: Session, file: Path, manifest: Manifest, problems: Problems) -> int:
    """Hold an export against log and archive; how many records are of a time that retention has taken away. Raises GatepostError."""
    from cli.progress import Progress

    wiring = opened.wiring
    if manifest.asked.partitions != wiring.store.partitions:
        raise RefusedError("the export is of another store: it has another number of partitions")
    comparison = Comparison(Entries(wiring.store.redis, wiring.archive), manifest, problems)
    await comparison.begin()
    with Progress("comparing", manifest.records) as bar:
        for row in rows_of(file, manifest, Problems()):
            await comparison.take(row)
            bar.advance(1)
    await comparison.finish(home(manifest.asked.domain, wiring.store.partitions))
    return comparison.skipped
