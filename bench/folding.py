"""How fast views are folded from the events, and what the projector takes for a message: `python -m bench.folding --help`.

A day of mail (bench/traffic.py) is written into the log of a Redis server of its own, which keeps nothing on disk. Then each view is made
from the first event on, as `gatepost replay` does. What counts is the processor time of the Python process; the server's is another
processor's. Comparing with the live view is not in it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import uvloop

from bench.quarantine import server
from bench.report import machine
from bench.systems import BenchError
from bench.traffic import Traffic
from pipeline import keys
from pipeline.events import encode
from pipeline.log import Log
from pipeline.settings import Settings
from pipeline.store import Client, open_client
from projections import builds
from projections.base import Projection
from projections.rebuild import BATCH, Rebuild
from projections.views import projections
from workers.projector import Projector
from workers.roles import tune_collector

PARTITION: Final = 0
US: Final = 1e6


class Spent:
    """Processor time of this process and time on the clock, since it was made."""

    def __init__(self) -> None:
        self._cpu, self._clock = time.process_time(), time.monotonic()

    def per(self, count: int) -> tuple[float, float]:
        """Us for each."""
        return (time.process_time() - self._cpu) * US / count, (time.monotonic() - self._clock) * US / count


async def fill(redis: Client, messages: int) -> int:
    """Write the log; how many events it has."""
    pipe = redis.pipeline(transaction=False)
    count = 0
    for subject, version, event in Traffic(PARTITION).events(messages):
        pipe.xadd(keys.log(PARTITION), {"s": subject, "v": version, "e": encode(event)})
        count += 1
        if count % 1000 == 0:
            await pipe.execute()
    await pipe.execute()
    return count


async def read(redis: Client, view: Projection, count: int) -> tuple[float, float]:
    """Reading the log as the view is folded from it, and decoding what it looks at."""
    spent, reached, log = Spent(), "0", Log(redis)
    while (page := await log.page(PARTITION, reached, BATCH, None, view.kinds)).count:
        reached = page.reached
    return spent.per(count)


async def fold(redis: Client, view: Projection, count: int) -> tuple[float, float]:
    """All of it: reading, decoding, folding, writing."""
    log = Log(redis)
    last = await log.last_entry(PARTITION)
    build = await builds.temporary(redis, PARTITION, view, time.time_ns())
    spent = Spent()
    await Rebuild(redis, log, build, lambda _: None, now=time.time_ns()).catch_up(last)
    result = spent.per(count)
    await builds.drop(redis, build)
    return result


async def project(redis: Client, count: int) -> tuple[float, float]:
    """All views, as a projector folds them that is behind."""
    projector = Projector(redis, redis, Log(redis), [PARTITION], projections(Settings()))
    spent = Spent()
    await projector.catch_up()
    return spent.per(count)


async def bench(url: str, messages: int, rounds: int) -> None:
    redis = open_client(url)
    count = await fill(redis, messages)
    print(
        f"{count:,} events of {messages:,} messages and refusals; the best of {rounds} rounds, us per event of the log\n"
    )
    print(f"{'view':12}{'reading, cpu':>14}{'all, cpu':>10}{'events/s':>12}{'all, clock':>12}")
    for view in projections(Settings()):
        reading = min([await read(redis, view, count) for _ in range(rounds)])
        folding = min([await fold(redis, view, count) for _ in range(rounds)])
        print(f"{view.name:12}{reading[0]:>14.2f}{folding[0]:>10.2f}{US / folding[0]:>12,.0f}{folding[1]:>12.2f}")
    cpu, clock = await project(redis, count)
    print(
        f"\nprojector, all views: {cpu:.1f} us per event, {cpu * count / messages:.0f} us per message; on the clock {clock:.1f}"
    )
    await redis.aclose()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    tune_collector()
    try:
        with tempfile.TemporaryDirectory(prefix="gpb-") as path:
            print("\n".join(f"{name}: {value}" for name, value in machine(Path(path)).items()), end="\n\n")
            with server(Path(path)) as url:
                uvloop.run(bench(url, chosen.messages, chosen.rounds))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
