"""The queue: per domain, per server, and message by message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pipeline.directory import Hold
from pipeline.events import Attempt
from pipeline.store import Client, faults
from projections.queue import FIELDS, LIVE, NAME, Down, LastError, decode_row
from projections.readers.ages import added, buckets, ranges
from projections.readers.common import chunks, decoded, locate, numbers
from projections.readers.destinations import ServerQueue, by_server, first

_decode_down = msgspec.msgpack.Decoder(Down).decode
_decode_error = msgspec.msgpack.Decoder(LastError).decode


class QueueError(msgspec.Struct, frozen=True, kw_only=True):
    """The last answer that made mail of the domain wait; it may be older than a success."""

    at: int
    attempts: tuple[Attempt, ...]
    """One per server tried, with the verbatim reply."""
    message: str
    """The message that was told to wait; empty when all were."""


class DomainQueue(msgspec.Struct, frozen=True, kw_only=True):
    domain: str
    recipients: int = 0
    messages: int = 0
    bytes: int = 0
    oldest: int | None = None
    """Since when the oldest message waits."""
    oldest_id: str = ""
    backing_off: int = 0
    """Messages that wait by themselves, while the route may be open (greylisting, mailbox full)."""
    held: int = 0
    """Messages that somebody holds, or whose end is planned, each by itself."""
    server: str = ""
    """The one dialled last, else the first of the route."""
    state: str = "open"
    """open; deferred: no server can be used until `next_try`; held: nothing is sent until somebody says so."""
    hold: Hold | None = None
    server_hold: Hold | None = None
    """Of `server`, when no other server of the route can be used."""
    since: int | None = None
    """Start of the outage."""
    tries: int = 0
    next_try: int | None = None
    """None: nothing waits, or it is held; 0: as soon as a connection is free."""
    error: QueueError | None = None
    odd: int = 0
    """Recipients named by events that cannot be; anything but 0 is damage."""
    ages: tuple[int, ...] = ()
    """Messages per bucket (ages.NAMES); () when they were not counted."""


class QueueReport(msgspec.Struct, frozen=True, kw_only=True):
    domains: tuple[DomainQueue, ...]
    """Those where something waits, or the one asked for."""
    servers: tuple[ServerQueue, ...]
    recipients: int
    messages: int
    bytes: int
    oldest: int | None
    ages: tuple[int, ...] = ()


class WaitingMessage(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    domain: str
    recipients: tuple[str, ...]
    size: int
    since: int
    tries: int
    next_try: int
    """0: whenever its domain is tried."""
    held: bool = False


async def read_queue(
    redis: Client,
    partitions: int,
    domain: str | None = None,
    *,
    routes: Mapping[str, Sequence[str]] | None = None,
    holds: Mapping[str, Hold] | None = None,
    held_servers: Mapping[str, Hold] | None = None,
    now: int = 0,
) -> QueueReport:
    """What waits. `routes`: servers of each domain as configured, for those that were never dialled; `holds`: of those that have one;
    `held_servers`: HOST:PORT -> its hold. `now`: ns, for how long it has waited; 0: that is not counted. What it costs does not depend
    on how much waits.
    """
    domains: list[DomainQueue] = []
    for some in chunks(await locate(redis, partitions, NAME, domain, "d:")):
        domains += await _read(redis, some, routes or {}, now)
    if domain is not None and not domains:
        domains = [_domain(domain, ({}, {}, [], 0, []), None, routes or {}, None)]
    domains = [_held(one, (holds or {}).get(one.domain), held_servers or {}, routes or {}) for one in domains]
    shown = [one for one in domains if one.messages or domain is not None]
    return QueueReport(
        domains=tuple(shown),
        servers=by_server(shown),
        recipients=sum(one.recipients for one in shown),
        messages=sum(one.messages for one in shown),
        bytes=sum(one.bytes for one in shown),
        oldest=first(one.oldest for one in shown),
        ages=added(one.ages for one in shown),
    )


async def _read(
    redis: Client, places: Sequence[tuple[str, str]], routes: Mapping[str, Sequence[str]], now: int
) -> list[DomainQueue]:
    with faults():
        pipe = redis.pipeline(transaction=False)
        for prefix, domain in places:
            pipe.hgetall(f"{prefix}d:{domain}")
            pipe.hgetall(f"{prefix}route:{domain}")
            pipe.zrange(f"{prefix}since:{domain}", 0, 0, withscores=True)
            pipe.zcard(f"{prefix}retry:{domain}")
            pipe.zrange(f"{prefix}retry:{domain}", 0, 0)
        answers: Any = await pipe.execute()
        found = [tuple(answers[start : start + 5]) for start in range(0, len(answers), 5)]
        asked = []
        for (prefix, domain), (_, _, oldest, _, earliest) in zip(places, found, strict=True):
            pipe.hmget(prefix + LIVE, [*(name for name, _ in oldest), *earliest] or [""])
            asked.append(ranges(now, oldest[0][1]) if now and oldest else [])
            for lowest in asked[-1]:
                pipe.zcount(f"{prefix}since:{domain}", lowest, "+inf")
        rest = iter(await pipe.execute())
    return [
        _domain(domain, fields, next(rest), routes, [next(rest) for _ in bounds] if now else None)
        for (_, domain), fields, bounds in zip(places, found, asked, strict=True)
    ]


def _domain(
    domain: str,
    fields: tuple[Any, ...],
    rows: Sequence[bytes | None] | None,
    routes: Mapping[str, Sequence[str]],
    younger: Sequence[int] | None,
) -> DomainQueue:
    counts, route, oldest, backing_off, earliest = fields
    recipients, messages, size, odd, held = numbers(counts, FIELDS)
    found = [decoded(decode_row, row, NAME) if row else None for row in rows or ()]
    longest = found[0] if oldest and found else None
    earliest_row = found[-1] if earliest and found else None
    down = decoded(_decode_down, route[b"down"], NAME) if b"down" in route else None
    error = decoded(_decode_error, route[b"error"], NAME) if b"error" in route else None
    own = earliest_row.next_try if earliest_row and backing_off >= messages else 0
    configured = routes.get(domain) or ("",)
    return DomainQueue(
        domain=domain,
        recipients=recipients,
        messages=messages,
        bytes=size,
        oldest=longest.since if longest else None,
        oldest_id=oldest[0][0].decode() if longest else "",
        backing_off=backing_off,
        held=held,
        server=route[b"server"].decode() if b"server" in route else configured[0],
        state="deferred" if down else "open",
        since=down.since if down else None,
        tries=down.tries if down else 0,
        next_try=max(own, down.next_try if down else 0) if messages > held else None,
        error=QueueError(at=error.at, attempts=error.attempts, message=error.message) if error else None,
        odd=odd,
        ages=buckets(younger, messages) if younger is not None else (),
    )


def _held(
    domain: DomainQueue, hold: Hold | None, servers: Mapping[str, Hold], routes: Mapping[str, Sequence[str]]
) -> DomainQueue:
    if hold is not None:
        return msgspec.structs.replace(domain, state="held", hold=hold, next_try=None)
    used = routes.get(domain.domain) or (domain.server,)
    kept = [servers[server] for server in used if server in servers]
    if kept and len(kept) == len(used):
        return msgspec.structs.replace(domain, state="held", server=used[0], server_hold=kept[0], next_try=None)
    return domain


async def read_waiting(
    redis: Client, partitions: int, domain: str, *, start: int = 0, count: int = 100
) -> list[WaitingMessage]:
    """A domain's waiting messages, the longest waiting first, from the `start`th on."""
    for prefix, _ in await locate(redis, partitions, NAME, domain, "d:"):
        with faults():
            ids: Any = await redis.zrange(f"{prefix}since:{domain}", start, start + count - 1)
            rows: Any = await redis.hmget(prefix + LIVE, ids) if ids else []
        return [
            WaitingMessage(
                id=name.decode(), domain=domain, recipients=tuple(row.waiting), size=row.size, since=row.since,
                tries=row.tries, next_try=row.next_try,
                held=bool(row.held),
            )
            for name, row in ((name, decoded(decode_row, data, NAME)) for name, data in zip(ids, rows, strict=True) if data)
        ]  # fmt: skip
    return []


async def waiting_messages(redis: Client, partitions: int) -> int:
    """How many wait, of all domains together."""
    total = 0
    for some in chunks(await locate(redis, partitions, NAME, None, "d:")):
        with faults():
            pipe = redis.pipeline(transaction=False)
            for prefix, domain in some:
                pipe.hget(f"{prefix}d:{domain}", "messages")
            total += sum(int(count or 0) for count in await pipe.execute())
    return total
