"""Many domains whose servers are away, each one of its own: what does it cost to try each of them once in an interval?"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from bench.crowd import INTERVAL, INTERVALS, CrowdGatepost, catch_up, say, seen
from bench.lives import ColdBodies, put, waiting
from bench.load import Sink, blast
from bench.measure import settle
from bench.rows import Row
from bench.systems import LOAD_DOMAIN, free_port
from pipeline.directory.change import Change
from pipeline.directory.model import Domain
from workers.wiring import Wiring

STEPS: Final = (0, 10, 100, 1_000)
EACH: Final = 10
"""Messages that wait for each of the domains."""
ADDED: Final = 500
"""Domains in one change of the directory."""


def by_outage(directory: Path, sink: Sink, most: int) -> Iterator[Row]:
    with CrowdGatepost(directory / "outage", {LOAD_DOMAIN: sink.port}) as system:
        blast(system.port, sink, 200, 4 << 10, reuse=True)
        port, before = free_port(), 0
        for count in (some for some in STEPS if some <= most):
            routes = {f"d{number}.away.example": server(number, port) for number in range(before, count)}
            system.ask(partial(fill, routes=routes))
            say(f"{EACH} messages wait for each of {count:,} domains")
            before = count
            catch_up(system)
            time.sleep(INTERVAL)  # all of them have been tried, and are in step
            settle(system)
            yield Row("outage", f"{count:,}", system.ask(partial(of_interval, system)))


def server(number: int, port: int) -> str:
    """An address of this machine for each, where nobody answers."""
    return f"127.1.{number >> 8}.{number & 255}:{port}"


async def fill(wiring: Wiring, routes: Mapping[str, str]) -> None:
    await add(wiring, routes)
    bodies = ColdBodies(wiring.settings.data / "bodies")
    await put(
        wiring.log, bodies.of(itertools.islice(waiting(list(routes), wiring.store.partitions), EACH * len(routes)))
    )


async def add(wiring: Wiring, routes: Mapping[str, str]) -> None:
    """Domains that take whatever address, many in one change. `routes`: the server of each."""
    names = list(routes)
    for start in range(0, len(names), ADDED):

        async def build(change: Change, some: list[str] = names[start : start + ADDED]) -> None:
            for name in some:
                change.set_domain(Domain(name=name, route=(routes[name],), catch_all=True))

        await wiring.directory.change(build, by="bench", now=time.time_ns())


async def of_interval(system: CrowdGatepost, wiring: Wiring) -> dict[str, float]:
    before = await seen(system, wiring)
    await asyncio.sleep(INTERVAL * INTERVALS)
    after = await seen(system, wiring)
    return {name: (after[name] - value) / INTERVALS for name, value in before.items()}
