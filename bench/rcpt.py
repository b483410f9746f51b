"""How fast RCPT answers, with 100,000 addresses in 1,000 domains and 200 open sessions: `python -m bench.rcpt --help`.

Each session asks for addresses drawn by chance, at times drawn by chance; the time that counts is from the command to its reply, on
one clock. Nothing is sent: the transactions are given up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import uvloop

from bench.measure import cpu_seconds, memory, settle
from bench.relay import in_turn
from bench.report import Figures, machine, table
from bench.systems import BenchError, Gatepost, Postfix, System, program
from pipeline.configuration import load
from pipeline.directory import Address, Domain
from workers.wiring import Wiring

UNKNOWN: Final = 0.1
"""Share of the addresses that nobody has."""
PER_TRANSACTION: Final = 500
"""Recipients until the transaction is given up; both systems take 1,000."""
PATIENCE: Final = 30.0


def domains(count: int) -> list[str]:
    return [f"d{number}.example" for number in range(count)]


class ManyGatepost(Gatepost):
    """Gatepost with many domains, added as the command line adds them."""

    def __init__(self, directory: Path, names: Sequence[str], each: int) -> None:
        super().__init__(directory, {})
        self._names = names
        self._each = each

    def start(self) -> None:
        super().start()
        asyncio.run(self._fill())
        self.routes = {self._names[0]: 9}

    async def _fill(self) -> None:
        wiring = await Wiring.connect(load(environ={"GATEPOST_DATA": str(self.directory / "data")}))
        try:
            now = wiring.clock()
            for name in self._names:
                await wiring.directory.set_domain(Domain(name=name, route=("192.0.2.1:25",)), by="bench", now=now)
            rows = {
                name: [Address(local="user"), *(Address(local=f"u{number}") for number in range(1, self._each))]
                for name in self._names
            }
            await wiring.directory.set_addresses(rows, by="bench", now=now)
        finally:
            await wiring.close()


class ManyPostfix(Postfix):
    """Postfix with the same in its usual indexed files, and processes enough for all sessions."""

    def __init__(self, directory: Path, names: Sequence[str], each: int) -> None:
        super().__init__(directory, {names[0]: 9})
        self._names = names
        self._each = each

    def _main_cf(self) -> str:
        config = self.directory / "etc"
        (config / "domains").write_text("".join(f"{name} ok\n" for name in self._names))
        (config / "recipients").write_text(
            "".join(
                f"{'user' if not number else f'u{number}'}@{name} ok\n"
                for name in self._names
                for number in range(self._each)
            )
        )
        lines = []
        for name, setting in (("domains", "relay_domains"), ("recipients", "relay_recipient_maps")):
            subprocess.run([program("postmap"), "-c", str(config), f"hash:{config / name}"], check=True)
            lines.append(f"{setting} = hash:{config / name}")
        # A session that asks for unknown addresses is slowed down and cut off; that is not what is measured here.
        lines += ["default_process_limit = 400", "smtpd_soft_error_limit = 100000", "smtpd_hard_error_limit = 100001"]
        lines += ["smtpd_client_connection_count_limit = 0"]
        kept = [
            line
            for line in super()._main_cf().splitlines()
            if not line.startswith(("relay_domains", "relay_recipient"))
        ]
        return "\n".join([*kept, *lines]) + "\n"


KINDS: Final[Mapping[str, type[ManyGatepost | ManyPostfix]]] = {"gatepost": ManyGatepost, "postfix": ManyPostfix}


class Session:
    """One client, with a transaction that it never finishes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._asked = PER_TRANSACTION

    @classmethod
    async def open(cls, port: int) -> Session:
        session = cls(*await asyncio.open_connection("127.0.0.1", port))
        await session._reply("220")
        await session._say("EHLO client.example", "250")
        return session

    async def ask(self, address: str, code: str) -> float:
        """Seconds until the reply, which has to begin with `code`."""
        if self._asked >= PER_TRANSACTION:
            await self._say("RSET", "250")
            await self._say("MAIL FROM:<sender@client.example>", "250")
            self._asked = 0
        self._asked += 1
        began = time.perf_counter()
        await self._say(f"RCPT TO:<{address}>", code)
        return time.perf_counter() - began

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _say(self, command: str, code: str) -> None:
        self._writer.write(command.encode() + b"\r\n")
        await self._reply(code)

    async def _reply(self, code: str) -> None:
        while True:
            line = await self._reader.readline()
            if not line.startswith(code.encode()):
                raise BenchError(f"expected {code}, and got {line!r}")
            if line[3:4] != b"-":
                return


async def measure(
    port: int, names: Sequence[str], each: int, sessions: int, rate: float, seconds: float
) -> dict[str, list[float]]:
    """Times in seconds, of known and of unknown addresses. `rate`: questions a second of all sessions together."""
    times: dict[str, list[float]] = {"listed": [], "unknown": []}
    async with asyncio.timeout(seconds + sessions * 0.5 + PATIENCE), contextlib.AsyncExitStack() as stack:
        opened = []
        for _ in range(sessions):
            opened.append(await Session.open(port))
            stack.push_async_callback(opened[-1].close)
        end = time.monotonic() + seconds

        async def ask(session: Session) -> None:
            while True:
                await asyncio.sleep(random.expovariate(rate / sessions))
                if time.monotonic() > end:
                    return
                name, number = random.choice(names), random.randrange(each)
                if random.random() < UNKNOWN:
                    times["unknown"].append(await session.ask(f"nobody{number}@{name}", "550"))
                else:
                    local = f"u{number}" if number else "user"
                    times["listed"].append(await session.ask(f"{local}@{name}", "250"))

        tasks = [asyncio.create_task(ask(session)) for session in opened]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return times


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.rcpt", description="Measures how fast RCPT answers.")
    parser.add_argument("--systems", default="gatepost,postfix", help="which of gatepost, postfix; default: both")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each system, in turn; default 3")
    parser.add_argument("--domains", type=int, default=1000, help="default 1000")
    parser.add_argument("--addresses", type=int, default=100_000, help="in all; default 100,000")
    parser.add_argument("--sessions", type=int, default=200, help="open at once; default 200")
    parser.add_argument(
        "--rate", type=float, default=500, help="RCPT commands a second, all sessions together; default 500"
    )
    parser.add_argument("--seconds", type=float, default=10, help="of each run; default 10")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where the systems keep their data")
    return parser.parse_args()


def run(given: argparse.Namespace, figures: Figures) -> None:
    names, each = domains(given.domains), given.addresses // given.domains
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gpb-", dir=given.directory)))
        directory.chmod(0o755)
        systems: list[System] = []
        for name in given.systems.split(","):
            print(f"starting {name}", file=sys.stderr, flush=True)
            systems.append(stack.enter_context(KINDS[name](directory / name, names, each)))
        for turn in range(given.rounds + 1):
            for system in in_turn(systems, turn):
                settle(system)
                before = cpu_seconds(system)
                work = measure(system.port, names, each, given.sessions, given.rate, given.seconds)
                times = uvloop.run(work)
                settle(system)
                if turn == 0:
                    continue  # caches are cold only once
                for kind, values in times.items():
                    group = f"RCPT for an {kind} address" if kind == "unknown" else f"RCPT for a {kind} address"
                    figures.add(group, "median", "ms", system.name, statistics.median(values) * 1000)
                    figures.add(
                        group, "99th percentile", "ms", system.name, statistics.quantiles(values, n=100)[98] * 1000
                    )
                asked = sum(map(len, times.values()))
                figures.add(
                    "All", "CPU for 1,000 commands", "s", system.name, (cpu_seconds(system) - before) * 1000 / asked
                )
                figures.add("All", "memory afterwards", "MiB", system.name, memory(system.processes()))


def main() -> int:
    given, figures = arguments(), Figures()
    about = machine(given.directory)
    try:
        run(given, figures)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print("\n".join(f"{key}: {value}" for key, value in about.items()), end="\n\n")
    print(table(figures))
    return 0


if __name__ == "__main__":
    os.environ.pop("PYTHONDEVMODE", None)
    sys.exit(main())
