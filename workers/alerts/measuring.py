"""Measuring what the rules look at. What it costs grows with the number of domains for which mail waits, never with the mail itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from pipeline import gateways, keys
from pipeline.alerts.model import DomainState, EngineState, Measured, WorkState
from pipeline.faults import CorruptError
from pipeline.scanning.engines.board import Board
from pipeline.scanning.engines.health import AWAY, together
from pipeline.scanning.engines.outside import addresses
from pipeline.store import faults
from pipeline.topology.spread import memory
from pipeline.units import SECOND
from projections.builds import live_prefixes
from projections.queue import NAME as QUEUE
from projections.readers import DomainQueue, read_health, read_queue
from projections.readers.books_check import Unbalanced, last_check
from projections.readers.health import redis_now
from projections.readers.selfcheck import CheckedView, last_selfcheck
from projections.views import projections
from workers.wiring import Wiring

log = structlog.get_logger()
T = TypeVar("T")

STALE: Final = 60 * SECOND
"""How far (ns) the view of the queue may be behind: of an older one it is not known whether what it shows is still so."""
UNCHECKED: Final = 600 * SECOND
"""The books are checked every minute; of an older check nothing follows."""
TRIMMED_EVERY: Final = 3600 * SECOND
"""The log is trimmed at whole hours."""
HEARD_OF_MS: Final = 60_000
"""A process that reads a stream and was not heard of for so long is no more."""
_WORK: Final[dict[str, tuple[Callable[[int], str], str]]] = {
    "scan": (keys.scan, keys.SCANNERS),
    "outbox": (keys.outbox, keys.JANITORS),
}


class Measuring:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._store = wiring.store
        self._views = [view.name for view in projections(wiring.settings)]

    async def measure(self) -> Measured:
        """All of it, as it is now. Raises StoreAwayError; what cannot be read otherwise is not measured."""
        now = self._wiring.clock()
        lags = await self._tried(self._lags)
        return Measured(
            at=now,
            host=socket.gethostname(),
            domains=await self._tried(self._domains) if lags is not None and fresh(lags) else None,
            engines=await self._tried(self._engines),
            lags=lags,
            work=await self._tried(self._work),
            memory=await self._tried(self._memory),
            parked=await self._tried(self._parked),
            receiver=await self._tried(self._receiver),
            books=await self._tried(self._books),
            archive=await self._tried(self._archive),
            differences=await self._tried(self._differences),
            disk_free=self._disk(),
            certificate=self._certificate(),
        )

    async def _tried(self, measure: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await measure()
        except CorruptError as fault:
            log.error("cannot be measured", reason=str(fault))  # noqa: TRY400 - the fault says all
            return None

    async def _domains(self) -> tuple[DomainState, ...] | None:
        """Ours: what becomes of a bounce to a stranger is his business. None where the view is not there, which shows nothing then."""
        if len(await live_prefixes(self._store.redis, range(self._store.partitions), QUEUE)) < self._store.partitions:
            return None
        await self._wiring.directory.refresh()
        report = await read_queue(self._store.redis, self._store.partitions)
        waiting = {one.domain: one for one in report.domains}
        now, found = self._wiring.clock(), []
        for name, domain in self._wiring.directory.domains().items():
            queue, hold = waiting.get(name), domain.hold
            ours = hold is not None and hold.probed and hold.holds(now)
            if (queue is None and not ours) or domain.alias_of:
                continue
            home = self._wiring.directory.home(name) or domain
            found.append(
                DomainState(
                    domain=name,
                    **_waiting(queue),
                    held_since=hold.since if hold is not None and ours else 0,
                    held_why=hold.reason if hold is not None and ours else "",
                    max_waiting=home.alert_waiting,
                    max_oldest=home.alert_oldest,
                )
            )
        return tuple(found)

    async def _engines(self) -> tuple[EngineState, ...]:
        reports = await Board(self._store).read()
        return tuple(
            EngineState(name=one.name, away_since=one.since if one.state == AWAY else 0, error=one.last_error)
            for one in together(reports, tuple(addresses(self._wiring.settings)))
        )

    async def _lags(self) -> tuple[tuple[str, int], ...]:
        now = await redis_now(self._store.redis)
        behind: dict[str, int] = {}
        for one in await read_health(self._store.redis, self._wiring.log, self._store.partitions, self._views, now):
            behind[one.view] = max(behind.get(one.view, 0), one.behind)
        return tuple(behind.items())

    async def _work(self) -> tuple[WorkState, ...]:
        return tuple([await self._stream(name) for name in _WORK])

    async def _stream(self, name: str) -> WorkState:
        """Of all partitions together. Work that is done leaves its stream, so the first entry is the oldest that is not."""
        key, group = _WORK[name]
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for partition in range(self._store.partitions):
                pipe.xrange(key(partition), count=1)
                pipe.xlen(key(partition))
            answers: Any = await pipe.execute()
        firsts = [int(rows[0][0].partition(b"-")[0]) for rows in answers[::2] if rows]
        count, oldest = sum(answers[1::2]), min(firsts, default=0) * 1_000_000
        consumers = await self._consumers(key, group) if oldest and self._wiring.clock() - oldest > 30 * SECOND else 0
        return WorkState(stream=name, oldest=oldest, count=count, consumers=consumers)

    async def _consumers(self, key: Callable[[int], str], group: str) -> int:
        """Processes that read it and were heard of lately."""
        names = set()
        with faults():
            for partition in range(self._store.partitions):
                if await self._store.redis.exists(key(partition)):
                    groups: Any = await self._store.redis.xinfo_groups(key(partition))
                    if any(one["name"] == group.encode() for one in groups):
                        rows: Any = await self._store.redis.xinfo_consumers(key(partition), group)
                        names |= {row["name"] for row in rows if row["idle"] < HEARD_OF_MS}
        return len(names)

    async def _differences(self) -> tuple[tuple[str, str], ...] | None:
        """None: no self-check has ended yet."""
        found = await last_selfcheck(self._store.redis)
        if found is None:
            return None
        return tuple((view.view, _different(view)) for view in found.views if not view.equal)

    async def _books(self) -> tuple[tuple[str, str], ...] | None:
        """None: nobody has checked them lately."""
        found = await last_check(self._store.redis)
        if found is None or self._wiring.clock() - found.at > UNCHECKED:
            return None
        wrong = {one.domain: _unbalanced(one) for one in found.unbalanced}
        for one in found.mismatches:
            wrong.setdefault(one.domain, f"they do not agree with message {one.id}")
        return tuple(wrong.items())

    async def _archive(self) -> tuple[int, str]:
        """Since when something should be archived and out of Redis that is there still."""
        settings = self._wiring.settings
        if not settings.archive:
            return 0, ""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for partition in range(self._store.partitions):
                pipe.xrange(keys.log(partition), count=1)
            answers: Any = await pipe.execute()
        firsts = [(int(rows[0][0].partition(b"-")[0]), number) for number, rows in enumerate(answers) if rows]
        if not firsts:
            return 0, ""
        first, partition = min(firsts)
        since = first * 1_000_000 + int(settings.hot_period) + TRIMMED_EVERY
        late = since < self._wiring.clock()
        return (since, f"partition {partition}: see `gatepost archive`") if late else (0, "")

    async def _memory(self) -> tuple[int, int]:
        with faults():
            fullest = max(await memory(self._store.redis), key=lambda one: one.part)
        return fullest.used, fullest.most

    async def _parked(self) -> int:
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for partition in range(self._store.partitions):
                pipe.hlen(keys.parked(partition))
            return sum(await pipe.execute())

    async def _receiver(self) -> int:
        return await gateways.last_heard(self._store.redis, self._wiring.clock())

    def _disk(self) -> int | None:
        try:
            found = os.statvfs(self._wiring.settings.data)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize

    def _certificate(self) -> int | None:
        """When the one of the settings ends. A self-signed one is made anew by itself."""
        path = self._wiring.settings.tls_certificate
        return certificate_end(Path(path)) if path else None


def _unbalanced(one: Unbalanced) -> str:
    if one.difference:
        what = "are missing" if one.difference > 0 else "are counted twice"
        return f"{abs(one.difference):,} recipients {what}"
    return f"{one.odd:,} recipients were named by events that cannot be"


def _different(view: CheckedView) -> str:
    if view.failed:
        return f"it could not be compared: {view.failed}"
    return "; ".join([f"{view.differences:,} differences", *view.named[:1]])


def fresh(lags: Sequence[tuple[str, int]]) -> bool:
    """Whether the view of the queue is near enough to what happens to be judged by."""
    return all(behind < STALE for view, behind in lags if view == QUEUE)


def _waiting(queue: DomainQueue | None) -> dict[str, Any]:
    if queue is None:
        return {}
    said = queue.error.attempts[-1].reply if queue.error is not None and queue.error.attempts else ""
    down = queue.since if queue.state == "deferred" else 0
    return {"messages": queue.messages, "oldest": queue.oldest or 0, "down_since": down or 0, "said": said}


def certificate_end(path: Path) -> int | None:
    """ns; None when that cannot be read: whoever uses it will say so."""
    from cryptography import x509  # noqa: PLC0415 - for those only who have a certificate

    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None
    return int(found.not_valid_after_utc.timestamp()) * SECOND
