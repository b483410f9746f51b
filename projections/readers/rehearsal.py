"""Counts in memory, with the same meaning as those of the store: what a lesson would change is known before it is given.

Teaching many messages asks of each whether the classifier knows it already; a benchmark teaches one half and asks for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.ids import partition_for
from pipeline.scanning.bayes.evidence import Counted
from pipeline.store import Client, faults
from projections.builds import live_prefixes
from projections.classifier import NAME, SPAM, places
from projections.readers.classifier import ALL, WEIGHT, combined, read_totals

PAGE = 5000


class _Table(msgspec.Struct):
    counts: dict[bytes, int]
    spam: int = 0
    ham: int = 0


class Rehearsal:
    """Has what the classifier asks for (`Counts`)."""

    def __init__(self, *, minimum: int = 1, key: bytes = b"") -> None:
        self._minimum = minimum
        self._key = key
        self._tables: dict[str, _Table] = {}

    async def load(self, redis: Client, partitions: int, domain: str) -> None:
        """Begin with what the store has learnt for a domain, or for all."""
        partition = partition_for(domain, partitions)
        prefix = (await live_prefixes(redis, [partition], NAME)).get(partition)
        if prefix is None:
            return
        counts: dict[bytes, int] = {}
        cursor = 0
        while True:
            with faults():
                cursor, page = await redis.hscan(f"{prefix}w:{domain}", cursor, count=PAGE)
            found: dict[bytes, Any] = page
            counts.update({place: int(count) for place, count in found.items()})
            if not cursor:
                break
        spam, ham = await read_totals(redis, prefix, domain)
        self._tables[domain] = _Table(counts, spam, ham)

    def learn(self, domain: str, tokens: Sequence[bytes], *, spam: bool) -> None:
        table = self._tables.setdefault(domain, _Table({}))
        amount = SPAM if spam else 1
        for place in places(tokens):
            table.counts[place] = table.counts.get(place, 0) + amount
        if spam:
            table.spam += 1
        else:
            table.ham += 1

    def counted(self, domain: str, tokens: Sequence[bytes]) -> Counted:
        names = [(ALL, 1)] if domain == ALL else [(ALL, 1), (domain, WEIGHT)]
        sought = places(tokens)
        tables = [
            (table.spam, table.ham, weight, list(map(table.counts.get, sought)))
            for name, weight in names
            if (table := self._tables.get(name)) is not None
        ]
        return combined(tables)

    def untrained(self, domain: str) -> bool:
        del domain
        return False

    async def trained(self, domain: str) -> bool:
        tables = [table for name in {ALL, domain} if (table := self._tables.get(name)) is not None]
        return min(sum(table.spam for table in tables), sum(table.ham for table in tables)) >= self._minimum

    async def key(self) -> bytes:
        return self._key

    async def of(self, domain: str, tokens: Sequence[bytes]) -> Counted:
        return self.counted(domain, tokens)

    @property
    def size(self) -> tuple[int, int, int]:
        """Messages of spam and of other mail that were learnt, and different tokens of them."""
        tables = self._tables.values()
        return sum(one.spam for one in tables), sum(one.ham for one in tables), sum(len(one.counts) for one in tables)
