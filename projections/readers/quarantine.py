"""What is kept, the newest first: filters of any combination, page by page. What the filters mean is in quarantine_filters.py, how the
index is walked in quarantine_walk.py.

Each exact filter has entries in the index: those of the value with the fewest messages are walked, those that the other values do not
have are passed over, and the row of what is left is checked against all filters. A filter that no index serves (a part of an address
or of a word) is checked on the rows alone. The work of one call is bounded: it ends with a full page or when it has looked at so many,
and says where to go on.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pipeline.address import mailbox_key
from pipeline.ids import partition_for, unpacked
from pipeline.store import Client, faults
from projections.builds import live_prefixes
from projections.quarantine import (
    NAME,
    PREFIX,
    SECOND,
    UNDELIVERABLE,
    Report,
    Row,
    decode_report,
    located,
)
from projections.readers.common import decoded, locate
from projections.readers.quarantine_filters import ALL, Query, copies_of, plan, seen_by
from projections.readers.quarantine_walk import (
    Stream,
    Walk,
    cursor_of,
    end_of,
    is_there,
    rarest,
    rows_of,
    sifted,
    span_of,
    written,
)

__all__ = ["Kept", "Page", "Query", "Stats", "read_kept", "read_reports", "read_stats"]

_AT_ONCE: Final = 1000
BUDGET: Final = 3_000
"""Rows looked at in one call: some 30 ms."""
SIFTED: Final = 12_000
"""Entries looked at in one call where the index can be asked for more than one value."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    domain: str
    sender: str
    header_from: str
    recipients: tuple[str, ...]
    """Whose copies are kept, of those that may be seen."""
    classes: tuple[str, ...]
    """What they are kept as, without repetition."""
    subject: str
    score: float
    country: str
    tests: tuple[str, ...]
    reason: str
    size: int
    client: str
    received: int
    since: int
    expires: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    messages: tuple[Kept, ...]
    after: str
    """Where to go on; empty when there is no more."""
    looked: int
    """Rows that were checked for this page."""
    candidates: int
    """Rows that would have to be checked from where this page began, at most."""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    domain: str
    messages: int
    bytes: int
    classes: dict[str, int]
    countries: dict[str, int]
    oldest: int | None
    """Since when the oldest is kept, to a second (ns)."""
    odd: int


async def read_kept(
    redis: Client, partitions: int, query: Query, *, limit: int = 50, after: str = "", budget: int = 0
) -> Page:
    """A page of what is kept. `after`: as the page before said; empty for the first. Raises ValueError for another text.

    `budget`: entries looked at, at most; 0: as many as take some 30 ms.
    """
    wanted = [partition_for(query.domain, partitions)] if query.domain else range(partitions)
    prefixes = list((await live_prefixes(redis, wanted, NAME)).values())
    sources, checks = plan(query)
    span = span_of(query, cursor_of(after) if after else None)
    # Who may see some copies walks these and no others: how many there are, and where a page ends, is said.
    walked = sources if query.recipients is None else [copies_of(query.recipients)]
    chosen, candidates = await rarest(redis, prefixes, walked, span)
    others = [source for source in sources if source not in (chosen, [ALL])]
    walk = Walk(redis, [Stream(prefix, value) for prefix in prefixes for value in chosen], span)
    budget = budget or (SIFTED if others else BUDGET)
    found: list[Kept] = []
    looked, last, step = 0, b"", limit
    while len(found) < limit and looked < budget:
        some = await walk.next(min(budget - looked, step))
        if not some:
            return Page(messages=tuple(found), after="", looked=looked, candidates=candidates)
        step = min(2 * step, _AT_ONCE)
        rows = await rows_of(redis, await sifted(redis, some, others))
        for _, end in some:
            looked += 1
            last = end
            row = rows.get(end)
            if row is not None and is_there(row, end) and all(check(row) for check in checks):
                found.append(_kept(unpacked(end[4:]), row, query))
                if len(found) == limit:
                    break
    return Page(messages=tuple(found), after=written(last), looked=looked, candidates=candidates)


async def read_stats(redis: Client, partitions: int, domain: str | None = None) -> tuple[Stats, ...]:
    """Of one domain, or of all where something is kept."""
    found = []
    for prefix, name in await locate(redis, partitions, NAME, domain, "d:"):
        key, value = located("d", name)
        with faults():
            pipe = redis.pipeline(transaction=False)
            pipe.hgetall(f"{prefix}d:{name}")
            pipe.zrangebylex(prefix + key, b"[" + value, b"(" + end_of(value), start=0, num=1)
            counts, oldest = await pipe.execute()
        fields = {field.decode("utf-8", "replace"): int(number) for field, number in counts.items()}
        if not fields.get("messages") and domain is None:
            continue
        found.append(
            Stats(
                domain=name,
                messages=fields.get("messages", 0),
                bytes=fields.get("bytes", 0),
                classes=_of_kind(fields, "class:"),
                countries=_of_kind(fields, "country:"),
                oldest=int.from_bytes(oldest[0][PREFIX : PREFIX + 4], "big") * SECOND if oldest else None,
                odd=fields.get("odd", 0),
            )
        )
    return tuple(found)


async def read_reports(redis: Client, partitions: int, domain: str | None = None) -> tuple[Report, ...]:
    """What was reported of a domain's mail, or of all, the newest first."""
    found: list[Report] = []
    for prefix, name in await locate(redis, partitions, NAME, domain, "p:"):
        with faults():
            rows: Any = await redis.lrange(f"{prefix}p:{name}", 0, -1)
        found += [decoded(decode_report, row, NAME) for row in rows]
    return tuple(sorted(found, key=lambda report: report.event.at, reverse=True))


def _of_kind(fields: dict[str, int], kind: str) -> dict[str, int]:
    named = {name.removeprefix(kind): number for name, number in fields.items() if name.startswith(kind)}
    return dict(sorted(named.items(), key=lambda pair: (-pair[1], pair[0])))


def _kept(message_id: str, row: Row, query: Query) -> Kept:
    seen = seen_by(query)
    kept = {one: name for one, name in row.kept.items() if seen is None or mailbox_key(one) in seen}
    return Kept(
        id=message_id, domain=row.domain, sender=row.sender, header_from=row.header_from, recipients=tuple(kept),
        classes=tuple(dict.fromkeys(kept.values())), subject=row.subject, score=row.score, country=row.country,
        tests=row.tests, reason=row.reason if set(kept.values()) != {UNDELIVERABLE} else "", size=row.size,
        client=row.client, received=row.received, since=row.since, expires=row.expires,
    )  # fmt: skip
