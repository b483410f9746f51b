"""Whether events can leave Redis. Nothing raises, and nothing is changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cli.check.finding import FATAL, GOOD, WARNING, Finding
from pipeline.faults import ConfigurationError

if TYPE_CHECKING:
    from pipeline.settings import Settings


def about_archive(settings: Settings) -> list[Finding]:
    from pipeline.archive import duck
    from pipeline.archive.objects import LocalObjects
    from workers.wiring import objects

    if not settings.archive:
        text = "archive is off: events stay in Redis until it is full, and then no more mail is taken"
        return [Finding(WARNING, "archive", text, "Set archive = true.")]
    if not duck.installed():
        text = "DuckDB is not installed: events stay in Redis until it is full, and then no more mail is taken"
        return [Finding(WARNING, "archive", text, duck.missing().remedy)]
    try:
        store = objects(settings)
    except ConfigurationError as fault:
        return [Finding(FATAL, "archive", str(fault), fault.remedy)]
    if isinstance(store, LocalObjects):
        root = store.root.absolute()
        place = next(parent for parent in (root, *root.parents) if parent.exists())
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            remedy = "Choose another archive_store, or give this user the right to write there."
            return [Finding(FATAL, "archive", f"cannot write to {root}", remedy)]
    return [Finding(GOOD, "archive", f"in {store.place}, kept {settings.archive_retention or 'for ever'}")]
