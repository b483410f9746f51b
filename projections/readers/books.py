"""The books, and whether they balance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.store import Client, faults
from projections.base import OWN
from projections.books import FIELDS, NAME
from projections.readers.common import chunks, locate, numbers


class DomainBooks(msgspec.Struct, frozen=True, kw_only=True):
    """All in recipients, since the first event; but `waiting` and `quarantined` are those of now."""

    domain: str
    """`*`: our own mail to domains that are not ours (projections.base.OWN)."""
    received: int = 0
    delivered: int = 0
    failed: int = 0
    discarded: int = 0
    redirected: int = 0
    """To somebody else, as a message of its own."""
    waiting: int = 0
    quarantined: int = 0
    messages: int = 0
    """Received."""
    bytes: int = 0
    """Received, each message once."""
    deliveries: int = 0
    """Messages handed over, once per server that took them."""
    odd: int = 0
    """Recipients named by events that cannot be; anything but 0 is damage."""

    @property
    def difference(self) -> int:
        """Recipients received and not accounted for; below 0: accounted for more than once."""
        ended = self.delivered + self.failed + self.discarded + self.redirected
        return self.received - ended - self.waiting - self.quarantined

    @property
    def balanced(self) -> bool:
        return self.difference == 0 and self.odd == 0


class BooksReport(msgspec.Struct, frozen=True, kw_only=True):
    domains: tuple[DomainBooks, ...]
    total: DomainBooks

    @property
    def balanced(self) -> bool:
        """Whether each domain's books balance: what is missing in one may be too much in another."""
        return all(one.balanced for one in self.domains)


async def read_books(redis: Client, partitions: int, domain: str | None = None) -> BooksReport:
    """The books of one domain, or of every domain that ever received mail."""
    domains: list[DomainBooks] = []
    for some in chunks(await locate(redis, partitions, NAME, domain, "d:")):
        with faults():
            pipe = redis.pipeline(transaction=False)
            for prefix, name in some:
                pipe.hgetall(f"{prefix}d:{name}")
            answers: Any = await pipe.execute()
        for (_, name), fields in zip(some, answers, strict=True):
            domains.append(DomainBooks(domain=name, **dict(zip(FIELDS, numbers(fields, FIELDS), strict=True))))
    own = [one for one in domains if one.domain == OWN]  # a row per partition
    domains = [one for one in domains if one.domain != OWN]
    if own:
        domains.append(_added(OWN, own))
    return BooksReport(domains=tuple(domains), total=_added("", domains))


def _added(name: str, some: Sequence[DomainBooks]) -> DomainBooks:
    return DomainBooks(domain=name, **{field: sum(getattr(one, field) for one in some) for field in FIELDS})
