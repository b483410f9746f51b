"""How the cost of a message grows, or does not: with its size, the domains, what waits, the history, the processes.

`python -m bench.growth --help`. One gateway for each row; for what waits (`crowd.py`) and for the history one gateway gets more and more. A
row has messages a second from the first connection to the last arrival, and the processor time of all processes for one message.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from bench.crowd import STEPS, by_waiting, catch_up, passing, say
from bench.lives import lives, put
from bench.load import SESSIONS, Sink
from bench.measure import Load, cpu_seconds, run_load, settle
from bench.outage import add, by_outage
from bench.report import machine
from bench.rows import Look, Row, draw, table
from bench.systems import LOAD_DOMAIN, BenchError, takes_mail, wait_for
from bench.waiting import WaitingGatepost
from pipeline import keys
from workers.wiring import Wiring

KIB: Final = 1 << 10
MIB: Final = 1 << 20
SIZES: Final = (KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 34 * MIB)
DOMAINS: Final = (1, 10, 100, 1_000, 10_000)
HISTORY: Final = (0, 10_000, 100_000, 1_000_000)
"""Events that are in the log before."""
PROCESSES: Final[Mapping[str, Mapping[str, str]]] = {
    "1 receiver": {"GATEPOST_RECEIVERS": "1"},
    "2 receivers": {"GATEPOST_RECEIVERS": "2"},
    "4 receivers": {"GATEPOST_RECEIVERS": "4"},
    "2 of each": {"GATEPOST_RECEIVERS": "2", "GATEPOST_SCANNERS": "2", "GATEPOST_DELIVERERS": "2"},
    "4 of each": {"GATEPOST_RECEIVERS": "4", "GATEPOST_SCANNERS": "4", "GATEPOST_DELIVERERS": "4"},
}


LOOKS: Final = {
    "size": Look("Throughput and cost by the size of a message"),
    "domains": Look("Throughput and cost by the domains that mail is for"),
    "waiting": Look(
        "What waits for a server that is away",
        (
            "Redis, octets for each",
            "an interval: CPU of the deliverer, ms",
            "the queue's view, ms",
            "other mail, CPU ms each",
            "other mail, messages/s",
            "then leave, messages/s",
        ),
    ),
    "outage": Look("Domains whose servers are away, tried once in an interval"),
    "history": Look("Throughput and cost by the events in the log"),
    "processes": Look("Throughput and cost by the processes at work", joined=False),
}
MEASURES: Final = tuple(LOOKS)


@contextlib.contextmanager
def gateway(directory: Path, sink: Sink, settings: Mapping[str, str]) -> Iterator[WaitingGatepost]:
    with tempfile.TemporaryDirectory(dir=directory) as place:
        system = WaitingGatepost(Path(place) / "g", {LOAD_DOMAIN: sink.port})
        system.settings = {**system.settings, **settings}
        with system:
            run_load(system, sink, Load("warming up", 200, 4 * KIB, reuse=True))
            yield system


def of_load(measure: str, name: str, system: WaitingGatepost, sink: Sink, count: int, size: int) -> Row:
    rates = run_load(system, sink, Load(name, count, size, reuse=True))
    return row(measure, name, rates.end_to_end, rates.cpu)


def row(measure: str, name: str, rate: float, cpu: float) -> Row:
    return Row(measure, name, {"messages/s": rate, "CPU ms each": cpu})


def by_size(directory: Path, sink: Sink, messages: int) -> Iterator[Row]:
    with gateway(directory, sink, {}) as system:
        for size in SIZES:
            count = max(4, min(messages, 128 * MIB // size))
            name = f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"
            yield of_load("size", name, system, sink, count, size)


def by_history(directory: Path, sink: Sink, messages: int, most: int) -> Iterator[Row]:
    """All of it in Redis, and in every view: what is archived is no longer in the way of anything."""
    with gateway(directory, sink, {"GATEPOST_ARCHIVE": "false", "GATEPOST_REDIS_MEMORY": "12GiB"}) as system:
        for count in (some for some in HISTORY if some <= most):
            system.ask(partial(remember, count=count))
            catch_up(system)
            settle(system)
            yield row("history", f"{count:,}", *passing(system, sink, messages))


async def remember(wiring: Wiring, count: int) -> None:
    """Until there are so many events in all logs together."""
    have = sum([int(await wiring.store.redis.xlen(keys.log(number))) for number in range(wiring.store.partitions)])
    steps = lives(wiring.store.partitions, seed=count)
    while have < count:
        have += await put(wiring.log, itertools.islice(steps, min(20_000, -(-(count - have) // 4))))


def by_processes(directory: Path, sink: Sink, messages: int) -> Iterator[Row]:
    for name, settings in PROCESSES.items():
        with gateway(directory, sink, settings) as system:
            yield of_load("processes", name, system, sink, messages, 4 * KIB)


def by_domains(directory: Path, sink: Sink, messages: int, most: int) -> Iterator[Row]:
    for count in (some for some in DOMAINS if some <= most):
        with gateway(directory, sink, {}) as system:
            names = [f"d{number}.bench.example" for number in range(count)]
            system.ask(partial(add, routes=dict.fromkeys(names, f"127.0.0.1:{sink.port}")))
            wait_for(partial(takes_mail, system.port, names[-1]), "the last domain")
            yield of_domains(system, sink, names, messages)


def of_domains(system: WaitingGatepost, sink: Sink, names: list[str], messages: int) -> Row:
    settle(system)
    before, target = cpu_seconds(system), sink.count + messages
    began = time.perf_counter()
    asyncio.run(spread(system.port, names, messages))
    wait_for(lambda: sink.count >= target, "all messages at the sink", 300)
    took = time.perf_counter() - began
    settle(system)
    cpu = (cpu_seconds(system) - before) * 1000 / messages
    return row("domains", f"{len(names):,}", messages / took, cpu)


async def spread(port: int, domains: list[str], messages: int) -> None:
    """So many messages over 20 connections, each to a domain of its own chance. Raises BenchError when one is refused."""
    rng = random.Random(1)
    to = [rng.choice(domains) for _ in range(messages)]
    await asyncio.gather(*(session(port, to[number::SESSIONS]) for number in range(SESSIONS)))


async def session(port: int, to: list[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b"Subject: growth\r\nFrom: <sender@client.example>\r\n\r\n" + (b"x" * 70 + b"\r\n") * 56
    await said(reader, b"220")
    writer.write(b"EHLO client.example\r\n")
    await said(reader, b"250")
    for domain in to:
        writer.write(b"MAIL FROM:<sender@client.example>\r\nRCPT TO:<user@%s>\r\nDATA\r\n" % domain.encode())
        for code in (b"250", b"250", b"354"):
            await said(reader, code)
        writer.write(body + b".\r\n")
        await said(reader, b"250")
    writer.write(b"QUIT\r\n")
    await said(reader, b"221")
    writer.close()


async def said(reader: asyncio.StreamReader, code: bytes) -> None:
    while True:
        line = await asyncio.wait_for(reader.readline(), 60)
        if not line.startswith(code):
            raise BenchError(f"expected {code.decode()}, got {line.decode('ascii', 'replace').strip()!r}")
        if line[3:4] == b" ":
            return


def measured(given: argparse.Namespace, directory: Path, sink: Sink) -> Iterator[Row]:
    every: dict[str, Callable[[], Iterator[Row]]] = {
        "size": partial(by_size, directory, sink, given.messages),
        "domains": partial(by_domains, directory, sink, given.messages, given.domains),
        "waiting": partial(by_waiting, directory, sink, given.waiting),
        "outage": partial(by_outage, directory, sink, given.domains),
        "history": partial(by_history, directory, sink, given.messages, given.history),
        "processes": partial(by_processes, directory, sink, given.messages),
    }
    for measure in given.measures:
        yield from every[measure]()


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.growth", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--measures", default=",".join(MEASURES), help=f"which of {', '.join(MEASURES)}; default: all")
    parser.add_argument("--messages", type=int, default=3000, help="of a row, fewer of large ones; default 3000")
    parser.add_argument("--domains", type=int, default=DOMAINS[-1], help=f"at most; default {DOMAINS[-1]:,}")
    parser.add_argument("--waiting", type=int, default=STEPS[-1], help=f"at most; default {STEPS[-1]:,}")
    parser.add_argument("--history", type=int, default=HISTORY[-1], help=f"events, at most; default {HISTORY[-1]:,}")
    parser.add_argument("--charts", type=Path, metavar="DIRECTORY", help="draw an SVG of each measure there")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on a disk, not a tmpfs")
    given = parser.parse_args(words)
    given.measures = given.measures.split(",")
    if unknown := set(given.measures) - set(MEASURES):
        parser.error(f"there is no measure {', '.join(sorted(unknown))}")
    return given


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    print("\n".join(f"{key}: {value}" for key, value in machine(given.directory).items()))
    rows = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="gpb-", dir=given.directory) as place,
            Sink(Path(place), "sink") as sink,
        ):
            for found in measured(given, Path(place), sink):
                say(f"{found.measure}: {found.name}")
                rows.append(found)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print("\n".join(table(rows)))
    if given.charts:
        draw(rows, LOOKS, given.charts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
