"""What is measured of the store as a whole: what waits, whether the books balance, how far the views are, how full it is.

It is read when somebody asks, at most once in KEPT seconds, and costs as much as there are domains with mail: measured, 2.4 s for ten
thousand of them. Any process can answer it;
ask one of them (`/metrics/store`), or `gatepost up`, which puts it once into its `/metrics`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any, Final

import structlog

from pipeline import keys, metrics
from pipeline.archive.chain import head as chain_head
from pipeline.faults import StoreError
from pipeline.meters import OTHER, Gauge
from pipeline.store import faults
from pipeline.topology.spread import memory
from pipeline.units import SECOND
from projections.readers.books import BooksReport, read_books
from projections.readers.books_check import last_check
from projections.readers.health import ViewHealth, read_health
from projections.readers.queue import DomainQueue, QueueReport, read_queue
from projections.readers.selfcheck import last_selfcheck
from projections.views import projections
from workers.wiring import Wiring

_log = structlog.get_logger(__name__)

KEPT: Final = 5.0
"""Seconds for which an answer is given again."""
TIMES: Final = 10
"""Times as long as the reading took, if that is more: a store with very many domains is not read all the time."""
PING: Final = 2.0
PATIENCE: Final = 5.0
"""Seconds for Redis to answer at all, and for the reading."""
SAMPLES: Final = 5
"""Entries of a stream that Redis looks at to estimate its memory."""


class StoreView:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._names = [projection.name for projection in projections(wiring.settings)]
        self._reading: asyncio.Task[None] | None = None
        self._kept: tuple[Gauge, ...] = ()
        self._until = 0.0

    async def read(self, patience: float = PATIENCE) -> Sequence[Gauge]:
        """All of `metrics.OF_STORE`, some seconds old. Never raises a StoreError: `gatepost_store_up` says it.

        Reading that takes longer than `patience` goes on, and is shown the next time.
        """
        if not await self._answers():
            return self.away()
        if self._reading is None and time.monotonic() >= self._until:
            self._reading = asyncio.create_task(self._renew(), name="store's metrics")
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=patience)
        return (_with(metrics.STORE_UP, 1), _with(metrics.DISK_FREE, self._disk_free()), *self._kept)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PING):
                with faults():
                    await self._wiring.store.redis.ping()
        except (StoreError, TimeoutError):
            return False
        return True

    async def _renew(self) -> None:
        began = time.monotonic()
        try:
            self._kept = await self._read()
        except StoreError:
            self._kept = ()
        except Exception:  # noqa: BLE001 - a mistake of ours must not take the rest of the page with it
            self._kept = ()
            _log.exception("the store's metrics cannot be read")
        finally:
            now = time.monotonic()
            self._until = now + max(KEPT, TIMES * (now - began))
            self._reading = None

    def away(self) -> tuple[Gauge, ...]:
        """What is known without Redis."""
        return (_with(metrics.STORE_UP, 0), _with(metrics.DISK_FREE, self._disk_free()))

    async def _read(self) -> tuple[Gauge, ...]:
        wiring = self._wiring
        redis, partitions, now = wiring.store.redis, wiring.store.partitions, wiring.clock()
        queue = await read_queue(redis, partitions)
        books = await read_books(redis, partitions)
        views = await read_health(redis, wiring.history, partitions, self._names, now)
        return (
            _with(metrics.STORE_READ, now / SECOND),
            *of_queue(queue, wiring.settings.metrics_domains, now),
            *of_books(books),
            *of_views(views),
            *await self._partitions(),
            *await self._memory(),
            *await self._checks(),
            *await self._archive(),
        )

    async def _partitions(self) -> list[Gauge]:
        """What lies in the keys of each partition, added up."""
        with faults():
            pipe = self._wiring.store.redis.pipeline(transaction=False)
            for partition in range(self._wiring.store.partitions):
                for key in (keys.kept(partition), keys.due(partition), keys.held(partition), keys.rescan(partition)):
                    pipe.zcard(key)
                pipe.hlen(keys.parked(partition))
                for key in (keys.scan(partition), keys.outbox(partition), keys.log(partition)):
                    pipe.xlen(key)
                pipe.memory_usage(keys.log(partition), samples=SAMPLES)
                pipe.zcard(keys.alerts(partition))
                pipe.zcard(keys.notices(partition))
            answers: Any = await pipe.execute()
        shown = (
            metrics.QUARANTINED, metrics.DUE, metrics.HELD, metrics.RESCANS, metrics.PARKED, metrics.UNSCANNED,
            metrics.OUTBOX, metrics.LOG_ENTRIES, metrics.LOG_BYTES, metrics.ALERTS, metrics.NOTICES,
        )  # fmt: skip
        return [_with(gauge, sum(one or 0 for one in answers[at :: len(shown)])) for at, gauge in enumerate(shown)]

    async def _memory(self) -> list[Gauge]:
        with faults():
            servers = await memory(self._wiring.store.redis)
            domains: Any = await self._wiring.store.redis.hlen(keys.DOMAINS)
        return [
            _with(metrics.DOMAINS, domains),
            _with(metrics.REDIS_USED, sum(one.used for one in servers)),
            _with(metrics.REDIS_MOST, sum(one.most for one in servers)),
        ]

    async def _checks(self) -> list[Gauge]:
        """What others looked for in the background, and when."""
        redis = self._wiring.store.redis
        books, views = await last_check(redis), await last_selfcheck(redis)
        return [
            _with(metrics.BOOKS_MISMATCHES, books.mismatch_count if books else 0),
            _with(metrics.BOOKS_CHECKED, books.at / SECOND if books else 0),
            _with(metrics.VIEWS_DIFFER, views.differences if views else 0),
            _with(metrics.VIEWS_CHECKED, views.ended / SECOND if views else 0),
        ]

    async def _archive(self) -> list[Gauge]:
        redis, partitions = self._wiring.store.redis, range(self._wiring.store.partitions)
        heads = [await chain_head(redis, partition) for partition in partitions]
        with faults():
            pipe = redis.pipeline(transaction=False)
            for partition in partitions:
                pipe.xlen(keys.log(partition))
            lengths: Any = await pipe.execute()
        sealed = sum(head.entries - head.trimmed for head in heads)
        return [
            _with(metrics.ARCHIVED_BYTES, sum(head.octets for head in heads)),
            _with(metrics.ARCHIVED_ENTRIES, sum(head.count for head in heads)),
            _with(metrics.UNSEALED, max(0, sum(lengths) - sealed)),
        ]

    def _disk_free(self) -> int:
        try:
            found = os.statvfs(self._wiring.settings.data)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize


def _with(gauge: Gauge, value: float) -> Gauge:
    fresh = gauge.fresh()
    fresh.set(value)
    return fresh


def of_queue(report: QueueReport, most: int, now: int) -> list[Gauge]:
    """The `most` domains with the largest queues, and all others as one."""
    messages, octets = metrics.QUEUE_MESSAGES.fresh(), metrics.QUEUE_BYTES.fresh()
    oldest, state = metrics.QUEUE_OLDEST.fresh(), metrics.QUEUE_STOPPED.fresh()
    ranked = sorted(report.domains, key=lambda one: (-one.messages, one.domain))
    for domain, group in [*((one.domain, [one]) for one in ranked[:most]), (OTHER, ranked[most:])]:
        messages.set(sum(one.messages for one in group), domain)
        octets.set(sum(one.bytes for one in group), domain)
        oldest.set(_age(group, now), domain)
        state.set(sum(one.state != "open" for one in group), domain)
    return [messages, octets, oldest, state, _with(metrics.WAITING, report.messages)]


def _age(group: Sequence[DomainQueue], now: int) -> float:
    return max((now - one.oldest for one in group if one.oldest is not None), default=0) / SECOND


def of_books(report: BooksReport) -> list[Gauge]:
    total, recipients = report.total, metrics.BOOKS.fresh()
    for name in ("received", "delivered", "failed", "discarded", "redirected", "waiting", "quarantined"):
        recipients.set(getattr(total, name), name)
    wrong = sum(not one.balanced for one in report.domains)
    return [recipients, _with(metrics.BOOKS_WRONG, wrong), _with(metrics.BOOKS_BALANCED, report.balanced)]


def of_views(found: Sequence[ViewHealth]) -> list[Gauge]:
    """Of each view the partition that is furthest behind."""
    lag, damaged, broken = metrics.VIEW_LAG.fresh(), metrics.VIEW_DAMAGED.fresh(), metrics.VIEW_BROKEN.fresh()
    for name in dict.fromkeys(one.view for one in found):
        parts = [one for one in found if one.view == name]
        lag.set(max(one.behind for one in parts) / SECOND, name)
        damaged.set(sum(one.damaged for one in parts), name)
        broken.set(sum(one.broken for one in parts), name)
    return [lag, damaged, broken]
