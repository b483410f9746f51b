"""Once a night every view is made anew from the events and compared with the live one, slowly enough that mail does not notice.

Any number of watchers may run: one holds a lease while it compares, and a night that was checked is written down. When the one that
compares dies, another begins again, but not for ever: what kills it might be the check.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog

from pipeline import keys, lease
from pipeline.faults import GatepostError, StoreError
from pipeline.pause import end
from pipeline.store import Client, faults
from projections.base import History, Projection
from projections.compare import Difference
from projections.readers.selfcheck import CheckedView, SelfCheck, last_selfcheck
from projections.rebuild import Share
from projections.replay import Progress, Report, replay

NIGHT_EVERY: Final = 60.0
"""Seconds between two looks whether it is time."""
SHARE: Final = 0.2
"""Of one processor, and of Redis, that a check may use: at 1,000 messages/s the rest is needed."""
WINDOW: Final = dt.timedelta(hours=6)
"""So long after its time a check may begin that could not before; later it is the next night's."""
BUDGET: Final = 5 * 3600.0
"""Seconds of one check. Views that there was no time for come first the next night."""
TRIES: Final = 3
"""How often a night's check is begun."""
LEASE: Final = 30.0
NO_TIME: Final = "there was no time for it; it comes first the next night"
GONE: Final = "its first events are gone, as their retention is over, and it counts since then"
NAMED: Final = 20
_SHOWN: Final = 200

_log = structlog.get_logger("selfcheck")


def night_of(now: dt.datetime, at: str) -> str | None:
    """The night whose check it is time for, as YYYY-MM-DD; None when it is not. `now` and `at` (HH:MM): by the clock on the wall."""
    begins = dt.time.fromisoformat(at)
    for day in (now.date(), now.date() - dt.timedelta(days=1)):
        since = now.replace(tzinfo=None) - dt.datetime.combine(day, begins)
        if dt.timedelta() <= since < WINDOW:
            return day.isoformat()
    return None


def line(one: Difference) -> str:
    where = f"{one.key} {one.field}".rstrip()
    return f"partition {one.partition}, {where}: live {one.live[:_SHOWN]}, rebuilt {one.rebuilt[:_SHOWN]}"


class NightlyCheck:
    def __init__(
        self,
        redis: Client,
        history: History,
        partitions: Sequence[int],
        views: Sequence[Projection],
        *,
        at: str,
        stop: asyncio.Event,
        clock: Callable[[], int] = time.time_ns,
        share: float = SHARE,
        budget: float = BUDGET,
    ) -> None:
        """`at`: HH:MM by this machine's clock on the wall; empty: never. `clock`: ns since 1970. `budget`: seconds."""
        self._redis = redis
        self._history = history
        self._partitions = partitions
        self._views = views
        self._at = at
        self._stop = stop
        self._clock = clock
        self._share = share
        self._budget = budget
        self._token = secrets.token_hex(8)

    async def look(self) -> int:
        """Check if it is time; 1 when a check was made. Leaves off at `stop`."""
        checking = asyncio.create_task(self._look(), name="self-check")
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((checking, stopping), return_when=asyncio.FIRST_COMPLETED)
            return int(checking.result()) if checking.done() else 0
        finally:
            await end([checking, stopping])

    async def _look(self) -> bool:
        now = dt.datetime.fromtimestamp(self._clock() / 1e9).astimezone()
        night = night_of(now, self._at) if self._at else None
        if night is None or await self._over(night) or not await self._lease():
            return False
        holding = asyncio.create_task(self._hold())
        try:
            # Somebody may have done it between our look and our lease.
            if await self._over(night):
                return False
            await self._count(night)
            await self._check_all(night)
        finally:
            await end([holding])
            with suppress(StoreError):
                await lease.release(self._redis, keys.SELFCHECK_LEASE, self._token)
        return True

    async def _begun(self, night: str) -> int:
        """How often this night's check was begun."""
        with faults():
            stored: Any = await self._redis.hget(keys.SELFCHECK, "begun")
        begun, _, times = (stored or b"").decode().partition(" ")
        return int(times) if begun == night else 0

    async def _over(self, night: str) -> bool:
        last = await last_selfcheck(self._redis)
        return (last is not None and last.night == night) or await self._begun(night) >= TRIES

    async def _count(self, night: str) -> None:
        times = await self._begun(night) + 1
        with faults():
            await self._redis.hset(keys.SELFCHECK, "begun", f"{night} {times}")

    async def _lease(self) -> bool:
        """Take or keep the right to compare."""
        return await lease.hold(self._redis, keys.SELFCHECK_LEASE, self._token, LEASE)

    async def _hold(self) -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            with suppress(StoreError):
                await self._lease()

    async def _check_all(self, night: str) -> None:
        before = await last_selfcheck(self._redis)
        unfinished = {view.view for view in before.views if view.skipped == NO_TIME} if before is not None else set()
        ordered = sorted(self._views, key=lambda view: view.name not in unfinished)
        started, until = self._clock(), time.monotonic() + self._budget
        found = [await self.check(view, until) for view in ordered]
        check = SelfCheck(night=night, started=started, ended=self._clock(), views=tuple(found))
        with faults():
            await self._redis.hset(keys.SELFCHECK, "last", msgspec.msgpack.encode(check))
        _tell(check)

    async def check(self, view: Projection, until: float) -> CheckedView:
        """Compare one view; it is given up at `until` (monotonic)."""
        started = time.monotonic()
        events = 0

        def told(progress: Progress) -> None:
            nonlocal events
            events = progress.events

        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - started):
                report = await replay(
                    self._redis,
                    self._history,
                    self._partitions,
                    view,
                    now=self._clock(),
                    pace=Share(self._share),
                    progress=told,
                )
        except TimeoutError:
            seconds = time.monotonic() - started
            return CheckedView(view=view.name, events=events, seconds=seconds, skipped=NO_TIME)
        except StoreError:
            raise  # Redis is away, which says nothing about the view
        except GatepostError as fault:
            seconds = time.monotonic() - started
            return CheckedView(view=view.name, events=events, seconds=seconds, failed=str(fault))
        return _checked(report)


def _checked(report: Report) -> CheckedView:
    if report.gone and not report.equal:
        return CheckedView(view=report.view, events=report.events, seconds=report.seconds, skipped=GONE)
    return CheckedView(
        view=report.view,
        events=report.events,
        seconds=report.seconds,
        differences=report.count,
        named=tuple(map(line, report.differences[:NAMED])),
    )


def _tell(check: SelfCheck) -> None:
    for view in check.views:
        if view.differences:
            _log.error("a view is not what the events say", view=view.view, differences=view.differences)
        elif view.failed or view.skipped:
            _log.warning("a view was not compared", view=view.view, reason=view.failed or view.skipped)
    if check.equal:
        _log.info("all views are what the events say", views=len(check.views), events=check.events)
