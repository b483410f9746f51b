"""How much comes and goes, per minute: from the counts that a watcher takes of the books twice a minute (workers/bookkeeping.py).

Counts are kept as what was added since the count before, and only of domains where something was: 10,000 quiet domains cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.store import Client, faults

MINUTE: Final = 60_000_000_000
WINDOWS: Final = (5 * MINUTE, 15 * MINUTE)
"""ns over which is averaged."""
DOMAINS_KEPT: Final = 32
"""Counts per domain: a quarter of an hour, and a little more."""
TOTALS_KEPT: Final = 2 * 24 * 60
"""Counts of all domains together: a day."""


class Total(msgspec.Struct, frozen=True, array_like=True):
    """All domains together at one moment."""

    at: int
    waiting: int
    """Messages."""
    span: int
    """ns since the count before; 0: there was none."""
    arrived: int
    """Messages in that time."""
    delivered: int


class Counted(msgspec.Struct, frozen=True, array_like=True):
    """Each domain where something moved."""

    at: int
    span: int
    domains: dict[str, tuple[int, int]]
    """Domain -> messages that arrived, and that were delivered."""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Messages per minute."""

    arrived: float
    delivered: float

    @property
    def grows(self) -> bool:
        """More comes than is delivered, by more than what is under way at any moment."""
        return self.arrived > max(1.1 * self.delivered, self.delivered + 1)

    def drained(self, messages: int) -> int | None:
        """Ns until so many are delivered at this rate; None when none is."""
        return int(messages / self.delivered * MINUTE) if self.delivered else None


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    total: tuple[Rate | None, ...]
    """Over each of `WINDOWS`; None: nothing was counted in it."""
    domains: Mapping[str, tuple[Rate | None, ...]]
    """Those where something moved; of all others it is `none`."""
    waiting: tuple[tuple[int, int], ...]
    """(when, messages), the oldest first: how much waited over the last day, as far as it was counted."""

    @property
    def none(self) -> tuple[Rate | None, ...]:
        """Of a domain where nothing moved."""
        return tuple(None if rate is None else Rate(arrived=0.0, delivered=0.0) for rate in self.total)

    def of(self, domains: Iterable[str]) -> tuple[Rate | None, ...]:
        """Of some domains together."""
        found = [self.domains[domain] for domain in domains if domain in self.domains]
        return tuple(map(_added, zip(self.none, *found, strict=True)))


def _added(rates: Iterable[Rate | None]) -> Rate | None:
    known = [rate for rate in rates if rate is not None]
    if not known:
        return None
    return Rate(arrived=sum(rate.arrived for rate in known), delivered=sum(rate.delivered for rate in known))


async def read_rates(redis: Client, now: int, *, history: int = 0) -> Rates:
    """`now`: ns. `history`: as many of the newest counts of what waits. Reads a few dozen small records, however much waits."""
    with faults():
        pipe = redis.pipeline(transaction=False)
        pipe.lrange(keys.BOOKS_TOTALS, 0, max(history, DOMAINS_KEPT) - 1)
        pipe.lrange(keys.BOOKS_DOMAINS, 0, -1)
        answers: Any = await pipe.execute()
    totals = list(_read(_total, answers[0]))
    counted = list(_read(_counted, answers[1]))
    return Rates(
        total=tuple(_overall(totals, now, window) for window in WINDOWS),
        domains=_domains(counted, now),
        waiting=tuple((one.at, one.waiting) for one in reversed(totals)),
    )


def _domains(counted: Sequence[Counted], now: int) -> dict[str, tuple[Rate | None, ...]]:
    found = [_window(counted, now, window) for window in WINDOWS]
    names = {name for rates, _ in found for name in rates}
    return {name: tuple(rates.get(name, none) for rates, none in found) for name in names}


def _window(counted: Sequence[Counted], now: int, window: int) -> tuple[dict[str, Rate], Rate | None]:
    """The rate of each domain where something moved, and that of all others."""
    inside = [one for one in counted if now - window < one.at <= now and one.span]
    minutes = sum(one.span for one in inside) / MINUTE
    if not minutes:
        return {}, None
    sums: dict[str, tuple[int, int]] = {}
    for one in inside:
        for name, (arrived, delivered) in one.domains.items():
            before = sums.get(name, (0, 0))
            sums[name] = (before[0] + arrived, before[1] + delivered)
    return {
        name: Rate(arrived=arrived / minutes, delivered=delivered / minutes)
        for name, (arrived, delivered) in sums.items()
    }, Rate(arrived=0.0, delivered=0.0)


def _overall(totals: Sequence[Total], now: int, window: int) -> Rate | None:
    inside = [one for one in totals if now - window < one.at <= now and one.span]
    minutes = sum(one.span for one in inside) / MINUTE
    if not minutes:
        return None
    return Rate(
        arrived=sum(one.arrived for one in inside) / minutes, delivered=sum(one.delivered for one in inside) / minutes
    )


_total: Final = msgspec.msgpack.Decoder(Total).decode
_counted: Final = msgspec.msgpack.Decoder(Counted).decode


def _read(decode: Any, records: Iterable[bytes]) -> Iterable[Any]:
    for record in records:
        try:
            yield decode(record)
        except msgspec.DecodeError:  # of another release: it is gone in a quarter of an hour
            continue
