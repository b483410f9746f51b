"""What did not get in, and who is missing."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.ids import partition_for
from pipeline.store import Client, faults
from projections.builds import live_prefixes
from projections.readers.common import decoded, locate
from projections.refusals import NAME, UNKNOWN, Refusal, Tried, decode_refusal, decode_tried


class DomainRefusals(msgspec.Struct, frozen=True, kw_only=True):
    domain: str
    """Empty: none of ours was named."""
    counts: dict[str, int]
    """Reason -> how many since the first event."""
    refusals: tuple[Refusal, ...]
    """The newest first."""


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is not there, and that mail was sent to."""

    address: str
    count: int
    first: int
    last: int
    senders: tuple[str, ...]
    """Distinct, the newest first."""
    clients: tuple[str, ...]


class DomainTried(msgspec.Struct, frozen=True, kw_only=True):
    domain: str
    total: int
    """Unknown recipients since the first event, floods of guesses included."""
    missing: tuple[Missing, ...]
    """Of the newest attempts; the most wanted first."""


async def read_refusals(redis: Client, partitions: int, domain: str | None = None) -> tuple[DomainRefusals, ...]:
    """Of one domain ("" for what named none of ours), or of all that have any."""
    found = []
    for prefix, name in await locate(redis, partitions, NAME, domain, "d:"):
        with faults():
            pipe = redis.pipeline(transaction=False)
            pipe.hgetall(f"{prefix}d:{name}")
            pipe.lrange(f"{prefix}r:{name}", 0, -1)
            counts, records = await pipe.execute()
        found.append(
            DomainRefusals(
                domain=name,
                counts={reason.decode("utf-8", "replace"): int(number) for reason, number in counts.items()},
                refusals=tuple([decoded(decode_refusal, record, NAME) for record in records]),
            )
        )
    return tuple(found)


async def read_tried(redis: Client, partitions: int, domain: str) -> DomainTried:
    """Who is missing at a domain."""
    partition = partition_for(domain, partitions)
    prefix = (await live_prefixes(redis, [partition], NAME)).get(partition)
    if prefix is None:
        return DomainTried(domain=domain, total=0, missing=())
    with faults():
        pipe = redis.pipeline(transaction=False)
        pipe.hget(f"{prefix}d:{domain}", UNKNOWN)
        pipe.lrange(f"{prefix}t:{domain}", 0, -1)
        total, records = await pipe.execute()
    return DomainTried(domain=domain, total=int(total or 0), missing=_missing(records))


def _missing(records: Any) -> tuple[Missing, ...]:
    groups: dict[str, list[Tried]] = {}
    for record in records:
        tried = decoded(decode_tried, record, NAME)
        groups.setdefault(tried.address.lower(), []).append(tried)
    missing = [
        Missing(
            address=same[0].address,
            count=len(same),
            first=min(one.at for one in same),
            last=max(one.at for one in same),
            senders=tuple(dict.fromkeys(one.sender for one in same)),
            clients=tuple(dict.fromkeys(one.client for one in same)),
        )
        for same in groups.values()
    ]
    return tuple(sorted(missing, key=lambda one: (-one.count, -one.last)))
