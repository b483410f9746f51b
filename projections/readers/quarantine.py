"""What is kept, the newest first: filters of any combination, page by page.

Each exact filter has entries in the index: those of the value with the fewest messages are walked, those that the other values do not
have are passed over, and the row of what is left is checked against all filters. A filter that no index serves (a part of an address
or of a word) is checked on the rows alone. The work of one call is bounded: it ends with a full page or when it has looked at so many,
and says where to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from pipeline.address import mailbox_key
from pipeline.ids import PACKED, is_id, packed, partition_for, unpacked
from pipeline.store import Client, faults
from projections.builds import live_prefixes
from projections.quarantine import (
    LIVE,
    NAME,
    PLACE,
    PREFIX,
    SECOND,
    UNDELIVERABLE,
    Report,
    Row,
    decode_report,
    decode_row,
    folded,
    located,
    senders,
    words,
)
from projections.readers.common import decoded, locate

BUDGET: Final = 3_000
"""Rows looked at in one call: some 30 ms."""
SIFTED: Final = 12_000
"""Entries looked at in one call where the index can be asked for more than one value."""
_AT_ONCE: Final = 1000
_LEAST: Final = 16
_NO_PLACE: Final = 1 << 32
Value = tuple[str, str]
"""Kind and value, as projections.quarantine.values has them."""
Entry = tuple[str, bytes]
"""Prefix of the view, and the end of an entry of the index: since when, and which message."""
_ALL: Final = ("a", "")
Check = Callable[[Row], bool]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages are meant: those that match all that is said."""

    domain: str = ""
    sender: str = ""
    """An address, `@domain`, `<>` for none, or a part of an address or of the From field."""
    recipient: str = ""
    """An address, or a part of one."""
    subject: str = ""
    """Words that are all in it; one with a `*` is a part of a word."""
    class_: str = ""
    """What it was judged to be; undeliverable."""
    country: str = ""
    test: str = ""
    since: int = 0
    """Kept at this moment (ns) or later."""
    until: int = 0
    """Kept before this moment (ns); 0: any time."""
    recipients: frozenset[str] | None = None
    """Who looks: copies for other addresses are not there. None: whoever may see all."""


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
    sources, checks = _plan(query)
    span = _span(query, _cursor(after) if after else None)
    # Who may see some copies walks these and no others: how many there are, and where a page ends, is said.
    walked = sources if query.recipients is None else [_copies_of(query.recipients)]
    chosen, candidates = await _rarest(redis, prefixes, walked, span)
    others = [source for source in sources if source not in (chosen, [_ALL])]
    walk = _Walk(redis, [_Stream(prefix, value) for prefix in prefixes for value in chosen], span)
    budget = budget or (SIFTED if others else BUDGET)
    found: list[Kept] = []
    looked, last, step = 0, b"", limit
    while len(found) < limit and looked < budget:
        some = await walk.next(min(budget - looked, step))
        if not some:
            return Page(messages=tuple(found), after="", looked=looked, candidates=candidates)
        step = min(2 * step, _AT_ONCE)
        rows = await _rows(redis, await _sifted(redis, some, others))
        for _, end in some:
            looked += 1
            last = end
            row = rows.get(end)
            if row is not None and _there(row, end) and all(check(row) for check in checks):
                found.append(_kept(unpacked(end[4:]), row, query))
                if len(found) == limit:
                    break
    return Page(messages=tuple(found), after=_written(last), looked=looked, candidates=candidates)


async def read_stats(redis: Client, partitions: int, domain: str | None = None) -> tuple[Stats, ...]:
    """Of one domain, or of all where something is kept."""
    found = []
    for prefix, name in await locate(redis, partitions, NAME, domain, "d:"):
        key, value = located("d", name)
        with faults():
            pipe = redis.pipeline(transaction=False)
            pipe.hgetall(f"{prefix}d:{name}")
            pipe.zrangebylex(prefix + key, b"[" + value, b"(" + _end(value), start=0, num=1)
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


# Filters


def _plan(query: Query) -> tuple[list[list[Value]], list[Check]]:
    """What the index can be asked for: each a list of values of which a message has one; and what a row has to meet."""
    sources: list[list[Value]] = [[("d", query.domain) if query.domain else _ALL]]
    checks: list[Check] = []
    if query.domain:
        checks.append(lambda row: row.domain == query.domain)
    for part in (_of_sender, _of_recipient, _of_subject, _of_rest, _of_time):
        part(query, sources, checks)
    return sources, checks


def _of_sender(query: Query, sources: list[list[Value]], checks: list[Check]) -> None:
    wanted = folded(query.sender.strip())
    local, at, domain = wanted.rpartition("@")
    if not wanted:
        return
    if wanted == "<>" or (local and domain):
        sources.append([("s", wanted)])
        checks.append(lambda row: wanted in senders(row))
    elif at and domain:
        sources.append([("h", domain)])
        checks.append(lambda row: any(one.rpartition("@")[2] == domain for one in senders(row)))
    else:
        checks.append(lambda row: wanted in folded(row.sender) or wanted in folded(row.header_from))


def _of_recipient(query: Query, sources: list[list[Value]], checks: list[Check]) -> None:
    wanted = folded(query.recipient.strip())
    seen = _seen(query)

    def visible(row: Row) -> list[str]:
        return [folded(one) for one in row.kept if seen is None or mailbox_key(one) in seen]

    local, _, domain = wanted.rpartition("@")
    if local and domain:
        sources.append([("r", wanted)])
        checks.append(lambda row: wanted in visible(row))
    elif wanted:
        checks.append(lambda row: any(wanted in one for one in visible(row)))
    if query.recipients is not None:
        sources.append(_copies_of(query.recipients))
        checks.append(lambda row: bool(visible(row)))


def _copies_of(recipients: frozenset[str]) -> list[Value]:
    return [("r", one) for one in sorted({folded(address) for address in recipients})]


def _seen(query: Query) -> frozenset[str] | None:
    """The mailboxes whose copies may be seen; None: all."""
    return None if query.recipients is None else frozenset(map(mailbox_key, query.recipients))


def _of_subject(query: Query, sources: list[list[Value]], checks: list[Check]) -> None:
    for text in query.subject.split():
        if "*" in text:
            checks += [_has_part(folded(piece)) for piece in text.split("*") if piece]
        else:
            sources += [[("w", word)] for word in words(text)]
            checks += [_has_word(word) for word in words(text)]


def _has_part(part: str) -> Check:
    return lambda row: part in folded(row.subject)


def _has_word(word: str) -> Check:
    return lambda row: word in words(row.subject)


def _of_rest(query: Query, sources: list[list[Value]], checks: list[Check]) -> None:
    if query.class_:
        sources.append([("c", query.class_)])
        seen = _seen(query)
        checks.append(
            lambda row: any(
                name == query.class_ for one, name in row.kept.items() if seen is None or mailbox_key(one) in seen
            )
        )
    if query.country:
        country = folded(query.country)
        sources.append([("n", country)])
        checks.append(lambda row: folded(row.country) == country)
    if query.test:
        test = folded(query.test)
        sources.append([("t", test)])
        checks.append(lambda row: any(folded(name) == test for name in row.tests))


def _of_time(query: Query, sources: list[list[Value]], checks: list[Check]) -> None:  # noqa: ARG001 - as the others
    if query.since:
        checks.append(lambda row: row.since >= query.since)
    if query.until:
        checks.append(lambda row: row.since < query.until)


def _kept(message_id: str, row: Row, query: Query) -> Kept:
    seen = _seen(query)
    kept = {one: name for one, name in row.kept.items() if seen is None or mailbox_key(one) in seen}
    return Kept(
        id=message_id, domain=row.domain, sender=row.sender, header_from=row.header_from, recipients=tuple(kept),
        classes=tuple(dict.fromkeys(kept.values())), subject=row.subject, score=row.score, country=row.country,
        tests=row.tests, reason=row.reason if set(kept.values()) != {UNDELIVERABLE} else "", size=row.size,
        client=row.client, received=row.received, since=row.since, expires=row.expires,
    )  # fmt: skip


# Walking


class _Span(msgspec.Struct, frozen=True):
    """Which ends of entries are meant: from `low` on, and below `high`."""

    low: bytes
    high: bytes

    def of(self, prefix: bytes) -> tuple[bytes, bytes]:
        """ZRANGEBYLEX's bounds."""
        return b"[" + prefix + self.low, b"(" + (prefix + self.high if self.high else _end(prefix))


def _end(prefix: bytes) -> bytes:
    """Greater than every entry of a value, and not greater than those of the next."""
    return prefix + b"\xff" * (PLACE + 1)


def _span(query: Query, cursor: bytes | None) -> _Span:
    low = min(max(query.since // SECOND, 0), _NO_PLACE - 1).to_bytes(4, "big") if query.since else b""
    # A second that has begun may hold messages of before the moment: the rows say.
    high = min(max(-(-query.until // SECOND), 0), _NO_PLACE - 1).to_bytes(4, "big") if query.until else b""
    return _Span(low, min(high, cursor) if high and cursor else high or cursor or b"")


class _Stream:
    """The entries of one value in one partition, the newest first."""

    def __init__(self, prefix: str, value: Value) -> None:
        self.prefix = prefix
        key, self.value = located(*value)
        self.key = prefix + key
        self.waiting: list[bytes] = []
        self.below: bytes | None = None
        """Where the last fetch ended."""
        self.over = False


async def _rarest(
    redis: Client, prefixes: Sequence[str], sources: Sequence[Sequence[Value]], span: _Span
) -> tuple[Sequence[Value], int]:
    """The source with the fewest entries, and how many."""
    with faults():
        pipe = redis.pipeline(transaction=False)
        for source in sources:
            for value in source:
                key, start = located(*value)
                for prefix in prefixes:
                    pipe.zlexcount(prefix + key, *span.of(start))
        counts: Any = iter(await pipe.execute())
    totals = [sum(next(counts) for _ in range(len(source) * len(prefixes))) for source in sources]
    best = min(range(len(sources)), key=totals.__getitem__)
    return sources[best], totals[best]


class _Walk:
    """Merges streams. An entry that several of them have comes once."""

    def __init__(self, redis: Client, streams: Sequence[_Stream], span: _Span) -> None:
        self._redis = redis
        self._streams = streams
        self._span = span

    async def next(self, count: int) -> list[Entry]:
        """`count` of the next, or fewer at the end; none when all are over."""
        found: dict[bytes, str] = {}
        while len(found) < count:
            await self._fill(count)
            going = [stream for stream in self._streams if stream.waiting]
            if not going:
                break
            # Below the oldest that an unfinished stream has in hand, another of its entries may come.
            floor = max((stream.waiting[-1] for stream in going if not stream.over), default=b"")
            ready = [(end, stream.prefix) for stream in going for end in stream.waiting if end >= floor]
            ready.sort(reverse=True)
            for end, prefix in ready[: count - len(found)]:
                found.setdefault(end, prefix)
            least = min(found)
            for stream in going:
                stream.waiting = [end for end in stream.waiting if end < least]
        return [(prefix, end) for end, prefix in found.items()]

    async def _fill(self, count: int) -> None:
        empty = [stream for stream in self._streams if not stream.waiting and not stream.over]
        if not empty:
            return
        # A share of what is wanted and as much again, as the streams are seldom alike.
        share = max(_LEAST, 2 * count // len(self._streams))
        with faults():
            pipe = self._redis.pipeline(transaction=False)
            for stream in empty:
                low, high = self._span.of(stream.value)
                if stream.below is not None:
                    high = b"(" + stream.value + stream.below
                pipe.zrevrangebylex(stream.key, high, low, start=0, num=share)
            answers: Any = await pipe.execute()
        for stream, members in zip(empty, answers, strict=True):
            stream.waiting = [member[PREFIX:] for member in members]
            stream.over = len(members) < share
            if members:
                stream.below = stream.waiting[-1]


async def _sifted(redis: Client, some: Sequence[Entry], others: Sequence[Sequence[Value]]) -> Sequence[Entry]:
    """Those that are in the index of the other values too: a look there costs a tenth of a look at a row."""
    for source in others:
        if not some:
            break
        with faults():
            pipe = redis.pipeline(transaction=False)
            places = _by_prefix(some)
            asked = [(prefix, ends, located(*value)) for prefix, ends in places.items() for value in source]
            for prefix, ends, (key, start) in asked:
                pipe.zmscore(prefix + key, [start + end for end in ends])
            answers: Any = await pipe.execute()
        there = {
            end
            for (_, ends, _), scores in zip(asked, answers, strict=True)
            for end, score in zip(ends, scores, strict=True)
            if score is not None
        }
        some = [entry for entry in some if entry[1] in there]
    return some


async def _rows(redis: Client, some: Sequence[Entry]) -> dict[bytes, Row]:
    """By the end of the entry."""
    if not some:
        return {}
    places = _by_prefix(some)
    with faults():
        pipe = redis.pipeline(transaction=False)
        for prefix, ends in places.items():
            pipe.hmget(prefix + LIVE, [unpacked(end[4:]) for end in ends])
        answers: Any = await pipe.execute()
    return {
        end: decoded(decode_row, row, NAME)
        for ends, rows in zip(places.values(), answers, strict=True)
        for end, row in zip(ends, rows, strict=True)
        if row
    }


def _by_prefix(some: Sequence[Entry]) -> dict[str, list[bytes]]:
    places: dict[str, list[bytes]] = {}
    for prefix, end in some:
        places.setdefault(prefix, []).append(end)
    return places


def _there(row: Row, end: bytes) -> bool:
    """It is still kept, and since the moment that the entry says: it may have left and come again meanwhile."""
    return bool(row.kept) and row.since // SECOND == int.from_bytes(end[:4], "big")


def _written(end: bytes) -> str:
    return f"{int.from_bytes(end[:4], 'big')}.{unpacked(end[4:])}"


def _cursor(text: str) -> bytes:
    seconds, _, message_id = text.partition(".")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 10 and is_id(message_id)):
        raise ValueError("no such place in the list")
    if int(seconds) >= _NO_PLACE:
        raise ValueError("no such place in the list")
    return int(seconds).to_bytes(4, "big") + packed(message_id)[:PACKED]
