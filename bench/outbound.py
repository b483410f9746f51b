"""How long a report of outbound mail takes, and how much memory: `python -m bench.outbound --help`.

`--source store`: the attempts lie in the log of a Redis server of their own, which keeps nothing on disk, and are found by the index
view, as a gateway has them; `--source made`: they are made while the report is written, so that what is measured is the report alone
(and the making, which is measured by itself). Each format is written by a process of its own, to a file that is thrown away; its
memory is the most that the process ever had (ru_maxrss).
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

import uvloop
from msgspec.structs import replace

from bench.quarantine import server
from bench.report import machine
from bench.systems import BenchError
from cli.render import Screen
from cli.report.table import TableWriter
from pipeline import diagnosis, keys
from pipeline.events import AnyEvent, Attempt, Deferred, Delivered, Event, Failed, Recorded, RouteDeferred, encode
from pipeline.history import History
from pipeline.ids import new_id
from pipeline.log import Log
from pipeline.store import open_client
from pipeline.zones import zone_of
from projections.base import START, Portion, advance
from projections.builds import to_fold
from projections.outbound import Outbound
from projections.readers.past import Past
from projections.reports.csv_rows import CsvWriter
from projections.reports.json_rows import JsonLinesWriter, JsonWriter
from projections.reports.model import Heading, classes
from projections.reports.page import PageWriter
from projections.reports.totals import Totals
from projections.reports.writing import Attempts, Writer, rows, write

DOMAIN: Final = "example.com"
SECOND: Final = 1_000_000_000
BEGAN: Final = 1_790_000_000 * SECOND
LENGTH: Final = 30 * 86400 * SECOND
BATCH: Final = 2000
FORMATS: Final[dict[str, Callable[[Heading], Writer]]] = {
    "table": lambda heading: TableWriter(heading, Screen()),
    "csv": lambda heading: CsvWriter(heading.zone),
    "json": JsonWriter,
    "jsonl": JsonLinesWriter,
    "html": PageWriter,
}
PLACE: Final = Attempt(server="mail.example.com:25", address="192.0.2.10", tls="TLSv1.3 TLS_AES_256_GCM_SHA384")
TROUBLE: Final = (
    (450, "4.2.0", "450 4.2.0 Greylisted, please try again in 300 seconds"),
    (452, "4.2.2", "452-4.2.2 The mailbox that you tried to reach is full.\n452 4.2.2 Please try again later."),
    (550, "5.1.1", "550 5.1.1 Recipient address rejected: User unknown in virtual mailbox table"),
)


def attempts(count: int) -> Iterator[Recorded]:
    """Of 30 days, evenly: 86 in 100 delivered, 9 put off, 4 refused, 1 without a server."""
    rng = random.Random(1)
    for number in range(count):
        at = BEGAN + LENGTH * number // count
        subject = new_id(at - 3 * SECOND, 0, rng.getrandbits(55))
        chance = rng.random()
        event: AnyEvent
        if chance < 0.01:
            attempt = replace(PLACE, tls="", stage="connect", reply="Connection refused")
            event = RouteDeferred(
                at=at, domain=DOMAIN, tries=2, since=at - 900 * SECOND, next_try=at + 900 * SECOND, attempts=(attempt,)
            )
            subject = f"@{DOMAIN}"
        else:
            event = _of_a_message(rng, at, chance)
        yield Recorded(0, f"{at // 1_000_000}-{number % 1000}", subject, 4, event)


def _of_a_message(rng: random.Random, at: int, chance: float) -> Delivered | Deferred | Failed:
    recipients = (f"user{rng.randrange(500)}@{DOMAIN}",)
    sender, size = f"someone{rng.randrange(100_000)}@partner.example", rng.randrange(900, 90_000)
    if chance < 0.87:
        reply = f"250 2.0.0 Ok: queued as 4d{rng.getrandbits(40):010X}"
        good = replace(PLACE, stage="dot", code=250, enhanced="2.0.0", reply=reply)
        waited = int(rng.lognormvariate(0.5, 1.2) * SECOND)
        return Delivered(
            at=at, domain=DOMAIN, recipients=recipients, sender=sender, size=size, tries=1, attempt=good, waited=waited
        )
    code, enhanced, reply = TROUBLE[2 if chance > 0.96 else rng.randrange(2)]
    bad = replace(PLACE, stage="rcpt", code=code, enhanced=enhanced, reply=reply)
    if code < 500:
        return Deferred(
            at=at, domain=DOMAIN, recipients=recipients, sender=sender, size=size, tries=1, attempt=bad, next_try=at
        )
    return Failed(
        at=at, domain=DOMAIN, recipients=recipients, sender=sender, size=size, tries=1, attempt=bad, reason="refused"
    )


class Made:
    """As `Past`, of attempts that are made when they are asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def attempts(
        self, domain: str, start: int, end: int, kinds: frozenset[type[Event]]
    ) -> AsyncIterator[Recorded]:
        del domain, start, end, kinds
        for one in attempts(self._count):
            yield one


async def fill(url: str, count: int) -> float:
    """Write so many attempts into a log, and fold them; seconds that the folding took."""
    redis = open_client(url)
    view, _ = await to_fold(redis, 0, Outbound())
    reached, took, batch = START, 0.0, []
    for number, one in enumerate(attempts(count), 1):
        batch.append(one)
        if len(batch) < BATCH and number < count:
            continue
        pipe = redis.pipeline(transaction=False)
        for entry in batch:
            pipe.xadd(keys.log(0), {"s": entry.subject, "v": 4, "e": encode(entry.event)}, id=entry.entry)
        await pipe.execute()
        began = time.perf_counter()
        if await advance(redis, [Portion([view], reached, batch)]) != [True]:
            raise BenchError("somebody else writes the view")
        took += time.perf_counter() - began
        reached, batch = batch[-1].entry, []
    await redis.aclose()
    return took


async def report(past: Attempts, name: str) -> tuple[int, int]:
    """(rows, octets) of a report that is written to a file."""
    heading = Heading(
        domains=(DOMAIN,), start=BEGAN, end=BEGAN + LENGTH, zone=zone_of("Europe/Berlin"), made=BEGAN + LENGTH
    )
    totals = Totals(heading.zone)
    with tempfile.TemporaryFile("w", encoding="utf-8", newline="") as file:
        await write(
            rows(past, heading, classes(diagnosis.in_force(""))),
            FORMATS[name](heading),
            totals,
            file.write,
            lambda _: None,
        )
        return totals.rows, file.tell()


async def one(url: str, count: int, name: str) -> None:
    """In a process of its own: what it took, as JSON."""
    began = time.perf_counter(), time.process_time()
    if url:
        redis = open_client(url)
        found, octets = await report(Past(redis, History(Log(redis)), 1), name)
        await redis.aclose()
    else:
        found, octets = await report(Made(count), name)
    print(json.dumps({
        "rows": found, "octets": octets, "seconds": time.perf_counter() - began[0], "cpu": time.process_time() - began[1],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }))  # fmt: skip


def measure(url: str, count: int, name: str) -> dict[str, float]:
    words = [sys.executable, "-m", "bench.outbound", "--rows", str(count), "--one", name, "--url", url]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the report as {name} failed: {done.stderr[-1000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def bench(url: str, count: int, names: list[str]) -> None:
    print(f"{'format':8}{'rows':>12}{'MiB':>8}{'seconds':>10}{'us a row':>10}{'us of CPU':>11}{'memory MiB':>12}")
    for name in names:
        found = measure(url, count, name)
        if found["rows"] != count:
            raise BenchError(f"{name}: {found['rows']:,} rows of {count:,}")
        print(
            f"{name:8}{found['rows']:>12,}{found['octets'] / 2**20:>8.0f}{found['seconds']:>10.1f}"
            f"{found['seconds'] / count * 1e6:>10.1f}{found['cpu'] / count * 1e6:>11.1f}{found['memory'] / 2**10:>12.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--source", choices=["store", "made"], default="store", help="store takes 0.6 GB for a million rows"
    )
    parser.add_argument("--format", choices=list(FORMATS), action="append", help="only this; repeat it for more")
    parser.add_argument("--one", choices=list(FORMATS), help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        uvloop.run(one(chosen.url, chosen.rows, chosen.one))
        return
    names = chosen.format or list(FORMATS)
    with tempfile.TemporaryDirectory(prefix="gpb-") as path:
        for name, value in machine(Path(path)).items():
            print(f"{name}: {value}")
        print()
        if chosen.source == "store":
            with server(Path(path)) as url:
                took = uvloop.run(fill(url, chosen.rows))
                print(f"the index view took {took / chosen.rows * 1e6:.1f} us to keep one attempt\n")
                bench(url, chosen.rows, names)
        else:
            began = time.process_time()
            for _ in attempts(chosen.rows):
                pass
            print(f"to make an attempt takes {(time.process_time() - began) / chosen.rows * 1e6:.1f} us of CPU\n")
            bench("", chosen.rows, names)


if __name__ == "__main__":
    main()
