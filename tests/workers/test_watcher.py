"""What a watcher does from time to time."""

from __future__ import annotations

import asyncio

from workers.alerts.telling import Teller
from workers.alerts.watching import Watch
from workers.watcher import duties, nightly


async def test_each_duty_has_a_name_and_so_a_pulse_and_figures_of_its_own(parts):
    wiring = await parts()
    found = [*duties(wiring, Watch(wiring), Teller(wiring)), *nightly(wiring, asyncio.Event())]
    names = [name for name, _, _ in found]
    assert len(set(names)) == len(names)
