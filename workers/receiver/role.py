"""A receiver process: one listener on the shared port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from typing import Final

from pipeline import gateways, metrics
from pipeline.bodies import sweep_drafts
from pipeline.faults import StoreError
from pipeline.greylist import Greylist
from pipeline.pause import end
from pipeline.resolver import Resolver
from workers.duties import every
from workers.notify import notify
from workers.nursery import LISTENER
from workers.pressure import Pressure
from workers.receiver.greylisting import Greylisting
from workers.receiver.loops import Loops
from workers.receiver.refusals import Refusals
from workers.receiver.server import Parts, serve
from workers.wiring import Wiring

GRACE: Final = 20.0
"""Seconds for transactions under way when we are told to stop."""


TIDY_EVERY: Final = 3600.0
DRAFT_AGE: Final = 6 * 3600.0
REGISTER_EVERY: Final = 3600.0
"""Seconds."""


async def _stay_known(wiring: Wiring, port: int) -> None:
    """Write down by what name and where we listen, so that no route is made to lead back here."""
    while True:
        with contextlib.suppress(StoreError):
            await gateways.register(wiring.store.redis, wiring.hostname, port, wiring.clock())
        await asyncio.sleep(REGISTER_EVERY)


async def _tidy(wiring: Wiring, stop: asyncio.Event) -> None:
    """A machine may have receivers and no janitor, who could not see its drafts."""

    async def sweep_own_drafts() -> int:
        return await asyncio.to_thread(sweep_drafts, wiring.bodies.drafts, time.time() - DRAFT_AGE)

    await every(TIDY_EVERY, sweep_own_drafts, stop)


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    pressure = Pressure(wiring.store, wiring.settings, wiring.clock)
    with contextlib.suppress(StoreError):
        await pressure.look()
    wiring.intake.waits = lambda domain: domain in pressure.waiting
    limiter, refusals = wiring.limiter, Refusals(wiring.intake_log, wiring.store.partitions, wiring.clock)
    written = asyncio.Event()
    writing = asyncio.create_task(refusals.run(written))
    helpers = [
        asyncio.create_task(pressure.watch()),
        asyncio.create_task(limiter.tend()),
        asyncio.create_task(_tidy(wiring, stop)),
    ]
    try:
        server = await serve(wiring.settings, _parts(wiring, pressure, refusals), sock=_given())
        metrics.SMTP_SESSIONS.watch(lambda: server.sessions)
        metrics.SMTP_BRAKE.watch(lambda: pressure.brake.delay)
        helpers.append(asyncio.create_task(_stay_known(wiring, server.port)))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload)
        notify("READY=1")
        await stop.wait()
        await server.close(GRACE)
    finally:
        await end(helpers)
        written.set()
        await writing
        await limiter.close()


def _given() -> socket.socket | None:
    """The socket of a supervisor, which stays open when we end: who connects meanwhile waits for our successor."""
    number = os.environ.get(LISTENER, "")
    return socket.socket(fileno=int(number)) if number else None


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
