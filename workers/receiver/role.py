"""A receiver process: one listener on the shared port."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Final

from pipeline import gateways
from pipeline.faults import StoreError
from workers.notify import notify
from workers.pressure import Pressure
from workers.receiver.server import serve
from workers.wiring import Wiring

GRACE: Final = 20.0
"""Seconds for transactions under way when we are told to stop."""


REGISTER_EVERY: Final = 3600.0
"""Seconds."""


async def _stay_known(wiring: Wiring, port: int) -> None:
    """Write down by what name and where we listen, so that no route is made to lead back here."""
    while True:
        with contextlib.suppress(StoreError):
            await gateways.register(wiring.store.redis, wiring.hostname, port, wiring.clock())
        await asyncio.sleep(REGISTER_EVERY)


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    pressure = Pressure(wiring.store.redis, wiring.settings)
    with contextlib.suppress(StoreError):
        await pressure.look()
    limiter = wiring.limiter
    helpers = [asyncio.create_task(pressure.watch()), asyncio.create_task(limiter.tend())]
    server = await serve(wiring.settings, wiring.directory, wiring.intake, wiring.bodies, pressure, limiter)
    helpers.append(asyncio.create_task(_stay_known(wiring, server.port)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload)
    try:
        notify("READY=1")
        await stop.wait()
        await server.close(GRACE)
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        await limiter.close()
