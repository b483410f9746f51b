"""Gatepost beside Postfix, relaying the same mail in the same way on the same machine: `python -m bench.relay --help`.

The systems take turns, run by run, so that what else the machine does falls on both; every figure is the median of its runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench import peers
from bench.load import Lone, Sink
from bench.measure import Load, memory, run_large, run_load, settle
from bench.report import Figures, machine, table
from bench.systems import LOAD_DOMAIN, LONE_DOMAIN, BenchError, Gatepost, Postfix, System

KINDS: Final[Mapping[str, type[System]]] = {"gatepost": Gatepost, "postfix": Postfix, **peers.KINDS}
LARGE: Final = 34 << 20
SILENCE: Final = 4.0
"""Seconds; longer than Gatepost keeps an idle connection."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.relay", description="Measures Gatepost and Postfix side by side.")
    parser.add_argument(
        "--systems", default="gatepost,postfix", help=f"which of {', '.join(KINDS)}; default: gatepost,postfix"
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each load; default 5")
    parser.add_argument(
        "--messages", type=int, default=2000, help="messages of a 4 KiB run; a 100 KiB run has 3/10; default 2000"
    )
    parser.add_argument("--lone", type=int, default=50, help="lone messages; default 50")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, run by run, to FILE as well")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("/var/tmp"),
        help="where the systems keep their mail: on a disk, not a tmpfs",
    )
    given = parser.parse_args()
    if unknown := set(given.systems.split(",")) - set(KINDS):
        parser.error(f"there is no system {', '.join(sorted(unknown))}")
    return given


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def in_turn(systems: Sequence[System], turn: int) -> Sequence[System]:
    """Who goes first changes from turn to turn."""
    return systems if turn % 2 == 0 else systems[::-1]


def loads(messages: int) -> list[Load]:
    few = max(messages * 3 // 10, 20)
    return [
        Load("4 KiB, a connection each", messages, 4 << 10, reuse=False),
        Load("4 KiB, connections reused", messages, 4 << 10, reuse=True),
        Load("100 KiB, a connection each", few, 100 << 10, reuse=False),
        Load("100 KiB, connections reused", few, 100 << 10, reuse=True),
    ]


def measure_loads(
    systems: Sequence[System], sinks: Mapping[str, Sink], figures: Figures, rounds: int, messages: int
) -> None:
    warm = Load("warming up", max(messages // 5, 20), 4 << 10, reuse=False)
    for system in systems:
        say(f"{warm.title}: {system.name}")
        run_load(system, sinks[system.name], warm)
    for turn in range(rounds):
        for load in loads(messages):
            for system in in_turn(systems, turn):
                rates = run_load(system, sinks[system.name], load)
                say(f"round {turn + 1}: {load.title}: {system.name} {rates.end_to_end:,.0f}/s end to end")
                figures.add(load.title, "accepted", "messages/s", system.name, rates.accepted)
                figures.add(load.title, "end to end", "messages/s", system.name, rates.end_to_end)
                figures.add(load.title, "CPU for 1,000 messages", "s", system.name, rates.cpu)
                figures.add(load.title, "memory afterwards", "MiB", system.name, rates.memory)
    sent = warm.count + rounds * sum(load.count for load in loads(messages))
    for system in systems:
        if (arrived := sinks[system.name].count) < sent:
            raise BenchError(f"{system.name} was given {sent} messages, and {arrived} arrived")
        figures.add("After all runs", "messages that arrived twice", "", system.name, arrived - sent)


async def measure_lone(systems: Sequence[System], lone: Lone, figures: Figures, count: int) -> None:
    say("lone messages")
    for system in systems:
        await lone.send(system.port, 4 << 10)
    times: dict[str, list[float]] = {system.name: [] for system in systems}
    whole: dict[str, list[float]] = {system.name: [] for system in systems}
    for turn in range(count):
        for system in in_turn(systems, turn):
            await asyncio.sleep(0.1)
            from_start, from_dot = await lone.send(system.port, 4 << 10)
            whole[system.name].append(from_start * 1000)
            times[system.name].append(from_dot * 1000)
    group = "One lone message of 4 KiB, from its final dot to the next server"
    for name, values in times.items():
        figures.add(group, "median", "ms", name, statistics.median(values))
        figures.add(group, "95th percentile", "ms", name, statistics.quantiles(values, n=20)[18])
        figures.add(group, "median, from the connection on", "ms", name, statistics.median(whole[name]))
    for turn in range(max(count // 7, 2)):
        await asyncio.sleep(SILENCE)
        for system in in_turn(systems, turn):
            _, from_dot = await lone.send(system.port, 4 << 10)
            figures.add(group, f"median, after {SILENCE:g} s of silence", "ms", system.name, from_dot * 1000)


async def measure_large(systems: Sequence[System], lone: Lone, figures: Figures, rounds: int) -> None:
    group = "One message of 34 MiB"
    for turn in range(rounds + 1):
        say("a message of 34 MiB")
        for system in in_turn(systems, turn):
            with_memory = turn == rounds
            try:
                large = await run_large(system, lone, LARGE, with_memory=with_memory)
            except BenchError as error:
                say(f"{system.name} does not pass it on: {error}")
                continue
            if with_memory:
                figures.add(group, "memory above idle", "MiB", system.name, large.peak)
            else:
                figures.add(group, "from the connection to the next server", "s", system.name, large.seconds)
                figures.add(group, "CPU", "s", system.name, large.cpu)


def measure(given: argparse.Namespace, figures: Figures) -> None:
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gpb-", dir=given.directory)))
        directory.chmod(0o755)  # Postfix's processes have a user of their own
        lone = Lone()
        runner.run(lone.listen())
        systems, sinks = [], {}
        for name in given.systems.split(","):
            kind = KINDS[name]
            sink = sinks[kind.name] = stack.enter_context(Sink(directory, name))
            system = kind(directory / name, {LOAD_DOMAIN: sink.port, LONE_DOMAIN: lone.port})
            say(f"starting {system.name}")
            systems.append(stack.enter_context(system))
        for system in systems:
            settle(system)
            figures.add("At rest", "memory", "MiB", system.name, memory(system.processes()))
        runner.run(measure_lone(systems, lone, figures, given.lone))
        runner.run(measure_large(systems, lone, figures, given.rounds))
        measure_loads(systems, sinks, figures, given.rounds, given.messages)


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
    sys.exit(main())
