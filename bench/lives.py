"""Mail that is put in without SMTP: the events that workers write of a message, in one step through the log's own code.

Real events, the real script, a real Redis: afterwards everything is as if these messages had come and been scanned, and had begun to wait
or been delivered. A million take minutes, where a gateway on two processors would be at it for half an hour.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec

from bench.events import MS, Vocabulary, message
from pipeline.bodies import LocalCold
from pipeline.events import MessageEvent, Queued, decode
from pipeline.ids import partition_for
from pipeline.log import MAX_STEPS, Log
from pipeline.steps import Step, message_step

AT_ONCE: Final = 8 * MAX_STEPS
"""Steps that wait for the log together."""
HOUR: Final = 3600 * 1000 * MS
DAY: Final = 24 * HOUR
NAMES: Final = 30_000
"""Of one body's file: a file system has a limit."""
BODY: Final = b"From: <sender@client.example>\r\nSubject: it waits\r\n\r\n" + (b"x" * 70 + b"\r\n") * 56
"""4 KiB, as what is sent by SMTP."""


def step_of(message_id: str, events: Iterable[MessageEvent], now: int) -> Step:
    """All that happened to a message in one step; what would have told a scanner to look at it is left out, as one has."""
    step, _ = message_step(None, list(events), now=now, message_id=message_id)
    return msgspec.structs.replace(step, effects=tuple(effect for effect in step.effects if effect[0] != "XADD"))


def lives(partitions: int, domains: int = 200, seed: int = 1) -> Iterator[Step]:
    """Messages that came, for any of so many domains, and were delivered: without end, and four events each, or five."""
    vocabulary = Vocabulary(seed, domains)
    of: dict[int, list[str]] = {}
    for name in vocabulary.domains:
        of.setdefault(partition_for(name, partitions), []).append(name)
    for partition, vocabulary.domains in itertools.cycle(of.items()):
        now = time.time_ns()
        yield step_of(*_told(vocabulary, partition, now), now)


def waiting(domains: Sequence[str], partitions: int, seed: int = 1) -> Iterator[Step]:
    """Messages that came some time in the last day, for one domain after the other, and wait: without end, and three events each."""
    vocabulary = Vocabulary(seed, 0)
    for domain in itertools.cycle(domains):
        vocabulary.domains = [domain]
        at = time.time_ns() - vocabulary.rng.randrange(HOUR, DAY)
        message_id, events = _told(vocabulary, partition_for(domain, partitions), at)
        end = next(number for number, event in enumerate(events) if isinstance(event, Queued))
        yield step_of(message_id, events[: end + 1], at)


def _told(vocabulary: Vocabulary, partition: int, at: int) -> tuple[str, list[MessageEvent]]:
    rows = list(message(vocabulary, partition, at // MS))
    return rows[0].subject, [cast("MessageEvent", decode(row.event)) for row in rows]


async def put(log: Log, steps: Iterable[Step]) -> int:
    """Commit steps, many in each call; how many events that were."""
    events, rest = 0, iter(steps)
    while some := list(itertools.islice(rest, AT_ONCE)):
        await asyncio.gather(*map(log.submit, some))
        events += sum(len(step.events) for step in some)
    return events


class ColdBodies:
    """Bodies of waiting mail where they would be: thousands of names for one file, so that a million take no gigabytes."""

    def __init__(self, root: Path) -> None:
        self._cold = LocalCold(root, root / "drafts")
        self._root = root
        self._named = 0

    def of(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The same steps, each once its message has a body."""
        for step in steps:
            path = self._cold.path(step.subject)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.link(self._source(), path)
            yield step

    def _source(self) -> Path:
        source = self._root / "drafts" / f"bench-{self._named // NAMES}"
        if self._named % NAMES == 0:
            source.write_bytes(BODY)
        self._named += 1
        return source
