"""From "these events follow" to one atomic step: the events, the new head, and the work that the change of stage hands on.

Pure. The work is computed from the message before and after, never by the caller, so a message cannot change its stage
without being where that stage's worker looks. The effects used are few: ZADD, ZREM, SADD, XADD, XACK, XDEL, SET, HSET, HDEL,
PEXPIRE and the three of `append.lua`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from pipeline import keys
from pipeline.events import (
    Attempt,
    DirectoryEvent,
    MessageEvent,
    Received,
    Retried,
    RouteDeferred,
    RouteEvent,
    RouteOpened,
    encode,
    plain,
)
from pipeline.ids import partition_of
from pipeline.state import Message, Stage, encode_head, evolve

Word: TypeAlias = bytes | str | int
Effect: TypeAlias = tuple[Word, ...]
MS: Final = 1_000_000
ONCE: Final = "!"
"""In place of a token: the fence must not be there yet (append.lua)."""
MADE_MS: Final = 3 * 86400 * 1000
"""How long it is known that what was promised was made: longer than any worker sleeps."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One transition of one subject: all of it happens, or none."""

    head: str
    log: str
    subject: str
    expected: int
    events: tuple[bytes, ...]
    state: bytes
    effects: tuple[Effect, ...]
    fence: str = ""
    token: str = ""
    body: str = ""
    """Of a message that is finished: its hot body, which goes with the head."""

    @property
    def weight(self) -> int:
        """Octets, about."""
        return sum(len(word) for effect in self.effects for word in effect if isinstance(word, bytes)) + 1024


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known about reaching a domain; the head of its route."""

    version: int = 0
    tries: int = 0
    since: int = 0
    next_try: int = 0
    attempts: tuple[Attempt, ...] = ()
    at: int = 0
    """When `attempts` were made."""


_encoder = msgspec.msgpack.Encoder(enc_hook=plain)
_route_decoder: msgspec.msgpack.Decoder[Route] = msgspec.msgpack.Decoder(Route)


def decode_route(data: bytes | None) -> Route:
    return _route_decoder.decode(data) if data else Route()


def fold(message: Message | None, events: Iterable[MessageEvent], message_id: str = "") -> Message:
    after = message
    for event in events:
        after = evolve(after, event, message_id)
    assert after is not None, "no events"
    return after


def _handed_on(before: Message | None, after: Message, now: int) -> list[Effect]:
    """The work that follows from the change of stage."""
    partition = partition_of(after.id)
    earlier = {recipient.stage for recipient in before.recipients} if before is not None else set()
    stages = {recipient.stage for recipient in after.recipients}
    was_queued = Stage.QUEUED in earlier
    queue = keys.queue(partition, after.domain)
    effects: list[Effect] = []
    if before is None:
        effects.append(("XADD", keys.scan(partition), "*", "id", after.id))
    if after.live:
        ends = after.ends
        if before is None or before.ends != ends:
            effects.append(("ZADD", keys.expiry(partition), ends // MS, after.id))
    else:
        effects.append(("ZREM", keys.expiry(partition), after.id))
    if Stage.QUEUED in stages:
        waits_until = max(now, after.next_try)
        # What changes nothing of when it is tried leaves its place alone, which may be the lease of who has it in hand.
        put_off = before is None or after.next_try != before.next_try
        if not was_queued or (put_off and waits_until > now):
            effects.append(("ZADD", queue, waits_until // MS, after.id))
            hint = keys.hint(partition) if waits_until == now else ""
            effects.append(
                ("DUE", keys.due(partition), keys.route(partition, after.domain), after.domain, waits_until // MS, hint)
            )
    elif was_queued:
        effects.append(("ZREM", queue, after.id))
    if after.hold is not None or (before is not None and before.hold is not None):
        effects += _kept_back(before, after)
    return effects + _found(earlier, stages, before, after, now)


def _found(earlier: set[Stage], stages: set[Stage], before: Message | None, after: Message, now: int) -> list[Effect]:
    """The sets in which a message is found while it is in a stage: in quarantine, and waiting with a warning to come."""
    partition = partition_of(after.id)
    effects: list[Effect] = []
    told_before = before.warn_at if before is not None and Stage.QUEUED in earlier else 0
    told_after = after.warn_at if Stage.QUEUED in stages else 0
    if told_after != told_before:
        warn = keys.warn(partition)
        effects.append(("ZADD", warn, told_after // MS, after.id) if told_after else ("ZREM", warn, after.id))
    if Stage.QUARANTINED in stages and Stage.QUARANTINED not in earlier:
        effects.append(("ZADD", keys.kept(partition), now // MS, after.id))
    elif Stage.QUARANTINED in earlier and Stage.QUARANTINED not in stages:
        effects.append(("ZREM", keys.kept(partition), after.id))
    return effects


def _kept_back(before: Message | None, after: Message) -> list[Effect]:
    """Where a message is found that somebody holds, and when that ends by itself."""
    partition = partition_of(after.id)
    was, now = before.hold if before is not None else None, after.hold
    sets = (keys.held(partition), keys.held_of(partition, after.domain))
    effects: list[Effect] = []
    if now is not None and was is None:
        effects += [("ZADD", name, now.since // MS, after.id) for name in sets]
    elif was is not None and now is None:
        effects += [("ZREM", name, after.id) for name in sets]
    ended, ends = was.until if was is not None else 0, now.until if now is not None else 0
    if ends and ends != ended:
        effects.append(("ZADD", keys.ends(partition), ends // MS, after.id))
    elif ended and not ends:
        effects.append(("ZREM", keys.ends(partition), after.id))
    return effects


def message_step(
    before: Message | None,
    events: Sequence[MessageEvent],
    *,
    now: int,
    message_id: str = "",
    also: Iterable[Effect] = (),
    fence: str = "",
    token: str = "",
    last: Iterable[Effect] = (),
) -> tuple[Step, Message]:
    """The step that makes `events` happen to a message, and the message after it. `also`: work acknowledged, a hot body; `last`: what
    comes when the message is where it belongs.
    """
    after = fold(before, events, message_id)
    partition = partition_of(after.id)
    return (
        Step(
            head=keys.head(partition, after.id),
            log=keys.log(partition),
            subject=after.id,
            expected=0 if before is None else before.version,
            events=tuple(encode(event) for event in events),
            state=encode_head(after) if after.live else b"",
            effects=(*also, *_handed_on(before, after, now), *last),
            fence=fence,
            token=token,
            body="" if after.live else keys.body(partition, after.id),
        ),
        after,
    )


def received_step(message_id: str, event: Received, hot_body: bytes | None, also: Iterable[Effect] = ()) -> Step:
    """The step behind a 250. `hot_body` None: the body is in the cold store already."""
    body: tuple[Effect, ...] = ()
    if hot_body is not None:
        body = (("SET", keys.body(partition_of(message_id), message_id), hot_body),)
    return message_step(None, (event,), now=event.at, message_id=message_id, also=(*body, *also))[0]


def promised_step(message_id: str, event: Received, hot_body: bytes | None) -> Step:
    """As `received_step`, of what was promised under this id: a conflict when it was made before, also when that one is finished.

    A worker that slept may come with it after another made it and it was delivered, and then there is no head any more.
    """
    key = keys.made(partition_of(message_id), message_id)
    step = received_step(message_id, event, hot_body, (("SET", key, "1", "PX", MADE_MS),))
    return msgspec.structs.replace(step, fence=key, token=ONCE)


def acknowledged(stream: str, group: str, entry: str) -> tuple[Effect, ...]:
    """Work that is done leaves its stream."""
    return (("XACK", stream, group, entry), ("XDEL", stream, entry))


def promised_bounce(partition: int, message_id: str, bounce_id: str, event: Received, body: bytes) -> Effect:
    """In the same step as the `failed` events: the bounce waits in the outbox until it is a message of its own."""
    return ("XADD", keys.outbox(partition), "*", "id", bounce_id, "m", message_id, "e", encode(event), "b", body)


def promised_on_disk(partition: int, cause: str, message_id: str, event: Received) -> tuple[Effect, ...]:
    """As `promised_bounce`, of what is in the cold store under its id already; nobody sweeps it up until it is a message."""
    return (
        ("XADD", keys.outbox(partition), "*", "id", message_id, "m", cause, "e", encode(event), "b", b"", "c", b"1"),
        ("SADD", keys.promised(partition), message_id),
    )


def _route_step(partition: int, route: Route, event: RouteEvent, effects: tuple[Effect, ...], token: str) -> Step:
    return Step(
        head=keys.route(partition, event.domain),
        log=keys.log(partition),
        subject="@" + event.domain,
        expected=route.version,
        events=(encode(event),),
        state=_encoder.encode(after_route(route, event)),
        effects=effects,
        fence=keys.slots(partition, event.domain) if token else "",
        token=token,
    )


def after_route(route: Route, event: RouteEvent) -> Route:
    if isinstance(event, RouteDeferred):
        return Route(route.version + 1, event.tries, event.since, event.next_try, event.attempts, event.at)
    if isinstance(event, Retried):
        return msgspec.structs.replace(route, version=route.version + 1)
    return Route(version=route.version + 1)


def route_deferred_step(partition: int, route: Route, event: RouteDeferred, token: str, held: Sequence[str]) -> Step:
    """The domain backs off: its slot and the messages in hand go back, untouched, behind the next attempt."""
    domain, until = event.domain, event.next_try // MS
    route_key, queue = keys.route(partition, domain), keys.queue(partition, domain)
    effects: list[Effect] = [
        ("HSET", route_key, "until", until),
        ("HDEL", route_key, "open", "full"),
        ("ZADD", keys.due(partition), until, domain),
        ("ZREM", keys.slots(partition, domain), token),
    ]
    effects += [("ZADD", queue, "XX", event.at // MS, message_id) for message_id in held]
    return _route_step(partition, route, event, tuple(effects), token)


def route_opened_step(partition: int, route: Route, event: RouteOpened) -> Step:
    return _route_step(partition, route, event, opened(partition, event.domain, event.at), "")


def retried_step(partition: int, route: Route, event: Retried) -> Step:
    """The record only: what makes the domain due knows every message of it."""
    return _route_step(partition, route, event, (), "")


def opened(partition: int, domain: str, now: int) -> tuple[Effect, ...]:
    """After the first success: more slots may be taken, at once."""
    due: Effect = ("DUE", keys.due(partition), keys.route(partition, domain), domain, now // MS, keys.hint(partition))
    return (*opened_route(partition, domain), due)


def opened_route(partition: int, domain: str) -> tuple[Effect, ...]:
    """The same where the slot is given back besides, which makes the domain due."""
    route = keys.route(partition, domain)
    return (("HDEL", route, "until", "full"), ("HSET", route, "open", 1))


def freed(partition: int, domain: str, token: str, now: int) -> tuple[Effect, ...]:
    """A slot is given back together with the last of its messages."""
    queue, slots = keys.queue(partition, domain), keys.slots(partition, domain)
    names = (keys.due(partition), queue, slots, keys.route(partition, domain))
    return (("FREE", *names, domain, token, now // MS, keys.hint(partition)),)


def noted_good(partition: int, domain: str, now: int) -> tuple[Effect, ...]:
    """The domain's server took a message."""
    return (("HSET", keys.route(partition, domain), "good", now // MS),)


def directory_step(version: int, events: Sequence[DirectoryEvent], effects: Iterable[Effect]) -> Step:
    return Step(
        head=keys.DIRECTORY_HEAD,
        log=keys.DIRECTORY_LOG,
        subject=keys.DIRECTORY_SUBJECT,
        expected=version,
        events=tuple(encode(event) for event in events),
        state=b"directory",
        effects=tuple(effects),
    )
