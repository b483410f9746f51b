"""A server that is away, and comes back: `python -m bench.waiting --help`.

What waiting mail takes, what trying its server costs, how soon the first message leaves when the server is there again, and how
fast the rest follows: beside Postfix where Postfix has the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar, cast

import msgspec
import psutil
import uvloop

from bench.load import SESSIONS, LoneServer, Sink
from bench.measure import cpu_seconds, memory, settle
from bench.relay import in_turn, say
from bench.report import OURS, Figures, machine, table
from bench.systems import LOAD_DOMAIN, BenchError, Gatepost, Postfix, System, free_port, program, wait_for
from pipeline import keys
from pipeline.configuration import load
from pipeline.ids import partition_for
from workers.wiring import Wiring

T = TypeVar("T")

SIZE: Final = 4 << 10
REST: Final = 30.0
"""Seconds before the memory is measured of what waits."""
INTERVAL: Final = 5
"""Seconds between two attempts where these are counted."""
INTERVALS: Final = 6
PATIENCE: Final = 30.0
"""Seconds after which a message is said not to leave by itself."""
LIMIT: Final = 1800.0
"""Seconds for the slowest step: so many messages in, or out."""


class WaitingGatepost(Gatepost):
    count = 0

    def ask(self, question: Callable[[Wiring], Awaitable[T]]) -> T:
        return asyncio.run(self.asked(question))

    async def asked(self, question: Callable[[Wiring], Awaitable[T]]) -> T:
        wiring = await Wiring.connect(load(environ={"GATEPOST_DATA": str(self.directory / "data"), **self.settings}))
        try:
            return await question(wiring)
        finally:
            await wiring.close()

    def waiting(self) -> bool:
        async def look(wiring: Wiring) -> bool:
            queue = keys.queue(partition_for(LOAD_DOMAIN, wiring.store.partitions), LOAD_DOMAIN)
            waiting = int(await wiring.store.redis.zcard(queue))
            # A head for each message; what else there is would be bodies that are still to go to the disk.
            return waiting == self.count and await wiring.store.redis.dbsize() < self.count + self.count // 100 + 300

        return self.ask(look)

    def used(self) -> int:
        """Octets of Redis."""

        async def look(wiring: Wiring) -> int:
            return int((await wiring.store.redis.info("memory"))["used_memory"])

        return self.ask(look)

    def retry(self) -> None:
        self.command("queue", "retry", LOAD_DOMAIN)


class WaitingPostfix(Postfix):
    count = 0

    def waiting(self) -> bool:
        deferred = self.directory / "spool" / "deferred"
        return sum(len(files) for _, _, files in os.walk(deferred)) == self.count

    def retry(self) -> None:
        subprocess.run([program("postqueue"), "-c", str(self.directory / "etc"), "-f"], check=True)


KINDS: Final = {"gatepost": WaitingGatepost, "postfix": WaitingPostfix}


class Filled(msgspec.Struct, frozen=True):
    """Messages that were taken in a second, CPU seconds for 1,000 of them until all was at rest, MiB of all processes then."""

    rate: float
    cpu: float
    memory: float


def fill(system: WaitingGatepost | WaitingPostfix, count: int) -> Filled:
    """Send `count` messages for a server that is away, and wait until they wait."""
    settle(system)
    before, began = cpu_seconds(system), time.perf_counter()
    system.count = count
    addresses = ["-f", "sender@client.example", "-t", f"user@{LOAD_DOMAIN}", "-M", "client.example"]
    sending = ["-s", str(SESSIONS), "-m", str(count), "-l", str(SIZE), "-d"]
    done = subprocess.run(
        [program("smtp-source"), *sending, *addresses, f"127.0.0.1:{system.port}"],
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - began
    if done.returncode:
        raise BenchError(f"smtp-source: {done.stderr}")
    deadline = time.monotonic() + LIMIT
    while not system.waiting():
        if time.monotonic() > deadline:
            raise BenchError(f"{system.name} did not come to rest with {count} messages waiting")
        time.sleep(1)
    settle(system)
    return Filled(count / took, (cpu_seconds(system) - before) * 1000 / count, memory(system.processes()))


# --- How fast it drains


def drain(system: WaitingGatepost | WaitingPostfix, directory: Path, figures: Figures, turn: int) -> None:
    """From the word that the server is back to its first and to its last message."""
    group = f"{system.count:,} messages of 4 KiB wait, and the server comes back"
    before = cpu_seconds(system)
    with Sink(directory, f"{system.name}-{turn}", system.routes[LOAD_DOMAIN]) as sink:
        began = time.perf_counter()
        system.retry()
        wait_for(lambda: sink.count, "a first message", LIMIT)
        first = time.perf_counter() - began
        wait_for(lambda: sink.count >= system.count, "the last message", LIMIT)
        whole = time.perf_counter() - began
        settle(system)
        figures.add(group, "drained, in all", "messages/s", system.name, system.count / whole)
        figures.add(group, "the first, after `queue retry`", "s", system.name, first)
        cpu = (cpu_seconds(system) - before) * 1000 / system.count
        figures.add(group, "CPU for 1,000 messages", "s", system.name, cpu)
        figures.add(group, "messages that arrived twice", "", system.name, sink.count - system.count)
    say(f"{system.name}: {system.count / whole:,.0f}/s, the first after {first:.2f} s")


def add_filled(filled: Filled, system: WaitingGatepost | WaitingPostfix, figures: Figures) -> None:
    group = f"{system.count:,} messages of 4 KiB come for a server that is away"
    figures.add(group, "accepted", "messages/s", system.name, filled.rate)
    figures.add(group, "CPU for 1,000 messages", "s", system.name, filled.cpu)
    figures.add(group, "memory, when all of them wait", "MiB", system.name, filled.memory)
    say(f"{system.name}: {filled.rate:,.0f}/s accepted")


def measure_drain(directory: Path, names: Sequence[str], count: int, rounds: int, figures: Figures) -> None:
    with contextlib.ExitStack() as stack:
        systems: list[System] = [
            stack.enter_context(KINDS[name](directory / f"drain-{name}", {LOAD_DOMAIN: free_port()})) for name in names
        ]
        for turn in range(rounds):
            for system in in_turn(systems, turn):
                assert isinstance(system, WaitingGatepost | WaitingPostfix)
                say(f"round {turn + 1}: {count:,} messages into {system.name}")
                add_filled(fill(system, count), system, figures)
                drain(system, directory, figures, turn)


# --- What waiting takes


def measure_memory(directory: Path, count: int, figures: Figures, rest: float = 0.0) -> None:
    """`rest`: seconds after all wait; the embedded Redis gives back what it has not used for a while."""
    group = f"{count:,} messages of 4 KiB wait"
    with WaitingGatepost(directory / "memory", {LOAD_DOMAIN: free_port()}) as system:
        settle(system)
        empty, before = system.used(), memory(system.processes())
        say(f"{count:,} messages for a server that is away")
        fill(system, count)
        time.sleep(rest)
        figures.add(group, "Redis, for each", "octets", OURS, (system.used() - empty) / count)
        figures.add(group, "all processes, before", "MiB", OURS, before)
        figures.add(group, "all processes, now", "MiB", OURS, memory(system.processes()))
        for name, processes in by_role(system).items():
            figures.add(group, f"  {'supervisor' if name == 'up' else name}", "MiB", OURS, memory(processes))


def by_role(system: Gatepost) -> dict[str, list[psutil.Process]]:
    found: dict[str, list[psutil.Process]] = {}
    for process in system.processes():
        words = process.cmdline()
        named = [role for role in ("nursery", "up") if role in words]
        role = words[words.index("worker") + 1] if "worker" in words else named[0] if named else "Redis"
        found.setdefault(role, []).append(process)
    return found


# --- What trying costs


class Busy(asyncio.Protocol):
    """A server that says it is not there. `connections`: those that it had."""

    def __init__(self, connections: list[asyncio.WriteTransport]) -> None:
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writing = cast("asyncio.WriteTransport", transport)
        self._connections.append(writing)
        writing.write(b"421 4.3.2 lone.example is shutting down\r\n")
        writing.close()


class QuickGatepost(WaitingGatepost):
    settings = {**Gatepost.settings, "GATEPOST_RETRY_INTERVAL": f"{INTERVAL}s"}


def measure_trying(directory: Path, count: int, figures: Figures) -> None:
    """Counted, not timed: how often a server is asked for so many messages, and what is written down about it."""
    group = f"{count:,} messages wait, and their server says 421"
    with QuickGatepost(directory / "trying", {LOAD_DOMAIN: free_port()}) as system:
        say(f"{count:,} messages for a server that says 421")
        fill(system, count)
        connections, events = asyncio.run(_watch(system))
        figures.add(group, "connections in an interval", "", OURS, connections / INTERVALS)
        figures.add(group, "events in an interval", "", OURS, events / INTERVALS)


async def _watch(system: QuickGatepost) -> tuple[int, int]:
    had: list[asyncio.WriteTransport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Busy(had), "127.0.0.1", system.routes[LOAD_DOMAIN])
    try:
        while not had:
            await asyncio.sleep(0.01)
        before, events = len(had), await system.asked(_events)
        await asyncio.sleep(INTERVAL * INTERVALS)
        return len(had) - before, await system.asked(_events) - events
    finally:
        await end(server, had)


async def end(server: asyncio.Server, connections: Sequence[asyncio.WriteTransport]) -> None:
    """Those that were accepted a moment ago come into the list within the next rounds of the loop."""
    server.close()
    for _ in range(5):
        for connection in connections:
            connection.abort()
        await asyncio.sleep(0)  # their last callbacks


async def _events(wiring: Wiring) -> int:
    return sum([int(await wiring.store.redis.xlen(keys.log(number))) for number in range(wiring.store.partitions)])


# --- How soon the first leaves


class Returning(LoneServer):
    """The server, when it is there again."""

    def __init__(self, arrivals: asyncio.Queue[float], connections: list[asyncio.WriteTransport]) -> None:
        super().__init__(arrivals)
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.append(cast("asyncio.WriteTransport", transport))
        super().connection_made(transport)


async def one_waits(system: WaitingGatepost, domain: str = LOAD_DOMAIN) -> None:
    """Send a message, and wait until its domain has backed off."""
    sending = ["-m", "1", "-f", "sender@client.example", "-t", f"user@{domain}", f"127.0.0.1:{system.port}"]
    source = await asyncio.create_subprocess_exec(program("smtp-source"), *sending)
    if await source.wait():
        raise BenchError("smtp-source failed")
    await backs_off(system, domain)


async def backs_off(system: WaitingGatepost, domain: str) -> None:
    """Wait until something waits for the domain, and nobody is trying."""

    async def backed_off(wiring: Wiring) -> bool:
        partition = partition_for(domain, wiring.store.partitions)
        waiting = await wiring.store.redis.zcard(keys.queue(partition, domain))
        route = await wiring.schedule.route(partition, domain)
        return bool(waiting and route.tries and not await wiring.store.redis.exists(keys.slots(partition, domain)))

    deadline = time.monotonic() + LIMIT
    while not await system.asked(backed_off):
        if time.monotonic() > deadline:
            raise BenchError(f"{domain} does not back off")
        await asyncio.sleep(0.05)


async def first_after(system: WaitingGatepost, way: str) -> float | None:
    """Seconds from a cause to the arrival of what waited; None when it has not come within PATIENCE."""
    arrivals: asyncio.Queue[float] = asyncio.Queue()
    had: list[asyncio.WriteTransport] = []
    port = system.routes[LOAD_DOMAIN]
    await one_waits(system)
    if way == "route":
        port = free_port()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Returning(arrivals, had), "127.0.0.1", port)
    began = time.perf_counter()
    if way == "retry":
        await asyncio.to_thread(system.retry)
    elif way == "route":
        await asyncio.to_thread(system.command, "domain", "set", LOAD_DOMAIN, "--route", f"127.0.0.1:{port}")
    try:
        async with asyncio.timeout(PATIENCE):
            return await arrivals.get() - began
    except TimeoutError:
        await asyncio.to_thread(system.retry)
        await arrivals.get()
        return None
    finally:
        await end(server, had)
        if way == "route":
            route = f"127.0.0.1:{system.routes[LOAD_DOMAIN]}"
            await asyncio.to_thread(system.command, "domain", "set", LOAD_DOMAIN, "--route", route)


WAYS: Final = {
    "retry": "after `gatepost queue retry`",
    "route": "after `gatepost domain set --route`",
    "port": "after its port answers",
}


def measure_first(directory: Path, times: int, figures: Figures) -> None:
    group = "One message waits: until it is at the server"
    with WaitingGatepost(directory / "first", {LOAD_DOMAIN: free_port()}) as system:
        for way, name in WAYS.items():
            for turn in range(times):
                seconds = asyncio.run(first_after(system, way))
                if seconds is None:
                    say(f"{name}: not within {PATIENCE:g} s")
                    break
                if not turn:
                    say(f"{name}: {seconds:.2f} s")
                figures.add(group, name, "s", OURS, seconds)


# --- All


MEASURES: Final = ("memory", "drain", "first", "trying")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.waiting", description="Measures what waits, and how it leaves.")
    parser.add_argument(
        "--measures", default=",".join(MEASURES), help="which of memory, drain, first, trying; default: all"
    )
    parser.add_argument("--systems", default="gatepost,postfix", help="which of gatepost, postfix drain; default: both")
    parser.add_argument("--rounds", type=int, default=3, help="how often they drain; default 3")
    parser.add_argument("--messages", type=int, default=20_000, help="messages that are drained; default 20,000")
    parser.add_argument(
        "--waiting", type=int, default=100_000, help="messages whose memory is measured; default 100,000"
    )
    parser.add_argument("--refused", type=int, default=10_000, help="messages whose server says 421; default 10,000")
    parser.add_argument("--times", type=int, default=20, help="times a first message is waited for; default 20")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, run by run, to FILE as well")
    parser.add_argument(
        "--directory", type=Path, default=Path("/var/tmp"), help="where mail is kept: on a disk, not a tmpfs"
    )
    given = parser.parse_args()
    if unknown := (set(given.systems.split(",")) - set(KINDS)) | (set(given.measures.split(",")) - set(MEASURES)):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    return given


def measure(given: argparse.Namespace, figures: Figures) -> None:
    measures = given.measures.split(",")
    with tempfile.TemporaryDirectory(prefix="gpb-", dir=given.directory) as path:
        directory = Path(path)
        directory.chmod(0o755)  # Postfix's processes have a user of their own
        if "memory" in measures:
            measure_memory(directory, given.waiting, figures, REST)
        if "drain" in measures:
            measure_drain(directory, given.systems.split(","), given.messages, given.rounds, figures)
        if "first" in measures:
            measure_first(directory, given.times, figures)
        if "trying" in measures:
            measure_trying(directory, given.refused, figures)


def main() -> int:
    given = arguments()
    figures = Figures()
    about = machine(given.directory)
    try:
        measure(given, figures)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print("\n".join(f"{key}: {value}" for key, value in about.items()), end="\n\n")
    print(table(figures))
    if given.json:
        given.json.write_bytes(
            msgspec.json.format(msgspec.json.encode({"machine": about, "figures": figures.all()})) + b"\n"
        )
    return 0


if __name__ == "__main__":
    # A leftover PYTHONDEVMODE or tracing would be measured with the gateway.
    os.environ.pop("PYTHONDEVMODE", None)
    uvloop.install()
    sys.exit(main())
