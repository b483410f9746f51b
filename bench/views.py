"""How far views are behind under load, and what looking at the queue costs: `python -m bench.views --help`.

Lag: events of mail that comes and is delivered are appended to the logs of a Redis server at a steady rate, a projector in a process of its
own folds them into all views, and several times a second it is looked how long the first event that is in none of them has been there.

Queue: so many messages wait for so many domains, and the call behind `gatepost queue` is made again and again. Redis keeps
nothing on disk in either.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import psutil
import uvloop

from bench.quarantine import server
from bench.report import machine
from bench.systems import BenchError
from pipeline import keys
from pipeline.events import AnyEvent, Attempt, Delivered, Queued, Received, RecipientSpec, Scanned, encode
from pipeline.ids import new_id, partition_for
from pipeline.log import Log
from pipeline.settings import Settings
from pipeline.store import Client as Redis
from pipeline.store import open_client
from projections.base import START, Portion, advance
from projections.builds import to_fold
from projections.queue import Queue
from projections.readers.health import read_health, redis_now
from projections.readers.queue import read_queue
from projections.readers.rates import Counted, Total, read_rates
from projections.views import projections
from workers.projector import Projector

PARTITIONS: Final = 8
TICK: Final = 0.02
"""Seconds between two times that events are appended."""
LOOK: Final = 0.05
SENT: Final = 0.2
"""Seconds until a message is delivered."""
FILL: Final = 5000
ATTEMPT: Final = Attempt(
    server="mail.example:25",
    address="192.0.2.1",
    stage="dot",
    code=250,
    reply="250 2.0.0 queued as 4X7",
    took=9_000_000,
)


class Lag(msgspec.Struct, frozen=True):
    messages: int
    median: float
    p99: float
    most: float
    """Seconds."""
    processor: float
    """Of the projector: seconds per second."""


def came(domain: str, at: int, rng: random.Random) -> tuple[str, list[AnyEvent]]:
    to = f"user{rng.randrange(200)}@{domain}"
    return new_id(at, partition_for(domain, PARTITIONS), rng.getrandbits(55)), [
        Received(at=at, domain=domain, sender=f"s{rng.randrange(9999)}@out.example", size=rng.randrange(2000, 90_000), expires=at,
                 recipients=(RecipientSpec(address=to),)),
        Scanned(at=at, domain=domain, verdict="clean", score=0.3, subject="about the meeting on Friday", message_id="<1@out.example>"),
        Queued(at=at, domain=domain, recipients=(to,), size=5000),
    ]  # fmt: skip


def left(message_id: str, event: Received, at: int) -> tuple[str, AnyEvent]:
    return message_id, Delivered(
        at=at, domain=event.domain, recipients=(event.recipients[0].address,), sender=event.sender, size=event.size,
        tries=1, attempt=ATTEMPT, waited=at - event.at,
    )  # fmt: skip


async def append(redis: Redis, events: Sequence[tuple[str, AnyEvent]]) -> None:
    pipe = redis.pipeline(transaction=False)
    for subject, event in events:
        pipe.xadd(keys.log(partition_for(event.domain, PARTITIONS)), {"s": subject, "v": 1, "e": encode(event)})
    await pipe.execute()


def project(url: str) -> None:
    """The projector, until it is told to stop."""

    async def work() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        redis, blocking = open_client(url), open_client(url)
        log = Log(redis)
        await Projector(redis, blocking, log, range(PARTITIONS), projections(Settings())).run(stop)
        await redis.aclose()
        await blocking.aclose()

    uvloop.run(work())


async def load(redis: Redis, domains: Sequence[str], rate: int, seconds: float) -> int:
    """Messages that came."""
    rng = random.Random(1)
    began, made = time.monotonic(), 0
    under_way: list[tuple[float, str, Received]] = []
    while (elapsed := time.monotonic() - began) < seconds or under_way:
        events: list[tuple[str, AnyEvent]] = []
        now = time.time_ns()
        while made < min(elapsed, seconds) * rate:
            message_id, first = came(rng.choice(domains), now, rng)
            events += [(message_id, event) for event in first]
            assert isinstance(first[0], Received)
            under_way.append((elapsed + SENT, message_id, first[0]))
            made += 1
        while under_way and under_way[0][0] <= elapsed:
            _, message_id, received = under_way.pop(0)
            events.append(left(message_id, received, now))
        if events:
            await append(redis, events)
        await asyncio.sleep(TICK)
    return made


async def lag(url: str, domains: int, rate: int, seconds: float) -> Lag:
    redis = open_client(url)
    log = Log(redis)
    views = [one.name for one in projections(Settings())]
    process = multiprocessing.get_context("spawn").Process(target=project, args=(url,))
    process.start()
    try:
        while not all(one.version for one in await read_health(redis, log, PARTITIONS, views, await redis_now(redis))):
            if not process.is_alive():
                raise BenchError("the projector ended")
            await asyncio.sleep(LOOK)
        used = psutil.Process(process.pid).cpu_times()
        loading = asyncio.ensure_future(load(redis, [f"d{number}.example" for number in range(domains)], rate, seconds))
        found = []
        while not loading.done():
            health = await read_health(redis, log, PARTITIONS, views, await redis_now(redis))
            found.append(max(one.behind for one in health) / 1e9)
            await asyncio.sleep(LOOK)
        after = psutil.Process(process.pid).cpu_times()
        spent = after.user + after.system - used.user - used.system
        found.sort()
        return Lag(await loading, statistics.median(found), found[len(found) * 99 // 100], found[-1], spent / seconds)
    finally:
        process.terminate()
        process.join(20)
        await redis.aclose()


async def wait_for_many(redis: Redis, domains: Sequence[str], messages: int) -> None:
    """So many messages wait, folded as in life."""
    rng = random.Random(2)
    log = Log(redis)
    reached = dict.fromkeys(range(PARTITIONS), START)
    views = {partition: (await to_fold(redis, partition, Queue()))[0] for partition in range(PARTITIONS)}
    for start in range(0, messages, FILL):
        now = time.time_ns() - rng.randrange(7 * 86400) * 1_000_000_000
        some = [came(rng.choice(domains), now, rng) for _ in range(min(FILL, messages - start))]
        await append(redis, [(message_id, events[0]) for message_id, events in some])
        for partition, view in views.items():
            while entries := await log.read(partition, reached[partition], 1000):
                await advance(redis, [Portion([view], reached[partition], entries)])
                reached[partition] = entries[-1].entry
        for partition in views:
            await redis.xtrim(keys.log(partition), maxlen=1, approximate=False)


async def look(url: str, domains: int, messages: int, times: int) -> tuple[float, float]:
    """(median, processor) seconds of the call behind `gatepost queue`; the processor's without Redis's part."""
    redis = open_client(url)
    names = [f"d{number}.example" for number in range(domains)]
    await wait_for_many(redis, names, messages)
    now = time.time_ns()
    for number in range(32):
        at = now - number * 30_000_000_000
        counted = Counted(at, 30_000_000_000, dict.fromkeys(names, (20, 20)))
        await redis.rpush(
            keys.BOOKS_TOTALS, msgspec.msgpack.encode(Total(at, messages, 30_000_000_000, 20_000, 20_000))
        )
        await redis.rpush(keys.BOOKS_DOMAINS, msgspec.msgpack.encode(counted))
    took = []
    used = time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        report = await read_queue(redis, PARTITIONS, now=now)
        rates = await read_rates(redis, now)
        took.append(time.perf_counter() - began)
        assert report.messages == sum(report.ages) == messages
        assert len(rates.domains) == domains
    used = time.process_time() - used
    await redis.aclose()
    return statistics.median(took), used / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1000, help="messages a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--domains", type=int, default=1000)
    parser.add_argument(
        "--waiting", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="messages that wait"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gp-") as directory:
        print(", ".join(f"{name} {value}" for name, value in machine(Path(directory)).items()))
    with tempfile.TemporaryDirectory(prefix="gp-") as directory, server(Path(directory)) as url:
        found = uvloop.run(lag(url, chosen.domains, chosen.rate, chosen.seconds))
    print(
        f"lag of all views at {chosen.rate:,} messages/s, {chosen.domains:,} domains, {found.messages:,} messages: "
        f"median {found.median:.2f} s, 99 % {found.p99:.2f} s, most {found.most:.2f} s; projector {found.processor:.0%} of a core"
    )
    for waiting in chosen.waiting:
        with tempfile.TemporaryDirectory(prefix="gp-") as directory, server(Path(directory)) as url:
            median, used = uvloop.run(look(url, chosen.domains, waiting, 20))
        told = f"{median * 1000:.0f} ms, of them {used * 1000:.0f} ms of our own processor time"
        print(f"queue of {chosen.domains:,} domains, {waiting:,} waiting: {told}")


if __name__ == "__main__":
    main()
