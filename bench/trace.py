"""What finding a message takes: `python -m bench.trace --help`.

Mail of many domains is written to the logs of a Redis server of its own, with the times of some hours, and folded into the two index
views as the projector does. Then: octets of Redis per message in the views; the folds' CPU; and how long it is until the first
results of each kind of search, and the timeline of one message. With --archived the first messages are copied to an archive and taken
out of Redis, as the archiver does.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop

from bench.quarantine import server
from bench.report import machine
from pipeline import keys
from pipeline.archive.archive import SealedArchive
from pipeline.archive.objects import LocalObjects
from pipeline.archive.trimming import AT_ONCE, trim
from pipeline.archive.writing import Writer
from pipeline.events import (
    AnyEvent,
    Attempt,
    Client,
    Delivered,
    Queued,
    Received,
    RecipientSpec,
    Recorded,
    Scanned,
    encode,
)
from pipeline.history import History
from pipeline.ids import new_id, partition_for
from pipeline.log import Log
from pipeline.places import HOUR_MS
from pipeline.store import Client as Redis
from pipeline.store import open_client
from projections.base import START, Portion, View, advance
from projections.builds import to_fold
from projections.outbound import Outbound
from projections.readers.past import Past
from projections.readers.past.finding import Query
from projections.trace import Trace

PARTITIONS: Final = 8
BATCH: Final = 1000
BEGAN: Final = 1_790_000_000_000 // HOUR_MS * HOUR_MS
"""ms"""
DAY_MS: Final = 24 * HOUR_MS
PAGE: Final = 20
RARE: Final = 50_000
"""One message in so many has what only it has."""
SEGMENT: Final = 100_000
"""Entries of a segment of the archive."""
_MS: Final = 1_000_000


class Mail:
    """Messages that are delivered at once: few words in many subjects and many in few, and the same with senders."""

    def __init__(self, domains: int, seed: int = 1) -> None:
        self._rng = random.Random(seed)
        self.domains = [f"d{number}.example" for number in range(domains)]

    def _common(self, most: int) -> int:
        return min(int(self._rng.paretovariate(0.8)) - 1, most - 1) % most

    def events(self, number: int, ms: int) -> tuple[str, list[AnyEvent]]:
        rng, at = self._rng, ms * _MS
        domain, home = rng.choice(self.domains), f"h{self._common(20_000)}.example"
        sender, recipient = f"s{rng.randrange(500_000)}@{home}", f"user{rng.randrange(200)}@{domain}"
        rare = f" unheard{number}" if number % RARE == 7 else ""
        subject = " ".join(f"word{self._common(20_000)}" for _ in range(rng.randrange(3, 9))) + rare
        attempt = Attempt(
            server=f"mx.{domain}:25", address=f"192.0.2.{rng.randrange(100)}", tls="TLSv1.3", stage="dot", code=250,
            enhanced="2.0.0", reply="250 2.0.0 Ok: queued as 4TzKqM3vXyz", took=20_000_000,
        )  # fmt: skip
        client = Client(
            address=f"203.0.{rng.randrange(114)}.{rng.randrange(256)}", helo=f"out.{home}", protocol="ESMTPS"
        )
        return new_id(at, partition_for(domain, PARTITIONS), rng.getrandbits(55)), [
            Received(
                at=at, domain=domain, sender=sender, recipients=(RecipientSpec(address=recipient),), size=9000,
                expires=at, client=client,
            ),
            Scanned(
                at=at + 5 * _MS, domain=domain, verdict="clean", score=0.1, subject=subject,
                header_from=f"Somebody <{sender}>", message_id=f"<{number}.{rng.getrandbits(60)}@{home}>",
            ),
            Queued(at=at + 5 * _MS, domain=domain, recipients=(recipient,), size=9000),
            Delivered(
                at=at + 40 * _MS, domain=domain, sender=sender, recipients=(recipient,), size=9000, tries=1,
                attempt=attempt, waited=40 * _MS,
            ),
        ]  # fmt: skip


class Store:
    def __init__(self, redis: Redis, mail: Mail, per_day: int) -> None:
        self.redis = redis
        self.mail = mail
        self.per_day = per_day
        self.cpu = 0.0
        """Seconds of the folds."""
        self.samples: list[tuple[str, list[AnyEvent]]] = []
        self._views: dict[int, list[View]] = {}
        self._reached = dict.fromkeys(range(PARTITIONS), START)
        self._last = dict.fromkeys(range(PARTITIONS), (0, 0))
        self._rows: dict[int, list[Recorded]] = {partition: [] for partition in range(PARTITIONS)}

    def ms(self, number: int) -> int:
        return BEGAN + number * DAY_MS // self.per_day

    def _entry(self, partition: int, ms: int) -> str:
        last = self._last[partition]
        self._last[partition] = now = (ms, 0) if ms > last[0] else (last[0], last[1] + 1)
        return f"{now[0]}-{now[1]}"

    async def fill(self, first: int, last: int) -> None:
        """The messages of these numbers, written and folded."""
        for number in range(first, last):
            message_id, events = self.mail.events(number, self.ms(number))
            partition = partition_for(events[0].domain, PARTITIONS)
            if number % max(1, (last - first) // 50) == 0:
                self.samples.append((message_id, events))
            rows = self._rows[partition]
            for version, event in enumerate(events, 1):
                entry = self._entry(partition, event.at // _MS)
                rows.append(Recorded(partition, entry, message_id, version, event))
            if len(rows) >= BATCH:
                await self._store(partition)
        for partition in range(PARTITIONS):
            await self._store(partition)

    async def _store(self, partition: int) -> None:
        rows, self._rows[partition] = self._rows[partition], []
        if not rows:
            return
        pipe = self.redis.pipeline(transaction=False)
        for one in rows:
            fields = {"s": one.subject, "v": one.version, "e": encode(one.event)}
            pipe.xadd(keys.log(partition), fields, id=one.entry)
        await pipe.execute()
        if partition not in self._views:
            self._views[partition] = [(await to_fold(self.redis, partition, one))[0] for one in (Trace(), Outbound())]
        views = self._views[partition]
        began = time.process_time()
        for view in views:
            view.projection.fold(rows, {})
        self.cpu += time.process_time() - began
        await advance(self.redis, [Portion(views, self._reached[partition], rows)])
        self._reached[partition] = rows[-1].entry

    async def used(self) -> tuple[int, int]:
        """Octets of the index views, and keys in them: exactly, by asking for each."""
        octets = count = 0
        for views in self._views.values():
            for view in views:
                names = await self.redis.smembers(view.prefix + "keys")
                pipe = self.redis.pipeline(transaction=False)
                for name in names:
                    pipe.memory_usage(view.prefix + name.decode())
                pipe.memory_usage(view.prefix + "keys", samples=0)
                octets += sum(one or 0 for one in await pipe.execute())
                count += len(names)
        return octets, count


def queries(store: Store) -> dict[str, list[Query]]:
    """Of each kind some for what is there, and for what never was."""
    found: dict[str, list[Query]] = {}
    for _, (received, scanned, _, delivered) in store.samples[-20:]:
        assert isinstance(received, Received)
        assert isinstance(scanned, Scanned)
        assert isinstance(delivered, Delivered)
        assert received.client is not None
        recipient, subject = received.recipients[0].address, scanned.subject
        for kind, query in (
            ("Message-ID", Query(message_id=scanned.message_id)),
            ("sender", Query(sender=received.sender)),
            ("sender's domain", Query(sender="@" + received.sender.rpartition("@")[2])),
            ("recipient", Query(recipient=recipient)),
            ("words of the subject", Query(subject=subject)),
            ("one frequent word", Query(subject="word0")),
            ("client", Query(client=received.client.address)),
            ("server", Query(server="mx." + received.domain)),
            ("domain", Query(domain=received.domain)),
            ("sender and recipient", Query(sender=received.sender, recipient=recipient)),
            ("frequent word and recipient", Query(subject="word0", recipient=recipient)),
            ("nobody: the whole index in vain", Query(sender=f"nobody@{received.domain}")),
        ):
            found.setdefault(kind, []).append(query)
    return found


async def ask(past: Past, store: Store) -> None:
    print(f"{'first results by':<34} {'median':>8} {'slowest':>8}   found")
    for kind, asked in queries(store).items():
        took, found = [], 0
        for query in asked:
            began = time.perf_counter()
            found += len((await past.page(query, PAGE)).found)
            took.append((time.perf_counter() - began) * 1000)
        print(f"{kind:<34} {statistics.median(took):>5.1f} ms {max(took):>5.1f} ms   {found / len(asked):.1f}")
    took = []
    for message_id, events in store.samples:
        began = time.perf_counter()
        assert len([one async for one in past.message(message_id)]) == len(events)
        took.append((time.perf_counter() - began) * 1000)
    print(f"{'timeline of one message':<34} {statistics.median(took):>5.1f} ms {max(took):>5.1f} ms")


async def archive(store: Store, root: Path, count: int) -> SealedArchive:
    """All of it copied, and what came in whole hours before the message of a number taken out."""
    archived = SealedArchive(store.redis, LocalObjects(root))
    floor = store.ms(count) // HOUR_MS * HOUR_MS
    for partition in range(PARTITIONS):
        writer = Writer(store.redis, archived, partition, SEGMENT)
        await writer.hold()
        await writer.settle()
        while await writer.next(floor + 2 * DAY_MS) is not None:
            pass
        await writer.release()
        taken = AT_ONCE
        while taken >= AT_ONCE:
            _, taken = await trim(store.redis, partition, floor)
    return archived


async def measure(url: str, root: Path, arguments: argparse.Namespace) -> None:
    redis = open_client(url)
    try:
        store = Store(redis, Mail(arguments.domains), arguments.per_day)
        began = time.perf_counter()
        total = arguments.archived + arguments.messages
        await store.fill(0, total)
        print(f"{total:,} messages, {4 * total:,} events, in {time.perf_counter() - began:.0f} s")
        octets, count = await store.used()
        print(f"index views: {octets / total:.0f} octets per message, {count:,} keys, {octets / 1e6:.1f} MB")
        print(f"folds: {store.cpu / total * 1e6:.1f} us of CPU per message")
        kept = await archive(store, root, arguments.archived) if arguments.archived else None
        await ask(Past(redis, History(Log(redis), kept), PARTITIONS), store)
    finally:
        await redis.aclose()


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=50_000, help="in Redis")
    parser.add_argument("--archived", type=int, default=0, help="before these, archived")
    parser.add_argument("--per-day", type=int, default=1_000_000, help="how close they follow each other")
    parser.add_argument("--domains", type=int, default=500)
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="gpb-") as name, server(Path(name)) as url:
        print(", ".join(f"{key} {value}" for key, value in machine(Path(name)).items()))
        uvloop.run(measure(url, Path(name) / "archive", arguments))


if __name__ == "__main__":
    main()
