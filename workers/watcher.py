"""The watcher: looks whether all is well, tells whoever asked to hear when it is not, and sends the reports that are due.

Each duty is safe to run in any number of processes at once: what must happen once is an event, whose step fails the second time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pipeline import keys
from pipeline.faults import StoreError
from pipeline.store import faults
from projections.views import projections
from workers.alerts.telling import Teller
from workers.alerts.watching import Watch
from workers.bookkeeping import COUNT_EVERY, WALK_EVERY, Bookkeeper
from workers.duties import every
from workers.notify import SYNCS, notify
from workers.report_mail import EVERY as REPORTS_EVERY
from workers.report_mail import ReportMail
from workers.selfcheck import NIGHT_EVERY, NightlyCheck
from workers.wiring import Wiring

LOOK_EVERY = 15.0
TELL_EVERY = 2.0
SYNCS_EVERY = 2.0

Duty: TypeAlias = tuple[str, float, Callable[[], Awaitable[int]]]
"""Its name, no other's in this process; how often (seconds after it ended); and what, whose result is how much there was to do."""


def duties(wiring: Wiring, watch: Watch, teller: Teller) -> list[Duty]:
    """All that a watcher does: add yours as a line of its own."""
    books = Bookkeeper(wiring)
    return [
        ("watch", look_every(watch), watch.look),
        ("tell", TELL_EVERY, teller.tell),
        ("send_reports", REPORTS_EVERY, ReportMail(wiring).send_due),
        ("count_books", COUNT_EVERY, books.count),
        ("walk_books", WALK_EVERY, books.walk),
        ("see_syncs", SYNCS_EVERY, functools.partial(see_syncs, wiring)),
    ]


async def see_syncs(wiring: Wiring) -> int:
    """The supervisor starts a process for syncs when there is one, and has no client to see that by itself. Raises StoreError."""
    with faults():
        if await wiring.store.redis.exists(keys.SYNCS):
            notify(SYNCS)
    return 0


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
    return [("check_views", NIGHT_EVERY, check.look)]


def look_every(watch: Watch) -> float:
    """A short limit is kept as precisely as it was asked for."""
    return min(LOOK_EVERY, max(0.5, watch.shortest / 4e9))


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    """Until `stop`."""
    watch, teller = Watch(wiring), Teller(wiring)
    notify("READY=1")
    try:
        await asyncio.gather(
            *(
                every(seconds, duty, stop, name=name)
                for name, seconds, duty in [*duties(wiring, watch, teller), *nightly(wiring, stop)]
            )
        )
    finally:
        with contextlib.suppress(StoreError):
            await teller.resign()
