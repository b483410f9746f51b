"""Histories of many messages for tests of views: legal ones, impossible ones, and a plain model of what views must show."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from pipeline import keys
from pipeline.events import (
    AnyEvent,
    Attempt,
    Decision,
    Deferred,
    Delivered,
    Discarded,
    Event,
    Failed,
    Finding,
    Held,
    Learned,
    Looked,
    Postponed,
    Quarantined,
    Queued,
    Received,
    RecipientSpec,
    Recorded,
    Redirected,
    Refused,
    Released,
    Reported,
    Resumed,
    RouteDeferred,
    RouteOpened,
    Scanned,
    Undeliverable,
    Warned,
    encode,
)
from pipeline.ids import new_id
from pipeline.log import Damaged
from pipeline.state import NEXT, Message, Stage, evolve
from projections.base import Asking, Projection, Writes
from tests.support.examples import AT, CLIENT, SECOND, SENDER

DOMAINS = ("example.test", "b.example.test", "third.test")
ORIGINS = ("smtp", "smtp", "smtp", "bounce", "redirect")
SUBJECTS = ("", "Invoice 2026", "invoice for you", "Größe und GRÖSSE", "請求書", "a a b")
KINDS = (
    Received,
    Scanned,
    Postponed,
    Quarantined,
    Queued,
    Released,
    Discarded,
    Deferred,
    Delivered,
    Failed,
    Undeliverable,
    Warned,
    Held,
    Resumed,
    Redirected,
    Looked,
)


def recorded(events: Iterable[tuple[str, AnyEvent]], partition: int = 0) -> list[Recorded]:
    """The events as the log would give them back."""
    versions: dict[str, int] = {}
    found = []
    for number, (subject, event) in enumerate(events):
        versions[subject] = versions.get(subject, 0) + 1
        entry = f"{AT // 1_000_000 + number // 3}-{number % 3}"
        found.append(Recorded(partition, entry, subject, versions[subject], event))
    return found


def attempt(rng: random.Random) -> Attempt:
    return Attempt(
        server=f"mx{rng.randrange(3)}.example.test:25",
        address="192.0.2.1",
        stage="rcpt",
        code=451,
        reply=f"451 4.7.1 try again, {rng.randrange(1000)}",
        unknown=rng.random() < 0.1,
    )


def make(
    rng: random.Random, kind: type[Event], domain: str, recipients: tuple[str, ...], at: int, size: int = 0
) -> AnyEvent:
    size = size or rng.randrange(1, 5000)
    named = {"at": at, "domain": domain, "recipients": recipients}
    tried = {**named, "sender": SENDER, "size": size, "tries": rng.randrange(1, 5), "attempt": attempt(rng)}
    if kind is Received:
        return Received(
            at=at, domain=domain, sender=SENDER, size=size, expires=at, origin=rng.choice(ORIGINS),
            recipients=tuple(RecipientSpec(address=one) for one in recipients),
        )  # fmt: skip
    if kind is Scanned:
        verdict = rng.choice(["clean", "spam", "virus"])
        own = Decision(recipients=(f"r1@{domain}",), action="quarantine", verdict="bulk")
        return Scanned(
            at=at,
            domain=domain,
            verdict=verdict,
            score=rng.randrange(9) / 2,
            subject=rng.choice(SUBJECTS),
            header_from=rng.choice(["", "Anna <anna@elsewhere.test>", '"x@y" <ben@z.test>']),
            country=rng.choice(["", "DE", "cn"]),
            findings=tuple(Finding(name=rng.choice(["GTUBE", "X", "y"])) for _ in range(rng.randrange(3))),
            decisions=rng.choice([(), (own,)]),
        )
    if kind is Quarantined:
        return Quarantined(**named, reason="spam", expires=at)
    if kind is Queued:
        return Queued(**named, size=size)
    if kind is Released:
        return Released(**named, by="test", expires=at, size=size)
    if kind is Discarded:
        return Discarded(**named, reason=rng.choice(["policy", "retention", "deleted"]), size=size)
    if kind is Deferred:
        return Deferred(**tried, next_try=at + rng.randrange(1, 900) * SECOND)
    if kind is Held:
        return Held(**named, by="test", reason="x", until=rng.choice([0, at + SECOND]), then=rng.choice(["", "bounce"]))
    if kind is Resumed:
        return Resumed(**named, by="test", size=size)
    if kind is Redirected:
        return Redirected(**named, to="x@elsewhere.test", by="test", reason="x", message="x", size=size)
    if kind is Looked:
        return Looked(**named, by="test", how=rng.choice(["show", "preview", "download"]))
    if kind is Delivered:
        return Delivered(**tried)
    if kind is Warned:
        return Warned(**tried, warning="warning", until=at)
    if kind is Undeliverable:
        return Undeliverable(**tried, reason=rng.choice(["refused", "expired"]), unsent="null sender", expires=at)
    return Failed(**tried, reason=rng.choice(["refused", "expired"]), bounce=rng.choice(["", "bounce"]))


def route(rng: random.Random, domain: str, at: int) -> RouteDeferred | RouteOpened:
    if rng.random() < 0.5:
        return RouteOpened(at=at, domain=domain, server="mx9.example.test:25", since=at - SECOND)
    attempts = tuple(attempt(rng) for _ in range(rng.randrange(3)))
    return RouteDeferred(
        at=at, domain=domain, tries=1, since=at - SECOND, next_try=at + 900 * SECOND, attempts=attempts
    )


def refusal(rng: random.Random, domain: str, at: int) -> Refused:
    return Refused(
        at=at, domain=rng.choice([domain, ""]), reason=rng.choice(["no_such_user", "relay_denied", "mail_loop"]),
        client=CLIENT, stage="rcpt", code=550, enhanced="5.1.1", reply="no", sender=SENDER,
        recipient=rng.choice([f"x{rng.randrange(9)}@{domain}", ""]), count=rng.choice([1, 1, 1, 7, 0, -3, 2**60]),
    )  # fmt: skip


def lesson(rng: random.Random, domain: str, at: int) -> Learned | Reported:
    """What somebody said of a message."""
    domain = rng.choice([domain, ""])
    if rng.random() < 0.5:
        return Reported(at=at, domain=domain, by="test", spam=rng.random() < 0.5)
    tokens = bytes(rng.choice([0, 1, 255]) for _ in range(5 * rng.randrange(4)))
    return Learned(
        at=at, domain=domain, by="test", spam=rng.random() < 0.5, tokens=tokens, undone=rng.random() < 0.2, how="taught"
    )


def legal(
    rng: random.Random, messages: int, steps: int, partition: int = 0
) -> tuple[list[Recorded], dict[str, Message]]:
    """An interleaving of messages that do what the table allows, and of routes; and the messages at its end."""
    live: dict[str, Message | None] = {new_id(AT, partition, rng.getrandbits(55)): None for _ in range(messages)}
    domains = {name: rng.choice(DOMAINS) for name in live}
    events: list[tuple[str, AnyEvent]] = []
    for step in range(steps):
        at = AT + step * 1_700_000_123
        if rng.random() < 0.1:
            domain = rng.choice(DOMAINS)
            events.append(("@" + domain, route(rng, domain, at)))
            continue
        if rng.random() < 0.1:
            events.append((new_id(at, partition, rng.getrandbits(55)), refusal(rng, rng.choice(DOMAINS), at)))
            continue
        if rng.random() < 0.05:
            events.append((new_id(at, partition, rng.getrandbits(55)), lesson(rng, rng.choice(DOMAINS), at)))
            continue
        name = rng.choice(list(live))
        event = _next(rng, live[name], domains[name], at)
        if event is not None:
            live[name] = evolve(live[name], event, name)
            events.append((name, event))
    return recorded(events, partition), {name: message for name, message in live.items() if message is not None}


def _next(rng: random.Random, message: Message | None, domain: str, at: int) -> AnyEvent | None:
    if message is None:
        recipients = tuple(f"r{number}@{domain}" for number in range(rng.randrange(1, 5)))
        return make(rng, Received, domain, recipients, at)
    if message.stage is Stage.RECEIVED:
        return make(rng, Scanned, domain, (), at)
    moves = sorted({(kind.__name__, stage.value) for stage, kind in NEXT if stage is not None and kind is not Scanned})
    moves = [(kind, stage) for kind, stage in moves if message.addresses(Stage(stage))]
    if not moves:
        return None
    kind, stage = rng.choice(moves)
    here = message.addresses(Stage(stage))
    chosen = tuple(rng.sample(here, rng.randrange(1, len(here) + 1)))
    if kind == "Discarded":  # may speak of copies in different places at once
        anywhere = message.addresses(Stage.QUEUED, Stage.HELD, Stage.QUARANTINED)
        chosen = tuple(dict.fromkeys((*chosen, *rng.sample(anywhere, rng.randrange(len(anywhere) + 1)))))
    return make(rng, next(one for one in KINDS if one.__name__ == kind), domain, chosen, at, message.size)


def impossible(rng: random.Random, steps: int) -> list[Recorded]:
    """Events in an order, with recipients, sizes and domains that no gateway would have written."""
    names = [new_id(AT, 0, number) for number in range(3)]
    events: list[tuple[str, AnyEvent]] = []
    for step in range(steps):
        domain = rng.choice(DOMAINS)
        if rng.random() < 0.1:
            events.append(("@" + domain, route(rng, domain, AT - step)))
            continue
        recipients = tuple(rng.choice(["a@x", "b@x", "ü@x", ""]) for _ in range(rng.randrange(4)))
        events.append((rng.choice(names), make(rng, rng.choice(KINDS), domain, recipients, AT - step)))
    return recorded(events)


# --- A view in memory


class Keys:
    """What a view's commands do to keys: as fold.lua with a Redis, and in a few lines that can be seen to be right."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[str, bytes]] = {}
        self.zsets: dict[str, dict[str, float]] = {}
        self.lists: dict[str, list[bytes]] = {}
        self.strings: dict[str, bytes] = {}

    def apply(self, writes: Writes) -> None:
        for verb, key, *words in writes:
            getattr(self, f"_{str(verb).lower()}")(key, words)
        for family in (self.hashes, self.zsets, self.lists):
            for key in [key for key, value in family.items() if not value]:
                del family[key]

    def _add(self, key, words):
        for field, amount in pairs(words):
            total = int(self.hashes.setdefault(key, {}).get(field, b"0")) + int(amount)
            self.hashes[key][field] = str(total).encode()
            if not total:
                del self.hashes[key][field]

    def _hset(self, key, words):
        self.hashes.setdefault(key, {}).update(pairs(words))

    def _hdel(self, key, words):
        for field in words:
            self.hashes.get(key, {}).pop(field, None)

    def _zadd(self, key, words):
        self.zsets.setdefault(key, {}).update({member: float(score) for score, member in pairs(words)})

    def _zrem(self, key, words):
        for member in words:
            self.zsets.get(key, {}).pop(member, None)

    def _lpush(self, key, words):
        self.lists[key] = [*reversed(words), *self.lists.get(key, [])]

    def _ltrim(self, key, words):
        self.lists[key] = self.lists.get(key, [])[: int(words[1]) + 1]

    def _append(self, key, words):
        self.strings[key] = self.strings.get(key, b"") + words[0]

    def counts(self, key: str) -> dict[str, int]:
        return {field: int(value) for field, value in self.hashes.get(key, {}).items()}

    def dump(self) -> dict[str, object]:
        return {**self.hashes, **self.zsets, **self.lists, **self.strings}


def pairs(words: Sequence) -> list[tuple]:
    return list(zip(words[::2], words[1::2], strict=True))


def folded(projection: Projection, events: Sequence[Recorded], cuts: Iterable[int] = ()) -> Keys:
    """The view after `events`, folded in batches that end at `cuts`."""
    view = Keys()
    for batch in batches(events, cuts):
        subjects = {one.subject for one in batch}
        if isinstance(projection, Asking):
            subjects |= set(projection.asks(batch))
        known = view.hashes.get(projection.rows, {}) if projection.rows else {}
        view.apply(projection.fold(batch, {name: row for name, row in known.items() if name in subjects}))
    return view


def batches(events: Sequence[Recorded], cuts: Iterable[int]) -> Iterator[Sequence[Recorded]]:
    start = 0
    for cut in [*sorted(set(cuts)), len(events)]:
        if events[start:cut]:
            yield events[start:cut]
        start = cut


# --- A log


async def write_log(redis, events: Iterable[Recorded | Damaged]) -> list[str]:
    """Put events into the logs of a Redis, as append.lua would; their entry ids there."""
    pipe = redis.pipeline(transaction=False)
    for one in events:
        fields = (
            {"s": one.subject, "v": one.version, "e": encode(one.event)}
            if isinstance(one, Recorded)
            else {"s": one.subject, "v": 1, "e": b"\xc1 not an event"}
        )
        pipe.xadd(keys.log(one.partition), fields)
    return [entry.decode() for entry in await pipe.execute()]
