"""Where the processor time of a message goes, process by process: `python -m bench.stages --help`.

Processor time says the same on a busy machine as on a quiet one, nearly: what is compared here can be compared while others
work. With `--beside` another checkout takes turns with this one, run by run, which is how a change is judged.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import redis

from bench.load import Sink, blast
from bench.measure import Load, settle
from bench.report import machine
from bench.systems import LOAD_DOMAIN, Gatepost
from workers.roles import ROLES, TOGETHER
from workers.wiring import socket_path

STORE: Final = "embedded Redis"
OTHERS: Final = "supervisor"
SHOWN: Final = (*ROLES, *TOGETHER, OTHERS, STORE)
TOTAL: Final = "in all"
MOST: Final = 14
"""Commands of Redis in the second table."""


class Spent(msgspec.Struct):
    """Of one run, for each message: microseconds by process, calls and microseconds by command of Redis."""

    processes: Mapping[str, float]
    commands: Mapping[str, tuple[float, float]]


class Checkout(Gatepost):
    """A gateway of this checkout or of another one, with that one's own Python."""

    def __init__(self, directory: Path, routes: Mapping[str, int], root: Path | None) -> None:
        super().__init__(directory, routes)
        self.name = str(root) if root else "here"
        if root:
            self.python = root / ".venv" / "bin" / "python"


def role_of(arguments: Sequence[str], name: str) -> str:
    """Whose a process is, of its command line and its name."""
    if "server" in name:
        return STORE
    if "worker" in arguments[:-1]:
        return arguments[arguments.index("worker") + 1]
    return next((role for role in ROLES if role in name), OTHERS)


def spent(system: Gatepost) -> Counter[str]:
    """Microseconds in user and kernel mode since each process began, by role."""
    total: Counter[str] = Counter()
    for process in system.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total[role_of(process.cmdline(), process.name())] += round((times.user + times.system) * 1_000_000)
    return total


def commands(system: Gatepost) -> dict[str, tuple[int, int]]:
    """How often each command was called since Redis began, and the microseconds that it took."""
    with redis.Redis(unix_socket_path=str(socket_path(system.directory / "data"))) as client:
        told: Mapping[str, Any] = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): (row["calls"], row["usec"]) for name, row in told.items()}


def run(system: Gatepost, sink: Sink, load: Load) -> Spent:
    settle(system)
    before, asked = spent(system), commands(system)
    blast(system.port, sink, load.count, load.size, reuse=load.reuse)
    settle(system)
    after, answered = spent(system), commands(system)
    return Spent(
        {role: (after[role] - before[role]) / load.count for role in after},
        {
            name: ((calls - asked.get(name, (0, 0))[0]) / load.count, (took - asked.get(name, (0, 0))[1]) / load.count)
            for name, (calls, took) in answered.items()
        },
    )


def medians(runs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    rows = list(runs)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: statistics.median(row.get(name, 0.0) for row in rows) for name in names}


def processes_table(titles: Sequence[str], columns: Sequence[Sequence[Spent]]) -> str:
    """A column for each load and system; the sum is the median of the sums."""
    found = [medians(one.processes for one in runs) for runs in columns]
    sums = [statistics.median(sum(one.processes.values()) for one in runs) for runs in columns]
    lines = [f"{'CPU microseconds a message':28}" + "".join(f"{title:>16}" for title in titles)]
    lines += [
        f"{role:28}" + "".join(f"{column.get(role, 0):16,.0f}" for column in found)
        for role in SHOWN
        if any(column.get(role, 0) >= 0.5 for column in found)
    ]
    lines.append(f"{TOTAL:28}" + "".join(f"{total:16,.0f}" for total in sums))
    return "\n".join(lines)


def commands_table(titles: Sequence[str], columns: Sequence[Sequence[Spent]]) -> str:
    calls = [medians({name: row[0] for name, row in one.commands.items()} for one in runs) for runs in columns]
    took = [medians({name: row[1] for name, row in one.commands.items()} for one in runs) for runs in columns]
    names = sorted(
        {name for column in took for name in column}, key=lambda name: -max(one.get(name, 0) for one in took)
    )
    lines = [f"{'Redis: calls, us a message':28}" + "".join(f"{title:>16}" for title in titles)]
    for name in names[:MOST]:
        cells = [f"{one.get(name, 0):.2f}, {two.get(name, 0):.1f}" for one, two in zip(calls, took, strict=True)]
        lines.append(f"{name:28}{''.join(map('{:>16}'.format, cells))}")
    return "\n".join(lines)


def measure(
    systems: Sequence[tuple[Gatepost, Sink]], loads: Sequence[Load], rounds: int
) -> list[tuple[str, list[Spent]]]:
    for system, sink in systems:
        run(system, sink, Load("warm", max(loads[0].count // 5, 20), 4 << 10, reuse=False))
    found: dict[tuple[str, str], list[Spent]] = {
        (load.title, system.name): [] for load in loads for system, _ in systems
    }
    for turn in range(rounds):
        for load in loads:
            for system, sink in systems if turn % 2 == 0 else systems[::-1]:
                one = run(system, sink, load)
                found[load.title, system.name].append(one)
                print(
                    f"{time.strftime('%H:%M:%S')} {load.title}: {system.name} {sum(one.processes.values()):,.0f} us",
                    file=sys.stderr,
                    flush=True,
                )
    many = len(systems) > 1
    return [
        (title if not many or name == "here" else f"{Path(name).name[:15]}", runs)
        for (title, name), runs in found.items()
    ]


def loads_of(given: argparse.Namespace) -> list[Load]:
    few = max(given.messages * 3 // 10, 20)
    both = [
        Load("4 KiB reused", given.messages, 4 << 10, reuse=True),
        Load("4 KiB each", given.messages, 4 << 10, reuse=False),
        Load("100 KiB reused", few, 100 << 10, reuse=True),
        Load("100 KiB each", few, 100 << 10, reuse=False),
    ]
    return [load for load in both if given.only in load.title]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.stages", description="CPU of a message, process by process.")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each load; default 5")
    parser.add_argument(
        "--messages", type=int, default=3000, help="of a 4 KiB run; a 100 KiB run has 3/10; default 3000"
    )
    parser.add_argument("--only", default="", help="loads whose title has this in it, e.g. 'reused' or '100 KiB'")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another checkout, with its .venv, in turns")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where the mail is kept: on a disk")
    given = parser.parse_args()
    about = machine(given.directory)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gpb-", dir=given.directory)))
        systems = []
        for at, root in enumerate([None, given.beside] if given.beside else [None]):
            sink = stack.enter_context(Sink(directory, str(at)))
            system = Checkout(directory / str(at), {LOAD_DOMAIN: sink.port}, root.resolve() if root else None)
            systems.append((stack.enter_context(system), sink))
        columns = measure(systems, loads_of(given), given.rounds)
    titles, runs = [title for title, _ in columns], [one for _, one in columns]
    print("\n".join(f"{key}: {value}" for key, value in about.items()), end="\n\n")
    print(processes_table(titles, runs), end="\n\n")
    print(commands_table(titles, runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
