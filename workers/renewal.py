"""A new process in the place of one that has grown by something it needs now and then only.

DuckDB takes some 90 MiB once it was used: for sealing a day's log, for the nightly check, for a report about the past. Closed, it would
still take half of that, as no library can be unloaded. So when nobody has needed it for a while the process ends, and says with its exit
code that it wants to begin anew.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from pipeline.archive.duck import Duck
from pipeline.pause import pause
from workers.duties import at_rest

RENEW: Final = 75
"""The exit code: EX_TEMPFAIL of sysexits(3), so who starts again only what failed does so too."""
UNUSED: Final = 300.0
"""Seconds."""
LOOK: Final = 30.0

log = structlog.get_logger()


async def outgrown(duck: Duck, stop: asyncio.Event, *, look: float = LOOK, unused: float = UNUSED) -> bool:
    """Set `stop` when a new process would be smaller; whether that was so, once `stop` is set."""
    while not await pause(stop, look):
        if duck.unused() > unused and at_rest():
            log.info("begins anew, as it is larger than it has to be")
            stop.set()
            return True
    return False
