"""The watcher: looks whether all is well, tells whoever asked to hear when it is not, and sends the reports that are due.

Each duty is safe to run in any number of processes at once: what must happen once is an event, whose step fails the second time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pipeline.faults import StoreError
from projections.views import projections
from workers import report_mail
from workers.alerts.telling import Teller
from workers.alerts.watching import Watch
from workers.bookkeeping import COUNT_EVERY, WALK_EVERY, Bookkeeper
from workers.duties import every
from workers.notify import notify
from workers.selfcheck import NIGHT_EVERY, NightlyCheck
from workers.wiring import Wiring

LOOK_EVERY = 15.0
TELL_EVERY = 2.0

Duty: TypeAlias = tuple[float, Callable[[], Awaitable[int]]]
"""How often (seconds after it ended), and what; its result is how much there was to do."""


def duties(wiring: Wiring, watch: Watch, teller: Teller) -> list[Duty]:
    """All that a watcher does: add yours as a line of its own."""
    books = Bookkeeper(wiring)
    return [
        (look_every(watch), watch.look),
        (TELL_EVERY, teller.tell),
        (report_mail.EVERY, report_mail.ReportMail(wiring).send_due),
        (COUNT_EVERY, books.count),
        (WALK_EVERY, books.walk),
    ]


def nightly(wiring: Wiring, stop: asyncio.Event) -> list[Duty]:
    """What takes long, and leaves off at `stop`."""
    check = NightlyCheck(
        wiring.store.redis,
        wiring.history,
        range(wiring.store.partitions),
        projections(wiring.settings),
        at=wiring.settings.selfcheck_at,
        stop=stop,
        clock=wiring.clock,
    )
    return [(NIGHT_EVERY, check.look)]


def look_every(watch: Watch) -> float:
    """A short limit is kept as precisely as it was asked for."""
    return min(LOOK_EVERY, max(0.5, watch.shortest / 4e9))


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    """Until `stop`."""
    watch, teller = Watch(wiring), Teller(wiring)
    notify("READY=1")
    try:
        await asyncio.gather(
            *(every(seconds, duty, stop) for seconds, duty in [*duties(wiring, watch, teller), *nightly(wiring, stop)])
        )
    finally:
        with contextlib.suppress(StoreError):
            await teller.resign()
