"""Replaying on all processors: partitions know nothing of each other, so each process takes some and folds them by itself.

The processes are children of the one that shows the result. They tell it how far they are over a pipe, and end when it asks them to,
when it dies (the pipe then breaks), and when they are done; whichever it is, what they built and nobody needs is dropped.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final, NamedTuple

from pipeline import keys
from pipeline.faults import GatepostError, StoreAwayError
from pipeline.places import place_of
from pipeline.settings import Settings
from pipeline.store import faults
from projections.base import View
from projections.moment import fold_until
from projections.replay import Report, merged, replay
from projections.views import projections
from workers.roles import tune_collector
from workers.wiring import Wiring

TOLD_EVERY: Final = 0.1
"""Seconds between two messages about how far a process is."""
WORTH_IT: Final = 200_000
"""Entries for which a second process is started: it takes half a second until that folds its first."""


class Job(NamedTuple):
    """What one process does."""

    settings: Settings
    """Whose redis_url is that of the server, also where it is a private one."""
    view: str
    partitions: tuple[int, ...]
    now: int
    mend: bool = False
    domain: str = ""
    builds: tuple[int, ...] = ()
    """Fold into these (parallel to `partitions`) up to `moment`; none: rebuild and compare."""
    moment: int = 0


Told = Callable[[int], None]
"""How many events were read since it was last called."""


async def work(wiring: Wiring, job: Job, told: Told) -> Report | int:
    """Do a job here: the report of a comparison, or how many events were folded."""
    projection = next(one for one in projections(wiring.settings) if one.name == job.view)
    before = 0

    def progressed(progress: Any) -> None:
        nonlocal before
        told(progress.events - before)
        before = progress.events

    redis, history = wiring.store.redis, wiring.history
    if job.builds:
        views = [
            View(partition, projection, build) for partition, build in zip(job.partitions, job.builds, strict=True)
        ]
        return await fold_until(redis, history, views, job.moment, now=job.now, domain=job.domain, progress=progressed)
    return await replay(
        redis, history, job.partitions, projection, now=job.now, mend=job.mend, domain=job.domain, progress=progressed
    )


async def lengths_of(wiring: Wiring, job: Job) -> dict[int, int]:
    """About how many entries of each partition there are to be read: for a bar, and to share them out."""
    hot = any(one.hot for one in projections(wiring.settings) if one.name == job.view)
    with faults():
        pipe = wiring.store.redis.pipeline(transaction=False)
        for partition in job.partitions:
            pipe.xlen(keys.log(partition))
            pipe.xrange(keys.log(partition), count=1)
            pipe.xrevrange(keys.log(partition), count=1)
            pipe.hmget(keys.archive(partition), ["count", "entries", "trimmed", "first"])
        answers: Any = iter(await pipe.execute())
    lengths = {}
    for partition in job.partitions:
        length, first, last, archived = next(answers), next(answers), next(answers), next(answers)
        count, entries, trimmed = (int(number or 0) for number in archived[:3])
        if not hot:
            length += count - (entries - trimmed)  # what is archived, and not in the log as well
        ends = [rows[0][0] for rows in (first, last) if rows] + ([archived[3]] if archived[3] else [])
        if job.builds and ends:
            times = [place_of(entry.decode())[0] for entry in ends]
            part = (job.moment // 1_000_000 - min(times)) / max(1, max(times) - min(times))
            length = int(length * min(1.0, max(0.0, part)))
        lengths[partition] = max(0, length)
    return lengths


def jobs_of(job: Job, lengths: Mapping[int, int], processes: int) -> list[Job]:
    """A job in parts of about as many entries each. `processes`: at most; 0: as many as pay, one for each processor."""
    total = sum(lengths.get(partition, 0) for partition in job.partitions)
    count = processes or min(os.cpu_count() or 1, 1 + total // WORTH_IT)
    parts: list[list[int]] = [[] for _ in range(max(1, min(count, len(job.partitions))))]
    weights = [0] * len(parts)
    places = sorted(range(len(job.partitions)), key=lambda place: -lengths.get(job.partitions[place], 0))
    for place in places:
        lightest = weights.index(min(weights))
        parts[lightest].append(place)
        weights[lightest] += lengths.get(job.partitions[place], 0) + 1
    return [
        job._replace(
            partitions=tuple(job.partitions[place] for place in part),
            builds=tuple(job.builds[place] for place in part) if job.builds else (),
        )
        for part in parts
    ]


async def run(wiring: Wiring, jobs: Sequence[Job], told: Told) -> Report | int:
    """Do parts of one job at the same time, each in a process of its own; a single one here. Raises what the job raises."""
    started = time.monotonic()
    if len(jobs) == 1:
        return await work(wiring, jobs[0], told)
    results = await _Children(jobs, told).results()
    reports = [result for result in results if isinstance(result, Report)]
    if reports:
        return merged(reports, time.monotonic() - started)
    return sum(result for result in results if isinstance(result, int))


class _Children:
    def __init__(self, jobs: Sequence[Job], told: Told) -> None:
        context = multiprocessing.get_context("spawn")
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._processes: list[BaseProcess] = []
        self._results: list[asyncio.Future[Report | int]] = []
        for job in jobs:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(theirs, job), name="gatepost-replay", daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            result: asyncio.Future[Report | int] = self._loop.create_future()
            self._results.append(result)
            self._loop.add_reader(ours.fileno(), self._heard, ours, result)

    def _heard(self, connection: Connection, result: asyncio.Future[Report | int]) -> None:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            message = StoreAwayError("a process that replayed ended without a word")
        if isinstance(message, int) and not isinstance(message, bool):
            self._told(message)
            return
        self._loop.remove_reader(connection.fileno())
        connection.close()
        if result.done():
            return
        if isinstance(message, BaseException):
            result.set_exception(message)
        else:
            result.set_result(message[0])

    async def results(self) -> list[Report | int]:
        try:
            return list(await asyncio.gather(*self._results))
        finally:
            await self._end()

    async def _end(self) -> None:
        """Let them drop what they built."""
        for process in self._processes:
            process.terminate()
        waiting = asyncio.ensure_future(asyncio.to_thread(self._join))
        while not waiting.done():
            with suppress(asyncio.CancelledError):
                await asyncio.shield(waiting)
        for result in self._results:
            if result.done() and not result.cancelled():
                result.exception()  # looked at, or asyncio complains that nobody did

    def _join(self) -> None:
        for process in self._processes:
            process.join()


def _child(connection: Connection, job: Job) -> None:
    """In a process of its own. Ctrl-C is for the parent, which then asks us to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tune_collector()
    with suppress(BrokenPipeError, asyncio.CancelledError):
        try:
            connection.send((asyncio.run(_work(connection, job)),))
        except GatepostError as fault:
            connection.send(fault)
    connection.close()


async def _work(connection: Connection, job: Job) -> Report | int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    waiting, said = 0, 0.0

    def told(events: int) -> None:
        nonlocal waiting, said
        waiting += events
        if time.monotonic() - said > TOLD_EVERY:
            said = time.monotonic()
            connection.send(waiting)
            waiting = 0

    wiring = await Wiring.connect(job.settings)
    try:
        result = await work(wiring, job, told)
        connection.send(waiting)
        return result
    finally:
        await wiring.close()
