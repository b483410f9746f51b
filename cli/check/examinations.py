"""The examinations behind `gatepost check`, in their order. Each answers with findings; none raises, and none changes anything."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

from cli.check.finding import FATAL, Finding
from pipeline.faults import GatepostError

if TYPE_CHECKING:
    from cli.options import Common


async def examine(common: Common) -> list[Finding]:
    """All findings, in the order in which they matter to a start."""
    try:
        settings = common.settings()
    except GatepostError as fault:
        return [Finding(FATAL, "settings", str(fault), fault.remedy)]
    from cli.check.archive import about_archive
    from cli.check.bodies import about_bodies
    from cli.check.lists import about_lists
    from cli.check.machine import (
        about_certificate,
        about_directory,
        about_limits,
        about_port,
        about_settings,
        about_sources,
    )
    from cli.check.peers import about_engines, about_seal
    from cli.check.secrets import about_secrets
    from cli.check.stored import about_store
    from cli.check.tables import about_brands, about_countries, about_replies

    found = [*about_settings(settings, os.environ, common.config), *about_directory(settings), *about_limits(settings)]
    found += about_secrets(settings)
    found += [
        *about_replies(settings),
        *about_brands(settings),
        *about_countries(settings),
        *about_sources(settings),
        *about_archive(settings),
        *await about_bodies(settings),
        *await about_seal(settings),
        *await about_lists(settings),
        *await about_engines(settings),
    ]
    running = False
    if any(finding.weight == FATAL for finding in found):
        return [*found, *about_certificate(settings, dt.datetime.now(dt.UTC))]
    async for finding, is_running in about_store(common, settings):
        running = running or is_running
        if finding is not None:
            found.append(finding)
    found += about_certificate(settings, dt.datetime.now(dt.UTC))
    found += await about_port(settings, running=running)
    return found
