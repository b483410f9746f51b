"""A domain whose server is away, and how many messages wait for it: what of that costs more when more wait?

The messages are put in through the log's own code (`lives.py`), into one gateway, more and more of them. At each step the domain's
server says 421 for some intervals, then mail is sent to other domains and to this one, and then the server is back for a while.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.lives import ColdBodies, put, waiting
from bench.load import SESSIONS, Sink, blast
from bench.measure import cpu_of, cpu_seconds, settle
from bench.rows import Row
from bench.systems import LOAD_DOMAIN, BenchError, free_port, program, wait_for
from bench.waiting import Busy, WaitingGatepost, backs_off, by_role, end, one_waits
from pipeline import keys
from pipeline.ids import partition_for
from pipeline.store import Client
from projections.readers.health import read_health, redis_now
from projections.readers.queue import read_queue
from projections.readers.rates import read_rates
from projections.views import projections
from workers.wiring import Wiring

AWAY: Final = "away.example"
"""Its server is away."""
STEPS: Final = (0, 1_000, 10_000, 100_000, 1_000_000)
INTERVAL: Final = 5
"""Seconds between two attempts."""
INTERVALS: Final = 6
SOME: Final = 1_000
"""Messages of 4 KiB that are sent to another domain while the others wait."""
MORE: Final = 500
"""Messages of 4 KiB that come for the domain itself; fewer than the first step has."""
DRAINED: Final = 5_000
"""Messages that leave before the server is away again; no more than half of those that wait."""
LOOKS: Final = 21
USUAL: Final = 3.0
"""Seconds in which it is seen what a gateway uses anyway."""
LIMIT: Final = 1800.0
"""Seconds for the longest step."""
SIZE: Final = 4 << 10


class CrowdGatepost(WaitingGatepost):
    settings: Mapping[str, str] = {
        **WaitingGatepost.settings,
        "GATEPOST_RETRY_INTERVAL": f"{INTERVAL}s",
        "GATEPOST_REDIS_MEMORY": "12GiB",
        # Copying the events of a million messages takes minutes of CPU, once, which would be in every figure.
        "GATEPOST_ARCHIVE": "false",
    }


def by_waiting(directory: Path, sink: Sink, most: int) -> Iterator[Row]:
    with CrowdGatepost(directory / "crowd", {LOAD_DOMAIN: sink.port, AWAY: free_port()}) as system:
        blast(system.port, sink, 200, SIZE, reuse=True)
        settle(system)
        for count in (some for some in STEPS if some <= most):
            yield Row("waiting", f"{count:,}", of_step(system, directory, sink, count))


def of_step(system: WaitingGatepost, directory: Path, sink: Sink, count: int) -> dict[str, float]:
    figures = fill(system, count) if count else {}
    figures |= system.ask(partial(trying, system, count > 0))
    figures |= {"the queue's view, ms": system.ask(looking)}
    figures |= coming(system, sink)
    if count:
        figures |= leaving(system, directory, min(DRAINED, count // 2))
        figures |= {"until it takes mail again, s": again(system)}
    return figures


# --- So many wait


def fill(system: WaitingGatepost, count: int) -> dict[str, float]:
    """Until so many wait, and every view has them."""

    async def work(wiring: Wiring) -> int:
        have = int(await wiring.store.redis.zcard(keys.queue(partition_for(AWAY, wiring.store.partitions), AWAY)))
        bodies = ColdBodies(wiring.settings.data / "bodies")
        await put(wiring.log, bodies.of(itertools.islice(waiting([AWAY], wiring.store.partitions), count - have)))
        return count - have

    before, began = system.used(), time.monotonic()
    added = system.ask(work)
    say(f"{count:,} messages wait after {time.monotonic() - began:.0f} s")
    catch_up(system)
    settle(system)
    say(f"and are in all views after {time.monotonic() - began:.0f} s")
    return {"Redis, octets for each": (system.used() - before) / added}


def catch_up(system: WaitingGatepost) -> None:
    """Until no view is behind."""

    async def work(wiring: Wiring) -> None:
        views = [one.name for one in projections(wiring.settings)]
        redis, partitions = wiring.store.redis, wiring.store.partitions
        deadline = time.monotonic() + LIMIT
        while any(
            one.behind for one in await read_health(redis, wiring.log, partitions, views, await redis_now(redis))
        ):
            if time.monotonic() > deadline:
                raise BenchError("the views do not catch up")
            await asyncio.sleep(0.05)

    system.ask(work)


# --- What an interval costs


async def trying(system: WaitingGatepost, waits: bool, wiring: Wiring) -> dict[str, float]:
    """Of each interval, while the server says 421. `waits`: somebody will ask it."""
    had: list[asyncio.WriteTransport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Busy(had), "127.0.0.1", system.routes[AWAY])
    try:
        async with asyncio.timeout(10 * INTERVAL):
            while waits and not had:
                await asyncio.sleep(0.01)
        before = {"an interval: connections": float(len(had)), **await seen(system, wiring)}
        await asyncio.sleep(INTERVAL * INTERVALS)
        after = {"an interval: connections": float(len(had)), **await seen(system, wiring)}
    finally:
        await end(server, had)
    return {name: (after[name] - value) / INTERVALS for name, value in before.items()}


async def seen(system: WaitingGatepost, wiring: Wiring) -> dict[str, float]:
    """What can be counted of an interval's work, so far."""
    redis = wiring.store.redis
    events = sum([int(await redis.xlen(keys.log(number))) for number in range(wiring.store.partitions)])
    calls, ms = await scripts(redis)
    return {
        "an interval: events": events,
        "an interval: scripts that Redis runs": calls,
        "an interval: their time, ms": ms,
        "an interval: CPU of the deliverer, ms": cpu_of(by_role(system)["deliverer"]) * 1000,
        "an interval: CPU in all, ms": cpu_seconds(system) * 1000,
    }


async def scripts(redis: Client) -> tuple[float, float]:
    """(calls, ms) so far, whoever called them."""
    stats: Any = await redis.info("commandstats")
    these = [row for name, row in stats.items() if name.startswith(("cmdstat_eval", "cmdstat_fcall"))]
    return sum(row["calls"] for row in these), sum(row["usec"] for row in these) / 1000


# --- What it costs to look


async def looking(wiring: Wiring) -> float:
    """Of the calls behind `gatepost queue`, ms."""
    took = []
    for _ in range(LOOKS):
        now, began = time.time_ns(), time.perf_counter()
        await read_queue(wiring.store.redis, wiring.store.partitions, now=now)
        await read_rates(wiring.store.redis, now)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


# --- Mail that comes meanwhile


def coming(system: WaitingGatepost, sink: Sink) -> dict[str, float]:
    rate, cpu = passing(system, sink, SOME)
    return {
        "other mail, messages/s": rate,
        "other mail, CPU ms each": cpu,
        "accepted for the same domain, messages/s": MORE / accepted(system),
    }


def passing(system: WaitingGatepost, sink: Sink, count: int) -> tuple[float, float]:
    """Messages a second until the last is at the sink, and CPU ms for each beyond what is used anyway, until all views have them."""
    usual = usually(system)
    began, before = time.perf_counter(), cpu_seconds(system)
    _, arrived = blast(system.port, sink, count, SIZE, reuse=True)
    catch_up(system)
    cpu = cpu_seconds(system) - before - usual * (time.perf_counter() - began)
    return count / arrived, max(0.0, cpu) * 1000 / count


def usually(system: WaitingGatepost) -> float:
    """What it uses without mail: of a processor. Books are walked through all the time, at a pace of their own."""
    before = cpu_seconds(system)
    time.sleep(USUAL)
    return (cpu_seconds(system) - before) / USUAL


def accepted(system: WaitingGatepost) -> float:
    """Seconds until it has taken as many messages for the domain whose server is away."""
    sending = ["-s", str(SESSIONS), "-m", str(MORE), "-l", str(SIZE), "-d", "-M", "client.example"]
    addresses = ["-f", "sender@client.example", "-t", f"user@{AWAY}", f"127.0.0.1:{system.port}"]
    began = time.perf_counter()
    subprocess.run([program("smtp-source"), *sending, *addresses], check=True)
    return time.perf_counter() - began


# --- The server is back


def leaving(system: WaitingGatepost, directory: Path, count: int) -> dict[str, float]:
    """From the word that it is back to its first message, and on to as many as are asked for. Then it is away again."""
    with Sink(directory, f"crowd-{system.count}", system.routes[AWAY]) as sink:
        system.count += 1
        began = time.perf_counter()
        system.command("queue", "retry", AWAY)
        wait_for(lambda: sink.count, "a first message", LIMIT)
        first, had = time.perf_counter(), sink.count
        wait_for(lambda: sink.count >= count, "the last message", LIMIT)
        took, more = time.perf_counter() - first, sink.count - had
    asyncio.run(one_waits(system, AWAY))
    settle(system)
    figures = {"the first leaves after, s": first - began}
    return figures | {"then leave, messages/s": more / took} if more else figures


# --- A new start


def again(system: WaitingGatepost) -> float:
    """Seconds that a gateway with all this in its store takes until it takes mail."""
    system.stop()
    began = time.perf_counter()
    system.up()
    wait_for(lambda: system.takes_mail(AWAY), "mail to be taken again", LIMIT)
    took = time.perf_counter() - began
    asyncio.run(backs_off(system, AWAY))
    settle(system)
    return took


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
