"""How engines are: when one is left alone for a while, and what is told of all of them. Pure; times are ns since 1970.

An engine that failed AFTER times in a row is not asked for a second, then for two, four, ... a minute at most; after each of these one
message is given to it, and the first answer brings everything back. Meanwhile somebody looks each second or so whether it is there, which
brings it back as well. So an engine that is away costs no message its time, and one that is back is noticed at once.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pipeline.units import SECOND

AFTER: Final = 3
FIRST_PAUSE: Final = SECOND
LONGEST_PAUSE: Final = 60 * SECOND
SAMPLES: Final = 300
"""Scans whose times are remembered, in each process."""
SLOW: Final = 2
"""An engine is slow when one scan in twenty takes longer than the deadline divided by this."""

OK, SLOW_STATE, AWAY, UNKNOWN = "ok", "slow", "away", "unknown"
WORST_LAST: Final = (UNKNOWN, OK, SLOW_STATE, AWAY)


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one engine, as one process sees it."""

    name: str
    version: str = ""
    deadline: int = 0
    """ns; 0: it has none."""
    messages: int = 0
    """It was given, since the process started."""
    errors: int = 0
    failing: int = 0
    """In a row, up to now."""
    since: int = 0
    """When the first of these was."""
    skipped_until: int = 0
    last_error: str = ""
    last_error_at: int = 0
    times: tuple[int, ...] = ()
    """us of the last scans that it answered."""
    heard_at: int = 0
    """When it last answered anything."""


class Together(msgspec.Struct, frozen=True, kw_only=True):
    """Of one engine, as all processes see it."""

    name: str
    versions: tuple[str, ...]
    state: str
    """ok; slow; away; unknown: nothing was asked of it yet."""
    since: int = 0
    """Since when it is away."""
    skipped_until: int = 0
    processes: int = 0
    away_for: int = 0
    """Processes that cannot use it."""
    messages: int = 0
    errors: int = 0
    median: int = 0
    """us"""
    p95: int = 0
    last_error: str = ""
    last_error_at: int = 0


class Tally:
    """Of one engine in this process: what it did, and whether it may be asked."""

    def __init__(self, name: str, deadline: int = 0) -> None:
        self._name = name
        self._deadline = deadline
        self._times: collections.deque[int] = collections.deque(maxlen=SAMPLES)
        self._messages = self._errors = self._failing = 0
        self._since = self._until = self._pause = self._heard_at = 0
        self._last = ("", 0)
        self._trial = False

    def may_ask(self, now: int) -> bool:
        """Whether it may be given a message. After a pause that is over, one at a time may."""
        return self._failing < AFTER or (now >= self._until and not self._trial)

    def asked(self) -> None:
        self._messages += 1
        self._trial = self._trial or self._failing >= AFTER

    def answered(self, now: int, took: int) -> None:
        """`took` in ns."""
        self._times.append(took // 1000)
        self._recovered(now, 0)

    def reached(self, now: int) -> None:
        """It is there, though it was given no message. Should the next one fail, it is left alone again at once."""
        self._recovered(now, min(self._failing, AFTER - 1))

    def _recovered(self, now: int, failing: int) -> None:
        self._failing, self._pause, self._until, self._trial = failing, 0, 0, False
        self._since = self._since if failing else 0
        self._heard_at = now

    def failed(self, now: int, error: str, *, message: bool = True) -> None:
        """`message`: it was given one; else it was only looked whether it is there."""
        self._errors += message
        self._last = (error, now)
        was_out = self._failing >= AFTER
        trial, self._trial = self._trial, False
        self._failing += 1
        self._since = self._since or now
        # Of many under way when it went away each fails; they are one failure. A look makes no pause longer.
        if self._failing >= AFTER and (not was_out or (message and (trial or now >= self._until))):
            self._pause = min(LONGEST_PAUSE, self._pause * 2) if self._pause else FIRST_PAUSE
            self._until = now + self._pause

    def unable(self, now: int, error: str) -> None:
        """It answered that it cannot look at a message: an error, and it is there all the same."""
        self._errors += 1
        self._last = (error, now)
        self._recovered(now, 0)

    @property
    def failing(self) -> int:
        return self._failing

    @property
    def heard_at(self) -> int:
        return self._heard_at

    @property
    def until(self) -> int:
        """Until when it is not asked."""
        return self._until if self._failing >= AFTER else 0

    @property
    def last_error(self) -> str:
        return self._last[0]

    def health(self, version: str) -> Health:
        return Health(
            name=self._name, version=version, deadline=self._deadline, messages=self._messages, errors=self._errors,
            failing=self._failing, since=self._since, skipped_until=self.until, last_error=self._last[0],
            last_error_at=self._last[1], times=tuple(self._times), heard_at=self._heard_at,
        )  # fmt: skip


def quantile(times: Sequence[int], part: float) -> int:
    """Of sorted times; 0 of none."""
    return times[min(len(times) - 1, int(len(times) * part))] if times else 0


def state_of(health: Health) -> str:
    if health.failing >= AFTER:
        return AWAY
    if not health.heard_at and not health.times:
        return AWAY if health.failing else UNKNOWN
    late = health.deadline and quantile(sorted(health.times), 0.95) * 1000 > health.deadline // SLOW
    return SLOW_STATE if late else OK


def together(reports: Iterable[Sequence[Health]], names: Sequence[str]) -> list[Together]:
    """All processes' health, one row per engine: those of `names` first, also the ones that no process speaks of."""
    found: dict[str, list[Health]] = {name: [] for name in names}
    for report in reports:
        for health in report:
            found.setdefault(health.name, []).append(health)
    return [_joined(name, healths) for name, healths in found.items()]


def _joined(name: str, healths: Sequence[Health]) -> Together:
    states = [state_of(health) for health in healths] or [UNKNOWN]
    times = sorted(time for health in healths for time in health.times)
    away = [health for health, state in zip(healths, states, strict=False) if state == AWAY]
    last = max(healths, key=lambda health: health.last_error_at, default=Health(name=name))
    return Together(
        name=name,
        versions=tuple(sorted({health.version for health in healths if health.version})),
        state=max(states, key=WORST_LAST.index),
        since=min((health.since for health in away if health.since), default=0),
        skipped_until=max((health.skipped_until for health in away), default=0),
        processes=len(healths),
        away_for=len(away),
        messages=sum(health.messages for health in healths),
        errors=sum(health.errors for health in healths),
        median=quantile(times, 0.5),
        p95=quantile(times, 0.95),
        last_error=last.last_error,
        last_error_at=last.last_error_at,
    )
