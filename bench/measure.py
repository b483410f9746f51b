"""What is measured of a system: processor time, memory, and the figures of one run of a load.

Processor time is that of all its processes in user and kernel mode, with the children they have already waited for, so a
process that came and went during a run counts. Memory is the proportional set size: what processes share counts once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

import msgspec
import psutil

from bench.load import Lone, Sink, blast
from bench.systems import System

QUIET: Final = 0.4
"""Seconds; a system is looked at for so long to see whether it rests."""
REST: Final = 0.1
"""Share of a processor that a system at rest may use: timers and polls, well below any mail."""


class Load(msgspec.Struct, frozen=True):
    """`count` messages of `size` octets from 20 sessions, over a connection each or one per session."""

    title: str
    count: int
    size: int
    reuse: bool


class Rates(msgspec.Struct, frozen=True):
    """Of one run: messages per second accepted and end to end, CPU seconds per 1,000 messages, MiB afterwards."""

    accepted: float
    end_to_end: float
    cpu: float
    memory: float


def cpu_seconds(system: System) -> float:
    """Of all its processes since they started. Ticks are 10 ms."""
    return cpu_of(system.processes())


def cpu_of(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory(processes: Iterable[psutil.Process]) -> float:
    """MiB of these processes, shared pages counted once."""
    kib = 0
    for process in processes:
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text("ascii")
            kib += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return kib / 1024


def settle(system: System) -> None:
    """Wait until it is at rest: what follows a delivery (events, views, queue files) belongs to the run."""
    deadline = time.monotonic() + 30
    last = cpu_seconds(system)
    while time.monotonic() < deadline:
        time.sleep(QUIET)
        now = cpu_seconds(system)
        if now - last < QUIET * REST:
            return
        last = now


def run_load(system: System, sink: Sink, load: Load) -> Rates:
    settle(system)
    before = cpu_seconds(system)
    accepted, arrived = blast(system.port, sink, load.count, load.size, reuse=load.reuse)
    settle(system)
    cpu = (cpu_seconds(system) - before) * 1000 / load.count
    return Rates(load.count / accepted, load.count / arrived, cpu, memory(system.processes()))


class Large(msgspec.Struct, frozen=True):
    """One large message: seconds from connection to arrival, CPU seconds, MiB above idle at the peak (0: not looked at)."""

    seconds: float
    cpu: float
    peak: float


async def run_large(system: System, lone: Lone, size: int, *, with_memory: bool) -> Large:
    """The memory is looked at by a thread that takes time from everybody, so time is taken from the runs without."""
    await asyncio.to_thread(settle, system)
    before, idle = cpu_seconds(system), memory(system.processes())
    with PeakMemory(system) if with_memory else contextlib.nullcontext() as peak:
        seconds, _ = await lone.send(system.port, size)
    await asyncio.to_thread(settle, system)
    return Large(seconds, cpu_seconds(system) - before, peak.highest - idle if peak else 0.0)


class PeakMemory:
    """The highest `memory` of a system while the block runs, looked at all the time by a thread."""

    def __init__(self, system: System) -> None:
        self.highest = 0.0
        self._system = system
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            # Finding the processes costs more than reading their memory; new ones are seen soon enough.
            processes = self._system.processes()
            for _ in range(10):
                self.highest = max(self.highest, memory(processes))
                self._over.wait(0.003)
