"""The watcher: looks whether all is well, tells whoever asked to hear when it is not, and sends the reports that are due.

Each duty is safe to run in any number of processes at once: what must happen once is an event, whose step fails the second time.
"""

from __future__ import annotations

import asyncio

from projections.views import projections
from workers.duties import every
from workers.notify import notify
from workers.selfcheck import LOOK_EVERY, TIDY_EVERY, NightlyCheck
from workers.wiring import Wiring


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    """Until `stop`."""
    check = NightlyCheck(
        wiring.store.redis,
        wiring.history,
        range(wiring.store.partitions),
        projections(wiring.settings),
        at=wiring.settings.selfcheck_at,
        clock=wiring.clock,
    )

    async def selfcheck() -> int:
        return await check.look(stop)

    async def leftover_builds() -> int:
        return await check.tidy()

    notify("READY=1")
    await asyncio.gather(every(LOOK_EVERY, selfcheck, stop), every(TIDY_EVERY, leftover_builds, stop), stop.wait())
