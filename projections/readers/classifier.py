"""Reading what the classifier learnt: for the scanner, one round trip for a message; and for people.

The scanner decides from heads and configuration, never from a view; this is the one exception, because these counts are advice: they
may lag, and a message whose words nobody spoke of yet is judged by the other tests.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from redis.exceptions import ResponseError

from pipeline import keys
from pipeline.asking import Asking
from pipeline.faults import StoreError
from pipeline.ids import partition_for
from pipeline.scanning.bayes.evidence import Counted
from pipeline.store import Client, faults
from projections.builds import live_prefixes
from projections.classifier import NAME, places, split
from projections.readers.common import locate

WEIGHT: Final = 3
"""What people of a domain said of its mail counts so many times beside what was said for all."""
REFRESH: Final = 5.0
"""Seconds for which totals are remembered."""
ASKING: Final = 1.0
"""Seconds more for which they serve while somebody asks for new ones."""
REMEMBERED: Final = 10_000
"""Domains whose totals are."""
FIELDS: Final = ["spam", "ham"]
ALL: Final = ""
"""The name under which it is learnt for all domains."""


class Totals(msgspec.Struct, frozen=True):
    """Messages that a table was learnt from."""

    prefix: str = ""
    """Of the live view's keys; empty: there is none."""
    spam: int = 0
    ham: int = 0
    until: float = 0.0

    @property
    def any(self) -> bool:
        return bool(self.prefix) and self.spam + self.ham > 0


class Learnt(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one table."""

    domain: str
    """Empty: for all domains."""
    spam: int
    ham: int
    tokens: int
    octets: int
    """Of memory, about; 0 where Redis does not say."""
    at: int
    by: str
    how: str


class StoredCounts:
    """The counts of a store, as the classifier asks for them. One per process."""

    def __init__(self, redis: Client, partitions: int, minimum: int) -> None:
        """`minimum`: messages of each kind that have to be learnt before it says anything."""
        self._redis = redis
        self._asking = Asking(redis)
        self._partitions = partitions
        self._minimum = minimum
        self._totals: dict[str, Totals] = {}
        self._prefixes: dict[int, tuple[str, float]] = {}
        """Of partitions: of the live view's keys, and until when that is remembered."""

    def untrained(self, domain: str) -> bool:
        now = time.monotonic()
        shared, own = self._totals.get(ALL), self._totals.get(domain)
        if shared is None or own is None or domain == ALL or min(shared.until, own.until) <= now:
            return False
        return not self._enough(shared, own)

    async def trained(self, domain: str) -> bool:
        return self._enough(*await self._both(domain))

    def _enough(self, shared: Totals, own: Totals) -> bool:
        return min(shared.spam + own.spam, shared.ham + own.ham) >= self._minimum

    async def key(self) -> bytes:
        with faults():
            stored: Any = await self._redis.hget(keys.STORE, "learning")
        if not stored:
            raise StoreError("there are counts of words and no key to them", remedy="Restore the store from a backup.")
        return bytes(stored)

    async def of(self, domain: str, tokens: Sequence[bytes]) -> Counted:
        shared, own = await self._both(domain)
        sought = places(tokens)
        tables = [(one, name, weight) for one, name, weight in ((shared, ALL, 1), (own, domain, WEIGHT)) if one.any]
        if not tables or not sought:
            return Counted(0, 0, [], 0)
        answers = await self._asking.fields(*[(f"{totals.prefix}w:{name}", sought) for totals, name, _ in tables])
        return combined([
            (totals.spam, totals.ham, weight, counts) for (totals, _, weight), counts in zip(tables, answers, strict=True)
        ])  # fmt: skip

    async def _both(self, domain: str) -> tuple[Totals, Totals]:
        return await self._of(ALL), await self._of(domain) if domain != ALL else Totals()

    async def _of(self, domain: str) -> Totals:
        now = time.monotonic()
        known = self._totals.get(domain)
        if known is not None:
            if known.until > now:
                return known
            # One asks whether more was learnt; all the others of the hundred that are looked at just now go on with what is known.
            self._totals[domain] = msgspec.structs.replace(known, until=now + ASKING)
        prefix = await self._prefix(partition_for(domain, self._partitions), now)
        spam = ham = 0
        if prefix:
            ((spam, ham),) = map(_numbers, await self._asking.fields((f"{prefix}d:{domain}", FIELDS)))
        if len(self._totals) >= REMEMBERED:
            self._totals.clear()
        self._totals[domain] = fresh = Totals(prefix, spam, ham, now + REFRESH)
        return fresh

    async def _prefix(self, partition: int, now: float) -> str:
        """Asked for once in a while for all of a partition's domains: it changes when the view is built anew."""
        prefix, until = self._prefixes.get(partition, ("", 0.0))
        if until <= now:
            prefix = (await live_prefixes(self._redis, [partition], NAME)).get(partition, "")
            self._prefixes[partition] = prefix, now + REFRESH
        return prefix


def combined(tables: Sequence[tuple[int, int, int, Sequence[Any]]]) -> Counted:
    """What several tables say of the same tokens: of each (spam, ham, its weight, a number or None for each token)."""
    numbers: list[int] = []
    for _, _, weight, counts in tables:
        # Both counts of a number are multiplied and added at once.
        weighed = [int(count) * weight if count is not None else 0 for count in counts]
        numbers = list(map(operator.add, numbers, weighed)) if numbers else weighed
    return Counted(
        spam=sum(spam * weight for spam, _, weight, _ in tables),
        ham=sum(ham * weight for _, ham, weight, _ in tables),
        tokens=[split(number) for number in numbers if number > 0],
        learnt=sum(spam + ham for spam, ham, _, _ in tables),
    )


async def read_totals(redis: Client, prefix: str, domain: str) -> tuple[int, int]:
    with faults():
        stored: Any = await redis.hmget(f"{prefix}d:{domain}", FIELDS)
    return _numbers(stored)


def _numbers(stored: Sequence[bytes | None]) -> tuple[int, int]:
    spam, ham = (max(int(number or 0), 0) for number in stored)
    return spam, ham


async def read_learnt(redis: Client, partitions: int, domain: str | None = None) -> tuple[Learnt, ...]:
    """What is known of one table ("": that for all), or of all that have anything."""
    found = []
    for prefix, name in await locate(redis, partitions, NAME, domain, "l:"):
        spam, ham = await read_totals(redis, prefix, name)
        with faults():
            tokens: Any = await redis.hlen(f"{prefix}w:{name}")
            octets = await _memory(redis, f"{prefix}w:{name}") if tokens else 0
            last: Any = await redis.hmget(f"{prefix}l:{name}", ["at", "by", "how"])
        at, by, how = [(field or b"").decode("utf-8", "replace") for field in last]
        found.append(
            Learnt(
                domain=name, spam=spam, ham=ham, tokens=int(tokens), octets=octets, at=int(at or 0), by=by, how=how
            )
        )  # fmt: skip
    return tuple(found)


async def _memory(redis: Client, key: str) -> int:
    try:
        used: Any = await redis.memory_usage(key)
    except ResponseError:  # a Redis that does not have it, or does not let us
        return 0
    return int(used or 0)
