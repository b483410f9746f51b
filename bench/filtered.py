"""What came of measuring a filter: each message's result, and the figures that are shown of many."""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from bench.corpus import KINDS, Sample
from pipeline.events import Finding

LETTER: Final = (3 << 10, 5 << 10)
"""Sizes around 4 KiB, for which the cost is told."""


class Result(msgspec.Struct, frozen=True):
    """What a system made of one message."""

    sample: Sample
    caught: bool
    score: float
    findings: tuple[Finding, ...]
    ms: float
    cpu_ms: float

    @property
    def wrong(self) -> bool:
        return self.caught is not self.sample.spam


def summary(results: Sequence[Result]) -> dict[str, float]:
    """The figures of a row. Shares in percent, numbers of messages of one pass."""
    times = max(Counter(result.sample.digest for result in results).values())
    wrong = {kind: [result.wrong for result in results if result.sample.kind == kind] for kind in KINDS}
    letters = [result for result in results if LETTER[0] <= len(result.sample.content) <= LETTER[1]] or list(results)
    return {
        "caught": 100 - _share(wrong["spam"]),
        "missed": sum(wrong["spam"]) / times,
        "false_easy": sum(wrong["easy-ham"]) / times,
        "false_easy_share": _share(wrong["easy-ham"]),
        "false_hard": sum(wrong["hard-ham"]) / times,
        "false_hard_share": _share(wrong["hard-ham"]),
        "ms_median": statistics.median(result.ms for result in results),
        "ms_95": _late([result.ms for result in results]),
        "cpu_ms_median": statistics.median(result.cpu_ms for result in results),
        "cpu_ms_95": _late([result.cpu_ms for result in results]),
        "cpu_ms_4_kib": statistics.median(result.cpu_ms for result in letters),
    }


def _share(wrong: Sequence[bool]) -> float:
    return 100 * sum(wrong) / max(len(wrong), 1)


def _late(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


def fired(results: Sequence[Result]) -> dict[str, dict[str, int]]:
    """How often each finding was there, by kind of mail, and in how many false alarms it weighed."""
    counts: dict[str, Counter[str]] = {}
    for result in results:
        for finding in {finding.name: finding for finding in result.findings}.values():
            counter = counts.setdefault(finding.name, Counter())
            counter[result.sample.kind] += 1
            if result.wrong and not result.sample.spam and finding.score > 0:
                counter["accused"] += 1
    return {name: {kind: counter[kind] for kind in (*KINDS, "accused")} for name, counter in sorted(counts.items())}


def table(results: Mapping[str, Sequence[Result]]) -> str:
    head = ("", "caught", "missed", "easy ham", "hard ham", "ms", "95 %", "CPU ms", "95 %", "4 KiB")
    lines = [
        f"{head[0]:24}"
        + "".join(f"{title:>14}" if 2 < place < 5 else f"{title:>9}" for place, title in enumerate(head) if place)
    ]
    for name, found in results.items():
        row = summary(found)
        lines.append(
            f"{name:24}{row['caught']:8.2f}%{row['missed']:9.1f}{row['false_easy']:6.1f} {row['false_easy_share']:6.2f}%"
            f"{row['false_hard']:6.1f} {row['false_hard_share']:6.2f}%{row['ms_median']:9.2f}{row['ms_95']:9.2f}"
            f"{row['cpu_ms_median']:9.2f}{row['cpu_ms_95']:9.2f}{row['cpu_ms_4_kib']:9.2f}"
        )
    return "\n".join(lines)


def told(name: str, results: Sequence[Result], given: argparse.Namespace) -> None:
    if given.findings:
        print(f"\n{name}\n{'':32}{'easy':>8}{'hard':>8}{'spam':>8}{'accused':>9}")
        for finding, counts in fired(results).items():
            print(f"{finding:32}{counts['easy-ham']:8}{counts['hard-ham']:8}{counts['spam']:8}{counts['accused']:9}")
    if given.wrong:
        print(f"\n{name}: what was wrong")
        for result in sorted(results, key=lambda one: (one.sample.kind, -one.score)):
            if result.wrong:
                said = ", ".join(f"{finding.name} {finding.score:g}" for finding in result.findings)
                print(f"  {result.score:6.2f} {result.sample.name}: {said}")


def document(results: Mapping[str, Sequence[Result]], about: Mapping[str, str]) -> dict[str, Any]:
    return {
        "about": dict(about),
        "systems": {name: {**summary(found), "findings": fired(found)} for name, found in results.items()},
    }
