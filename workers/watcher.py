"""The watcher: looks whether all is well, tells whoever asked to hear when it is not, and sends the reports that are due.

Each duty is safe to run in any number of processes at once: what must happen once is an event, whose step fails the second time.
"""

from __future__ import annotations

import asyncio

from workers.bookkeeping import COUNT_EVERY, WALK_EVERY, Bookkeeper
from workers.duties import every
from workers.notify import notify
from workers.wiring import Wiring


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    """Until `stop`."""
    books = Bookkeeper(wiring)
    notify("READY=1")
    await asyncio.gather(
        every(COUNT_EVERY, books.count, stop),
        every(WALK_EVERY, books.walk, stop),
    )
