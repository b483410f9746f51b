"""A receiver process: one listener on the shared port."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import Final

from pipeline import gateways, metrics
from pipeline.bodies import ORPHAN_AGE
from pipeline.faults import StoreError
from pipeline.greylist import Greylist
from pipeline.pause import end
from pipeline.resolver import Resolver
from workers.notify import notify
from workers.pressure import Pressure
from workers.receiver.greylisting import Greylisting
from workers.receiver.loops import Loops
from workers.receiver.refusals import Refusals
from workers.receiver.server import Parts, serve
from workers.wiring import Wiring

GRACE: Final = 20.0
"""Seconds for transactions under way when we are told to stop."""


HOUR: Final = 3600.0


async def _each_hour(wiring: Wiring, port: int) -> None:
    """Write down by what name and where we listen, so that no route is made to lead back here; and look for drafts that a crash
    left on this machine, where no janitor may be.
    """
    while True:
        with contextlib.suppress(StoreError):
            await gateways.register(wiring.store.redis, wiring.hostname, port, wiring.clock())
        with contextlib.suppress(OSError):
            await asyncio.to_thread(wiring.bodies.sweep_drafts, time.time() - ORPHAN_AGE)
        await asyncio.sleep(HOUR)


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    pressure = Pressure(wiring.store.redis, wiring.settings)
    with contextlib.suppress(StoreError):
        await pressure.look()
    limiter, refusals = wiring.limiter, Refusals(wiring.intake_log, wiring.store.partitions, wiring.clock)
    written = asyncio.Event()
    writing = asyncio.create_task(refusals.run(written))
    helpers = [asyncio.create_task(pressure.watch()), asyncio.create_task(limiter.tend())]
    try:
        server = await serve(wiring.settings, _parts(wiring, pressure, refusals))
        metrics.SMTP_SESSIONS.watch(lambda: server.sessions)
        helpers.append(asyncio.create_task(_each_hour(wiring, server.port)))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload)
        notify("READY=1")
        await stop.wait()
        await server.close(GRACE)
    finally:
        await end(helpers)
        written.set()
        await writing
        await limiter.close()


def _parts(wiring: Wiring, pressure: Pressure, refusals: Refusals) -> Parts:
    resolver = Resolver(wiring.settings.resolver)
    return Parts(
        directory=wiring.directory,
        intake=wiring.intake,
        bodies=wiring.bodies,
        pressure=pressure,
        limiter=wiring.limiter,
        refusals=refusals,
        greylist=Greylisting(
            Greylist(wiring.store.redis, wiring.settings),
            wiring.directory,
            resolver,
            wiring.hostname,
            wiring.clock,
        ),
        loops=Loops(wiring.directory, resolver, wiring.clock),
        clock=wiring.clock,
    )
