"""What the filter catches, what it misses, whom it accuses falsely, and what it costs: `python -m bench.filter --help`.

The corpus is split in two halves; the classifier learns from one and is tested on the other, and then the other way round; so with
several splits, whose figures are averaged. Who handed a message over is read from its Received fields; there is no network: nothing is known of SPF,
DKIM and DMARC, and of the lists that DNS has.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.arrival import arrived
from bench.corpus import KINDS, Sample, fetch, few, halves, samples
from bench.filtered import Result, document, table, told
from bench.report import machine
from bench.systems import BenchError
from pipeline.scanning.bayes.engine import Classifier
from pipeline.scanning.bayes.evidence import teaches
from pipeline.scanning.bayes.tokens import Tokeniser
from pipeline.scanning.bayes.words import words
from pipeline.scanning.builtin import BuiltIn
from pipeline.scanning.engine import Engine, LocalEngine, Mail, run
from pipeline.scanning.engines import outside
from pipeline.scanning.engines.guard import Guard
from pipeline.scanning.verdict import add_up, classes
from pipeline.settings import Settings
from pipeline.units import SECOND, Duration, EngineAddress
from projections.readers.rehearsal import Rehearsal
from tests.support import engines

KEY: Final = bytes(32)
BUDGET: Final = Duration(30 * SECOND)
"""What is late is measured, not dropped."""
Looking = list[Engine | LocalEngine]
Factory = Callable[[Settings, Rehearsal], Looking]


def _builtin(settings: Settings, learnt: Rehearsal) -> Looking:
    del learnt
    return [BuiltIn(settings, "mx.gatepost.example")]


def _classifier(settings: Settings, learnt: Rehearsal) -> Looking:
    return [Classifier(learnt, settings.spam_threshold)]


def _both(settings: Settings, learnt: Rehearsal) -> Looking:
    return [*_builtin(settings, learnt), *_classifier(settings, learnt)]


def _outside(settings: Settings, learnt: Rehearsal) -> Looking:
    del learnt
    return [*outside.guards(settings, "mx.gatepost.example")]


LEARNING: Final[dict[str, Factory]] = {"classifier": _classifier, "built-in + classifier": _both}
SYSTEMS: Final[dict[str, Factory]] = {"built-in": _builtin, **LEARNING, **dict.fromkeys(outside.NAMES, _outside)}
DEFAULT: Final = ("built-in", *LEARNING)
SERVERS: Final = {"clamav": engines.clamd, "rspamd": engines.rspamd, "spamassassin": engines.spamd}


def teach(part: Sequence[Sample], *, doubtful: bool) -> Rehearsal:
    """A classifier that has learnt from these. `doubtful`: only what it did not know, as `gatepost learn both` does."""
    learnt = Rehearsal(key=KEY)
    tokeniser = Tokeniser(KEY)
    for sample in part:
        about, authentication, header = arrived(sample.content)
        tokens = tokeniser.tokens(words(Mail(about, sample.content, authentication, header=header)))
        if not doubtful or teaches(learnt.counted("", tokens), spam=sample.spam):
            learnt.learn("", tokens, spam=sample.spam)
    return learnt


async def examine(looking: Looking, sample: Sample, settings: Settings) -> Result:
    about, authentication, _ = arrived(sample.content)
    started, cpu = time.perf_counter(), time.process_time()
    report = await run(looking, Mail(about, sample.content, authentication), BUDGET)
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
    names: Sequence[str], found: list[Sample], settings: Settings, *, doubtful: bool, splits: int = 1
) -> dict[str, list[Result]]:
    """Each of several splits in both directions; what learns nothing sees each message once."""
    results: dict[str, list[Result]] = {name: [] for name in names}
    for number in range(splits):
        first, second = halves(found, number)
        for training, test in ((first, second), (second, first)):
            learnt = teach(training, doubtful=doubtful)
            for name in names:
                if name in LEARNING or not number:
                    results[name] += await _test(name, settings, learnt, test)
    return results


async def _test(name: str, settings: Settings, learnt: Rehearsal, test: Sequence[Sample]) -> list[Result]:
    looking = SYSTEMS[name](_only(settings, name), learnt)
    try:
        return [await examine(looking, sample, settings) for sample in test]
    finally:
        for engine in looking:
            if isinstance(engine, Guard):
                engine.close()


def _only(settings: Settings, name: str) -> Settings:
    """With one engine outside at most."""
    others = {other: EngineAddress() for other in outside.NAMES if other != name}
    return msgspec.structs.replace(settings, **others)


@contextlib.contextmanager
def served(names: Sequence[str], settings: Settings) -> Iterator[Settings]:
    """With servers of our own for the engines that are measured. Raises BenchError where one is not installed."""
    with contextlib.ExitStack() as stack:
        for name in outside.NAMES:
            if name in names:
                try:
                    server = stack.enter_context(SERVERS[name]())
                except (pytest.skip.Exception, pytest.fail.Exception) as error:
                    raise BenchError(f"{name} cannot be measured: {error}") from None
                change: dict[str, Any] = {name: EngineAddress(server.address), f"{name}_deadline": BUDGET}
                settings = msgspec.structs.replace(settings, **change)
        yield settings


def arguments(words_: Sequence[str] | None = None) -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gatepost"
    parser = argparse.ArgumentParser(prog="./run bench filter", description=__doc__)
    parser.add_argument(
        "--corpus", type=Path, help="a directory with folders easy-ham*, hard-ham*, spam* in place of the public corpus"
    )
    parser.add_argument(
        "--cache", type=Path, default=cache, help="where the public corpus is kept (default: %(default)s)"
    )
    parser.add_argument(
        "--systems",
        default=",".join(DEFAULT),
        help=f"which of {', '.join(SYSTEMS)}, separated by commas (default: those of our own)",
    )
    parser.add_argument(
        "--learn", choices=("doubtful", "all"), default="doubtful", help="from which messages of the other half"
    )
    parser.add_argument(
        "--threshold", type=float, default=Settings().spam_threshold, help="score from which it is spam"
    )
    parser.add_argument(
        "--splits", type=int, default=3, help="into halves, each in both directions (default: %(default)s)"
    )
    parser.add_argument("--sample", type=int, default=0, help="so many messages of each kind at most (default: all)")
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
    found = few(found, given.sample) if given.sample else found
    names = given.systems.split(",")
    settings = msgspec.structs.replace(Settings(), spam_threshold=given.threshold)
    try:
        with served(names, settings) as served_settings:
            work = measure(names, found, served_settings, doubtful=given.learn == "doubtful", splits=given.splits)
            results = asyncio.run(work)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
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
