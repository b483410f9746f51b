"""The watcher: looks whether all is well, tells whoever asked to hear when it is not, and sends the reports that are due.

Each duty is safe to run in any number of processes at once: what must happen once is an event, whose step fails the second time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pipeline.faults import StoreError
from workers import mailing
from workers.alerts.telling import Teller
from workers.alerts.watching import Watch
from workers.duties import every
from workers.notify import notify
from workers.wiring import Wiring

LOOK_EVERY = 15.0
TELL_EVERY = 2.0

Duty: TypeAlias = tuple[float, Callable[[], Awaitable[int]]]
"""How often (seconds after it ended), and what; its result is how much there was to do."""


def duties(wiring: Wiring, watch: Watch, teller: Teller) -> list[Duty]:
    """All that a watcher does: add yours as a line of its own."""
    return [
        (look_every(watch), watch.look),
        (TELL_EVERY, teller.tell),
        (mailing.EVERY, mailing.Mailing(wiring).send_due),
    ]


def look_every(watch: Watch) -> float:
    """A short limit is kept as precisely as it was asked for."""
    return min(LOOK_EVERY, max(0.5, watch.shortest / 4e9))


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    """Until `stop`."""
    watch, teller = Watch(wiring), Teller(wiring)
    notify("READY=1")
    try:
        await asyncio.gather(*(every(seconds, duty, stop) for seconds, duty in duties(wiring, watch, teller)))
    finally:
        with contextlib.suppress(StoreError):
            await teller.resign()
