"""What the filter catches, what it misses, whom it accuses falsely, and what it costs: `python -m bench.filter --help`.

The corpus is split in two halves; the classifier learns from one and is tested on the other, and then the other way round. There is no
network: who sent a message is unknown, and so are the lists that DNS has.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.corpus import KINDS, Sample, fetch, halves, samples
from bench.report import machine
from bench.systems import BenchError
from pipeline.events import Finding
from pipeline.mime import Header, date_of
from pipeline.scanning.bayes.engine import Classifier
from pipeline.scanning.bayes.evidence import teaches
from pipeline.scanning.bayes.tokens import Tokeniser
from pipeline.scanning.bayes.words import words
from pipeline.scanning.builtin import BuiltIn
from pipeline.scanning.engine import Engine, LocalEngine, Mail, run
from pipeline.scanning.verdict import add_up, classes
from pipeline.settings import Settings
from pipeline.state import Message, Recipient, Stage
from pipeline.units import SECOND, Duration
from projections.readers.rehearsal import Rehearsal

KEY: Final = bytes(32)
BUDGET: Final = Duration(30 * SECOND)
"""What is late is measured, not dropped."""
DOMAIN: Final = "example.test"
LETTER: Final = (3 << 10, 5 << 10)
"""Sizes around 4 KiB, for which the cost is told."""
Looking = list[Engine | LocalEngine]
Factory = Callable[[Settings, Rehearsal], Looking]


def _builtin(settings: Settings, learnt: Rehearsal) -> Looking:
    del learnt
    return [BuiltIn(settings, "mx.gatepost.example")]


def _classifier(settings: Settings, learnt: Rehearsal) -> Looking:
    return [Classifier(learnt, settings.spam_threshold)]


def _both(settings: Settings, learnt: Rehearsal) -> Looking:
    return [*_builtin(settings, learnt), *_classifier(settings, learnt)]


SYSTEMS: Final[dict[str, Factory]] = {"built-in": _builtin, "classifier": _classifier, "built-in + classifier": _both}


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


def teach(part: Sequence[Sample], *, doubtful: bool) -> Rehearsal:
    """A classifier that has learnt from these. `doubtful`: only what it did not know, as `gatepost learn both` does."""
    learnt = Rehearsal(key=KEY)
    tokeniser = Tokeniser(KEY)
    for sample in part:
        tokens = tokeniser.tokens(words(Mail(message(sample), sample.content)))
        if not doubtful or teaches(learnt.counted("", tokens), spam=sample.spam):
            learnt.learn("", tokens, spam=sample.spam)
    return learnt


def message(sample: Sample) -> Message:
    """As it came in at the time when its last server says it did."""
    header = Header(sample.content)
    received = header.value(b"received").rpartition(b";")[2]
    at = (date_of(received) if received else None) or header.date or 0
    sender = header.text(b"return-path").strip("<> ")
    return Message(
        id="0k3x9v2qd7m1c0f5tz8a03", version=1, domain=DOMAIN, sender=sender, size=len(sample.content), received_at=at,
        recipients=(Recipient(address=f"anna@{DOMAIN}", stage=Stage.RECEIVED),), expires=at,
    )  # fmt: skip


async def examine(looking: Looking, sample: Sample, settings: Settings) -> Result:
    about = message(sample)
    started, cpu = time.perf_counter(), time.process_time()
    report = await run(looking, Mail(about, sample.content), BUDGET)
    ended, cpu_ended = time.perf_counter(), time.process_time()
    sums = add_up(report.findings)
    verdict = classes(sums, settings.spam_threshold, settings.phishing_threshold)[0]
    return Result(
        sample=sample,
        caught=verdict not in ("clean", "bulk"),
        score=sums.score,
        findings=report.findings,
        ms=(ended - started) * 1000,
        cpu_ms=(cpu_ended - cpu) * 1000,
    )


async def measure(
    names: Sequence[str], found: list[Sample], settings: Settings, *, doubtful: bool
) -> dict[str, list[Result]]:
    """Both directions."""
    first, second = halves(found)
    results: dict[str, list[Result]] = {name: [] for name in names}
    for training, test in ((first, second), (second, first)):
        learnt = teach(training, doubtful=doubtful)
        for name in names:
            looking = SYSTEMS[name](settings, learnt)
            for sample in test:
                results[name].append(await examine(looking, sample, settings))
    return results


def summary(results: Sequence[Result]) -> dict[str, float]:
    """The figures of a row. Shares in percent."""
    wrong = {kind: [result.wrong for result in results if result.sample.kind == kind] for kind in KINDS}
    letters = [result for result in results if LETTER[0] <= len(result.sample.content) <= LETTER[1]] or list(results)
    return {
        "caught": 100 - _share(wrong["spam"]),
        "missed": sum(wrong["spam"]),
        "false_easy": sum(wrong["easy-ham"]),
        "false_easy_share": _share(wrong["easy-ham"]),
        "false_hard": sum(wrong["hard-ham"]),
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
            f"{name:24}{row['caught']:8.2f}%{row['missed']:9.0f}{row['false_easy']:6.0f} {row['false_easy_share']:6.2f}%"
            f"{row['false_hard']:6.0f} {row['false_hard_share']:6.2f}%{row['ms_median']:9.2f}{row['ms_95']:9.2f}"
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


def arguments(words_: Sequence[str] | None = None) -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gatepost"
    parser = argparse.ArgumentParser(prog="./run bench filter", description=__doc__)
    parser.add_argument(
        "--corpus", type=Path, help="a directory with folders easy-ham*, hard-ham*, spam* in place of the public corpus"
    )
    parser.add_argument(
        "--cache", type=Path, default=cache, help="where the public corpus is kept (default: %(default)s)"
    )
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="which, separated by commas (default: all)")
    parser.add_argument(
        "--learn", choices=("doubtful", "all"), default="doubtful", help="from which messages of the other half"
    )
    parser.add_argument(
        "--threshold", type=float, default=Settings().spam_threshold, help="score from which it is spam"
    )
    parser.add_argument("--findings", action="store_true", help="how often each test fires")
    parser.add_argument(
        "--wrong", action="store_true", help="list the messages that are judged wrongly, with their findings"
    )
    parser.add_argument("--json", type=Path, help="all figures into this file")
    given = parser.parse_args(words_)
    unknown = [name for name in given.systems.split(",") if name not in SYSTEMS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    return given


def main(words_: Sequence[str] | None = None) -> int:
    given = arguments(words_)
    try:
        found = samples(given.corpus or fetch(given.cache))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    settings = msgspec.structs.replace(Settings(), spam_threshold=given.threshold)
    work = measure(given.systems.split(","), found, settings, doubtful=given.learn == "doubtful")
    results = asyncio.run(work)
    counts = Counter(sample.kind for sample in found)
    about = {**machine(Path.cwd()), "corpus": ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS)}
    print("\n".join(f"{key}: {value}" for key, value in about.items()), end="\n\n")
    print(table(results))
    for name, ones in results.items():
        told(name, ones, given)
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(document(results, about))))
    return 0


if __name__ == "__main__":
    os.environ.pop("PYTHONDEVMODE", None)
    sys.exit(main())
