"""The archive: `python -m bench.archive --help`.

How fast the log is copied into sealed segments, what an event takes there, how fast all of it is read again, and how soon an event
is found among all of them.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import resource
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.events import PER_MESSAGE, Vocabulary, history
from pipeline import keys
from pipeline.archive.archive import SealedArchive
from pipeline.archive.objects import LocalObjects
from pipeline.archive.rows import Row
from pipeline.archive.trimming import trim
from pipeline.archive.verify import verify
from pipeline.archive.writing import Writer
from pipeline.places import DAY_MS
from pipeline.settings import Settings
from pipeline.store import Client, open_client
from pipeline.terms import MESSAGE_ID, SENDER, SUBJECT, term
from workers.embedded import EmbeddedRedis
from workers.wiring import redis_address

PARTITIONS: Final = 8
START: Final = 20_000 * DAY_MS
DAYS: Final = 30
CHUNK: Final = 100_000


class Written:
    """What was measured while the archive was made."""

    def __init__(self) -> None:
        self.events = 0
        self.seconds = 0.0
        self.cpu = 0.0
        self.trim = 0.0
        self.samples: list[Row] = []


async def fill(redis: Client, archive: SealedArchive, partition: int, events: int, written: Written) -> None:
    """Append a partition's history in portions, seal each, and take it out of Redis."""
    writer = Writer(redis, archive, partition, CHUNK)
    messages = int(events / PER_MESSAGE)
    rows = history(Vocabulary(partition, 25), partition, messages, START, DAYS * DAY_MS / messages)
    await redis.hset(keys.builds(partition), "live:none", "1 1")
    while portion := list(itertools.islice(rows, CHUNK)):
        for start in range(0, len(portion), 1000):
            pipe = redis.pipeline(transaction=False)
            for row in portion[start : start + 1000]:
                pipe.xadd(keys.log(partition), {"s": row.subject, "v": row.version, "e": row.event}, id=row.entry)
            await pipe.execute()
        await redis.set(keys.view(partition, "none", 1) + "checkpoint", portion[-1].entry)
        written.samples += portion[:20]
        assert await writer.hold()
        began, used = time.perf_counter(), time.process_time()
        while (seal := await writer.next(portion[-1].ms + DAY_MS, portion[-1].ms)) is not None:
            written.events += seal.count
        written.seconds += time.perf_counter() - began
        written.cpu += time.process_time() - used
        began = time.perf_counter()
        await trim(redis, partition, portion[-1].ms)
        written.trim += time.perf_counter() - began
    await writer.next(1 << 50)
    await writer.release()


async def first_and_all(found: AsyncIterator[Any]) -> tuple[float, float, int]:
    """Seconds to the first result and to the last, and how many there are."""
    began = time.perf_counter()
    first, count = 0.0, 0
    async for _ in found:
        first = first or time.perf_counter() - began
        count += 1
    whole = time.perf_counter() - began
    return first or whole, whole, count


async def everywhere(archive: SealedArchive, number: int) -> AsyncIterator[Any]:
    for partition in range(PARTITIONS):
        async for one in archive.find(partition, number, 0, 1 << 60):
            yield one


async def finding(archive: SealedArchive, written: Written) -> None:
    from pipeline.events import Received, Scanned, decode  # noqa: PLC0415 - after what is measured

    sample = written.samples
    message = sample[len(sample) // 3]
    scanned = next(event for row in sample if isinstance(event := decode(row.event), Scanned))
    received = next(event for row in sample if isinstance(event := decode(row.event), Received))
    asked = {
        "a message by its id": term(SUBJECT, message.subject),
        "a message by its Message-ID": term(MESSAGE_ID, scanned.message_id.strip("<>")),
        "mail of one sender": term(SENDER, received.sender),
        "nothing": term(SENDER, "nobody@nowhere.test"),
    }
    for run in ("first time", "again"):
        for name, number in asked.items():
            first, whole, count = await first_and_all(everywhere(archive, number))
            print(
                f"  find {name:<28} {run:<11} first {first * 1000:7.1f} ms, all {count:>7,} in {whole * 1000:8.1f} ms"
            )
    for run in ("first time", "again"):
        domain = Vocabulary(0, 25).domains[3]
        first, whole, count = await first_and_all(archive.attempts(0, domain, "0", 1 << 60))
        print(
            f"  a month's attempts of a domain    {run:<11} first {first * 1000:7.1f} ms, all {count:>7,} in {whole * 1000:8.1f} ms"
        )


async def reading(archive: SealedArchive) -> None:
    began, used, count = time.perf_counter(), time.process_time(), 0
    for partition in range(PARTITIONS):
        after = "0"
        while entries := await archive.read(partition, after, 5000):
            count += len(entries)
            after = entries[-1].entry
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    print(
        f"  read all in order                 {count / seconds:10,.0f} events/s, {cpu / count * 1e6:.1f} us of CPU an event, decoded"
    )


async def measure(events: int, directory: Path) -> None:
    settings = Settings(data=directory)
    server = EmbeddedRedis(settings)
    await server.start()
    redis = open_client(redis_address(settings))
    archive = SealedArchive(redis, LocalObjects(directory / "archive"))
    written = Written()
    try:
        for partition in range(PARTITIONS):
            await fill(redis, archive, partition, events // PARTITIONS, written)
        heads = [await archive.chain.head(partition) for partition in range(PARTITIONS)]
        count, octets = sum(at.count for at in heads), sum(at.octets for at in heads)
        index = sum(path.stat().st_size for path in (directory / "archive").rglob("*.terms"))
        print(f"{count:,} events in {sum(at.number for at in heads)} segments, {PARTITIONS} partitions, {DAYS} days")
        print(
            f"  sealed                            {written.events / written.seconds:10,.0f} events/s, {written.cpu / written.events * 1e6:.1f} us of CPU an event"
        )
        print(
            f"  size                              {octets / count:10.1f} octets an event, and {index / count:.1f} for the index of terms"
        )
        print(f"  trimmed                           {count / written.trim:10,.0f} events/s")
        await reading(archive)
        await finding(archive, written)
        began = time.perf_counter()
        found = await verify(archive, range(PARTITIONS))
        assert not any(one.faults for one in found)
        print(f"  verified                          {count / (time.perf_counter() - began):10,.0f} events/s")
        print(
            f"  memory                            {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:10,.0f} MiB at most"
        )
    finally:
        await archive.close()
        await redis.aclose()
        await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench archive", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    arguments = parser.parse_args()
    gc.freeze()
    gc.set_threshold(100_000)  # as the command line has it
    with tempfile.TemporaryDirectory(prefix="gatepost-bench-") as directory:
        uvloop.run(measure(arguments.events, Path(directory)))


if __name__ == "__main__":
    main()
