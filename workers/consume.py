"""Reading work from streams: a consumer group per stream, take-over from the dead, and a place aside for what always fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from redis.exceptions import RedisError, ResponseError

from pipeline import metrics
from pipeline.faults import StoreAwayError, StoreError, StoreFullError
from pipeline.parked import park_entry
from pipeline.pause import end, pause
from pipeline.store import BLOCK_MS, Client, explain, faults
from pipeline.topology.spread import is_spread
from workers.wiring import Wiring

BATCH: Final = 64
"""Entries per stream and read. Their bodies are in memory at once: 16 MiB at most for each stream."""
NEW, OURS = ">", "0"
"""What to read of a group (XREADGROUP): entries nobody had yet, or those that are in our hands."""
TRUSTED: Final = 2
"""Tries that an entry has together with others. Who ended its worker so often is not known, so it has the following alone."""
HEAD_START: Final = 0.02
"""Seconds that a batch has for itself: most are done by then, and what came meanwhile is one batch more and not ten."""
PAUSE: Final = 0.5
"""Seconds between two looks whether Redis is back."""

log = structlog.get_logger()


class Entry(msgspec.Struct, frozen=True):
    partition: int
    stream: str
    id: str
    fields: dict[bytes, bytes]
    again: bool = False
    """It was in somebody's hands before: what it asks for may have been done."""


Handle = Callable[[Sequence[Entry]], Awaitable[Mapping[str, Exception]]]
"""Handles a batch, acknowledging in its own steps; answers which entries failed (by id) and why."""


def consumer_name() -> str:
    """Of nobody else: containers may share a host name, and each numbers its processes from one."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


async def ensure_groups(redis: Client, streams: Sequence[str], group: str) -> None:
    """From the first entry on: work that was there before the first worker counts."""
    for stream in streams:
        try:
            await redis.xgroup_create(stream, group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise


class Consumer:
    """One worker's reading of one kind of work over all partitions, until `stop`.

    Up to `ahead` entries are in hand at once: one that has to wait for somebody (a DNS server, an engine) does not hold up those
    that were read after it.
    """

    def __init__(
        self,
        wiring: Wiring,
        kind: str,
        group: str,
        streams: Mapping[str, int],
        handle: Handle,
        stop: asyncio.Event,
        *,
        ahead: int = 1,
    ) -> None:
        self._wiring = wiring
        self._kind = kind
        self._group = group
        self._streams = streams
        self._handle = handle
        self._stop = stop
        self._name = consumer_name()
        self._lease_ms = int(wiring.settings.lease.seconds * 1000)
        self._ahead = ahead
        # As long as its holder may keep work, it may keep us from more.
        self._pulse = metrics.PULSES.of(kind, max(metrics.TURN, 2 * wiring.settings.lease.seconds))
        self._in_hand: set[tuple[str, str]] = set()
        """(stream, entry) of what is being worked on."""
        self._batches: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """In a Cluster each stream has a reader of its own: one read is of one slot, and a node that is away holds up no other."""
        if len(self._streams) == 1 or not is_spread(self._wiring.store.redis):
            await self._run()
            return
        ahead = max(1, self._ahead // len(self._streams))
        readers = [
            Consumer(self._wiring, self._kind, self._group, {stream: partition}, self._handle, self._stop, ahead=ahead)
            for stream, partition in self._streams.items()
        ]
        tasks = [asyncio.create_task(reader.run()) for reader in readers]
        try:
            await asyncio.gather(*tasks)
        finally:
            await end(tasks)

    async def _run(self) -> None:
        reader = self._wiring.store.blocking()
        try:
            away = False
            ready = False
            reclaim_at = 0.0
            while not self._stop.is_set():
                self._pulse.beat()
                try:
                    if not ready:
                        await ensure_groups(reader, list(self._streams), self._group)
                        # What was handed to us when the connection broke waits for us, and not for the end of a lease.
                        await self._begin(await self._read(reader, OURS))
                        ready = True
                    if asyncio.get_running_loop().time() >= reclaim_at:
                        await self._reclaim(reader)
                        reclaim_at = asyncio.get_running_loop().time() + self._lease_ms / 2000
                    await self._begin(await self._read(reader, NEW))
                    away = False
                except (RedisError, OSError, StoreError) as error:
                    ready = False
                    fault = explain(error)
                    if not away:
                        log.warning("store trouble, waiting", role=self._kind, reason=str(fault))
                    away = True
                    await pause(self._stop, PAUSE)
        finally:
            await asyncio.gather(*self._batches, return_exceptions=True)
            with contextlib.suppress(RedisError, OSError):
                await reader.aclose()

    async def _begin(self, entries: Sequence[Entry], tries: Mapping[str, int] | None = None) -> None:
        """Work on entries, and return as soon as there is room for more."""
        fresh = [entry for entry in entries if (entry.stream, entry.id) not in self._in_hand]
        if fresh:
            self._in_hand.update((entry.stream, entry.id) for entry in fresh)
            task = asyncio.create_task(self._work(fresh, tries))
            self._batches.add(task)
            await asyncio.wait({task}, timeout=HEAD_START)
        while len(self._in_hand) >= self._ahead and self._batches:
            await asyncio.wait(self._batches, return_when=asyncio.FIRST_COMPLETED)
            self._ended()
        self._ended()

    def _ended(self) -> None:
        """Let go of batches that are done. Raises what one of them raised."""
        done = [task for task in self._batches if task.done()]
        self._batches.difference_update(done)
        for task in done:
            task.result()

    async def _read(self, reader: Client, which: str) -> list[Entry]:
        rows: Any = await reader.xreadgroup(
            self._group, self._name, dict.fromkeys(self._streams, which), count=BATCH, block=BLOCK_MS
        )
        pairs = rows.items() if isinstance(rows, dict) else rows or ()
        found = []
        for name, entries in pairs:
            stream = name.decode()
            for entry, fields in entries[0] if isinstance(rows, dict) and entries else entries:
                if fields:
                    found.append(Entry(self._streams[stream], stream, entry.decode(), fields, again=which == OURS))
        return found

    async def _reclaim(self, reader: Client) -> None:
        """Take over what its holder has not finished within a lease."""
        for stream, partition in self._streams.items():
            _, rows, *_ = await reader.xautoclaim(stream, self._group, self._name, self._lease_ms, "0", count=BATCH)
            entries = [Entry(partition, stream, entry.decode(), fields, again=True) for entry, fields in rows if fields]
            if not entries:
                continue
            pending = await reader.xpending_range(
                stream, self._group, min=entries[0].id, max=entries[-1].id, count=BATCH * 4, consumername=self._name
            )
            tries = {row["message_id"].decode(): int(row["times_delivered"]) for row in pending}
            most = self._wiring.settings.max_tries_before_parked
            worn = [entry for entry in entries if tries.get(entry.id, 0) > most]
            for entry in worn:
                await self._park(entry, "its worker died or hung each time", tries[entry.id])
            alone = [entry for entry in entries if min(TRUSTED, most - 1) < tries.get(entry.id, 0) <= most]
            metrics.WORK_TAKEN_OVER.add(self._kind, by=len(entries) - len(worn))
            log.warning("taking over work", role=self._kind, entries=len(entries) - len(worn), stream=stream)
            await self._begin([entry for entry in entries if entry not in worn and entry not in alone], tries)
            await self._one_by_one(alone, tries)

    async def _one_by_one(self, entries: Sequence[Entry], tries: Mapping[str, int]) -> None:
        """With nothing else in hand: when a worker ends again, it is known of which entry, and none is set aside for its company."""
        for entry in entries:
            await self._count(entry, tries[entry.id] - 1)
        for entry in entries:
            while self._batches:
                await asyncio.wait(self._batches)
                self._ended()
            self._pulse.beat()
            if self._stop.is_set():
                return
            if await self._count(entry, tries[entry.id]):
                await self._begin([entry], tries)

    async def _count(self, entry: Entry, tries: int) -> bool:
        """Note how often it was tried; whether it is still there."""
        claimed = await self._wiring.store.redis.xclaim(
            entry.stream, self._group, self._name, 0, [entry.id], retrycount=tries, justid=True
        )
        return bool(claimed)

    async def _work(self, entries: Sequence[Entry], tries: Mapping[str, int] | None = None) -> None:
        try:
            await self._settle(entries, await self._handle(entries), tries)
        finally:
            self._in_hand.difference_update((entry.stream, entry.id) for entry in entries)

    async def _settle(
        self, entries: Sequence[Entry], failed: Mapping[str, Exception], tries: Mapping[str, int] | None
    ) -> None:
        for entry in entries:
            error = failed.get(entry.id)
            if error is None:
                continue
            if isinstance(error, StoreAwayError | StoreFullError):
                await self._forgive(entry)
                continue
            count = (tries or {}).get(entry.id, 1)
            reason = f"{type(error).__name__}: {error}"
            if count >= self._wiring.settings.max_tries_before_parked:
                await self._park(entry, reason, count)
            else:
                metrics.WORK_FAILED.add(self._kind)
                log.error(
                    "work failed, will be tried again", role=self._kind, entry=entry.id, reason=reason, tries=count
                )

    async def _forgive(self, entry: Entry) -> None:
        """Trouble of the store is no message's fault, and does not count among its tries. Ours still, it comes again after a lease."""
        with contextlib.suppress(RedisError, OSError):
            await self._count(entry, 0)

    async def _park(self, entry: Entry, reason: str, tries: int) -> None:
        await park_entry(
            self._wiring.store, entry.partition, self._kind, entry.id, entry.fields, reason, tries=tries,
            now=self._wiring.clock(),
        )  # fmt: skip
        metrics.WORK_PARKED.add(self._kind)
        log.error("parked", role=self._kind, entry=entry.id, reason=reason, remedy="see `gatepost parked list`")


def streams(store_partitions: int, key: Callable[[int], str]) -> dict[str, int]:
    return {key(partition): partition for partition in range(store_partitions)}


__all__ = ["Consumer", "Entry", "consumer_name", "ensure_groups", "faults", "streams"]
