"""From measured values to the table: medians, ratios, and what machine it was."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from pathlib import Path
from typing import Final

import msgspec
import psutil

from bench.systems import BenchError, program

OURS: Final = "Gatepost"
PEER: Final = "Postfix"


class Figure(msgspec.Struct):
    """One line of the table: what, in which unit, and the values of each run by the system's name."""

    group: str
    name: str
    unit: str
    runs: dict[str, list[float]]

    def median(self, system: str) -> float | None:
        return statistics.median(self.runs[system]) if system in self.runs else None

    def ratio(self, peer: str) -> float | None:
        """Gatepost's median divided by a peer's; none where that is nothing, or (memory above idle) less than nothing."""
        ours, theirs = self.median(OURS), self.median(peer)
        return ours / theirs if ours is not None and theirs and theirs > 0 else None


class Figures:
    """Collects values; keeps the order in which the lines were first seen."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, str], Figure] = {}

    def add(self, group: str, name: str, unit: str, system: str, value: float) -> None:
        figure = self._figures.setdefault((group, name), Figure(group, name, unit, {}))
        figure.runs.setdefault(system, []).append(value)

    def all(self) -> list[Figure]:
        """By group, in the order of the groups' first lines."""
        groups = list(dict.fromkeys(group for group, _ in self._figures))
        return sorted(self._figures.values(), key=lambda figure: groups.index(figure.group))


def table(figures: Figures) -> str:
    """Plain text, aligned; behind each peer's figure the ratio to it. Rates: more is better; everything else: less is better."""
    rows = figures.all()
    peers = list(dict.fromkeys(name for figure in rows for name in figure.runs if name != OURS)) or [PEER]
    lines = [f"{'':42}{'':>12}{OURS:>12}" + "".join(f"{peer:>{_width(peer)}}{'ratio':>8}" for peer in peers)]
    group = ""
    for figure in rows:
        if figure.group != group:
            group = figure.group
            lines += ["", group]
        theirs = "".join(
            f"{_number(figure.median(peer)):>{_width(peer)}}{_ratio(figure.ratio(peer)):>8}" for peer in peers
        )
        lines.append(f"  {figure.name:40}{figure.unit:>12}{_number(figure.median(OURS)):>12}{theirs}")
    lines += [
        "",
        "Medians; the ratio is Gatepost's figure to the one before it. Of messages/s more is better, of all else less.",
    ]
    return "\n".join(lines)


def _width(peer: str) -> int:
    return max(12, len(peer) + 2)


def _ratio(value: float | None) -> str:
    return f"{value:.2f}" if value is not None else "-"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def machine(directory: Path) -> dict[str, str]:
    """What the figures depend on, for whoever reads them later."""
    mounts = [part for part in psutil.disk_partitions(all=True) if directory.resolve().is_relative_to(part.mountpoint)]
    mount = max(mounts, key=lambda part: len(part.mountpoint), default=None)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{_processor()}, {os.cpu_count()} logical processors",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}, Postfix {_postfix_version()}",
        "load before": f"{os.getloadavg()[0]:.1f} (on a busy machine the figures say little; the ratios say more)",
        "disk": f"{mount.fstype if mount else 'unknown'}, {_fsync_ms(directory):.2f} ms to write and fsync 4 KiB",
    }


def present(figures: str, directory: Path = Path("/var/tmp")) -> int:
    """Print a table below what machine it is of. The exit code."""
    print("\n".join(f"{key}: {value}" for key, value in machine(directory).items()), end="\n\n")
    print(figures)
    return 0


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _postfix_version() -> str:
    try:
        done = subprocess.run([program("postconf"), "-dh", "mail_version"], capture_output=True, text=True, check=False)
    except BenchError:
        return "not installed"
    return done.stdout.strip()


def _fsync_ms(directory: Path) -> float:
    """The median of 50; on a tmpfs it is next to nothing, and then the figures say nothing about a mail server."""
    times = []
    file = directory / f"gpb-fsync-{os.getpid()}"
    try:
        with file.open("wb", buffering=0) as opened:
            for _ in range(50):
                began = time.perf_counter()
                opened.write(b"x" * 4096)
                os.fsync(opened.fileno())
                times.append((time.perf_counter() - began) * 1000)
    finally:
        file.unlink(missing_ok=True)
    return statistics.median(times)
