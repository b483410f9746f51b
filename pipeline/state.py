"""The one state machine.

Two rules for whoever edits this file:

1. `NEXT` says all that can be said as a table. It is applied to each *recipient*: one message to three people may be
   delivered to one, refused for another and wait for the third.
2. A message's own stage is computed from its recipients' by `roll_up`, never stored apart from them.

`evolve` applies what has happened and never judges whether it should have: that is `decide.py`. The diagram in
`docs/architecture.md` is drawn from this table.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from pipeline.events import (
    Attempt,
    AuthResult,
    Client,
    Deferred,
    Delivered,
    Discarded,
    Event,
    Failed,
    Held,
    Looked,
    MessageEvent,
    Postponed,
    Quarantined,
    Queued,
    Received,
    Redirected,
    Released,
    Resumed,
    Scanned,
    Undeliverable,
    Warned,
    plain,
)


class Stage(enum.StrEnum):
    """Where a recipient's copy is. The order of declaration is the order of drawing, and of `roll_up`."""

    RECEIVED = "received"
    SCANNED = "scanned"
    QUEUED = "queued"
    HELD = "held"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    DISCARDED = "discarded"
    REDIRECTED = "redirected"
    DELIVERED = "delivered"


TERMINAL: Final = frozenset({Stage.FAILED, Stage.DISCARDED, Stage.REDIRECTED, Stage.DELIVERED})
LEAVING: Final = (Stage.QUEUED, Stage.HELD)
"""Decided to go out, and not gone yet."""

NEXT: Final[Mapping[tuple[Stage | None, type[Event]], Stage]] = {
    (None, Received): Stage.RECEIVED,
    (Stage.RECEIVED, Scanned): Stage.SCANNED,
    (Stage.RECEIVED, Postponed): Stage.RECEIVED,
    (Stage.SCANNED, Quarantined): Stage.QUARANTINED,
    (Stage.SCANNED, Queued): Stage.QUEUED,
    (Stage.SCANNED, Discarded): Stage.DISCARDED,
    (Stage.QUARANTINED, Released): Stage.QUEUED,
    (Stage.QUARANTINED, Looked): Stage.QUARANTINED,
    (Stage.QUARANTINED, Redirected): Stage.REDIRECTED,
    (Stage.QUARANTINED, Discarded): Stage.DISCARDED,
    (Stage.QUEUED, Deferred): Stage.QUEUED,
    (Stage.QUEUED, Delivered): Stage.DELIVERED,
    (Stage.QUEUED, Failed): Stage.FAILED,
    (Stage.QUEUED, Discarded): Stage.DISCARDED,
    (Stage.QUEUED, Undeliverable): Stage.QUARANTINED,
    (Stage.QUEUED, Warned): Stage.QUEUED,
    (Stage.QUEUED, Redirected): Stage.REDIRECTED,
    (Stage.QUEUED, Held): Stage.HELD,
    (Stage.HELD, Held): Stage.HELD,
    (Stage.HELD, Resumed): Stage.QUEUED,
    (Stage.HELD, Delivered): Stage.DELIVERED,  # its server had it already when it was held: a fact all the same
    (Stage.HELD, Failed): Stage.FAILED,
    (Stage.HELD, Undeliverable): Stage.QUARANTINED,
    (Stage.HELD, Discarded): Stage.DISCARDED,
    (Stage.HELD, Redirected): Stage.REDIRECTED,
}


class IllegalStep(ValueError):
    """An event that cannot follow: a bug when it comes from `decide`, old damage when it comes from the log."""


class Recipient(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    address: str
    stage: Stage
    notify: str = ""
    orcpt: str = ""
    original: str = ""
    tries: int = 0
    last: Attempt | None = None
    tried_at: int = 0
    """When `last` was."""
    unsent: str = ""
    """It is kept because it cannot be delivered, and this is why its sender was not told."""
    tag: str = ""
    """What its copy says of our verdict; see `events.Queued`."""


class Keeping(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who keeps a message from leaving, why, until when, and what happens then; see `events.Held`."""

    since: int
    by: str
    reason: str
    until: int = 0
    then: str = ""
    action: str = ""
    earlier: Keeping | None = None
    """The hold that stands again when the plan is taken back."""


class Look(msgspec.Struct, frozen=True, array_like=True):
    """Somebody looked at it while it was kept; see `events.Looked`."""

    at: int
    by: str
    how: str


LOOKS: Final = 20
"""The newest, kept in the head; all of them are in the history."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that a worker needs to decide the next step; stored as the message's head while it lives."""

    id: str
    version: int
    domain: str
    sender: str
    recipients: tuple[Recipient, ...]
    size: int
    received_at: int
    expires: int
    """When the copies that wait are given up."""
    client: Client | None = None
    origin: str = "smtp"
    cause: str = ""
    eight_bit: bool = False
    smtputf8: bool = False
    envid: str = ""
    ret: str = ""
    verdict: str = ""
    score: float = 0.0
    subject: str = ""
    message_id: str = ""
    reason: str = ""
    """Why it is in quarantine."""
    next_try: int = 0
    auth: tuple[AuthResult, ...] = ()
    drop: tuple[tuple[int, int], ...] = ()
    hold: Keeping | None = None
    """Of the recipients that are held; None when none is."""
    kept_until: int = 0
    """When the copies in quarantine are discarded; 0 in old heads, where `expires` says it."""
    warn_at: int = 0
    """When the sender is to be told that it still waits; 0: never, or it was."""
    missing: tuple[str, ...] = ()
    """Engines that did not look at it, each with why. While it is received: those that it waits for."""
    waits_since: int = 0
    """Since when it waits for them; 0: it does not."""
    looks: tuple[Look, ...] = ()

    @property
    def ends(self) -> int:
        """When the next of its copies is given up or discarded."""
        if not self.kept_until:
            return self.expires
        stages = {recipient.stage for recipient in self.recipients} - TERMINAL
        if Stage.QUARANTINED not in stages:
            return self.expires
        return self.kept_until if len(stages) == 1 else min(self.expires, self.kept_until)

    @property
    def stage(self) -> Stage:
        return roll_up(recipient.stage for recipient in self.recipients)

    @property
    def live(self) -> bool:
        return self.stage not in TERMINAL

    def addresses(self, *stages: Stage) -> tuple[str, ...]:
        """The recipients that are in one of `stages`, in the order of the envelope."""
        return tuple(recipient.address for recipient in self.recipients if recipient.stage in stages)


_RANK: Final = {stage: rank for rank, stage in enumerate(Stage)}


def roll_up(stages: Iterable[Stage]) -> Stage:
    """The least finished stage wins; of finished ones a failure shows before a deletion before a delivery."""
    return min(stages, key=_RANK.__getitem__)


def _born(message_id: str, event: Received) -> Message:
    return Message(
        id=message_id,
        version=1,
        domain=event.domain,
        sender=event.sender,
        recipients=tuple(
            Recipient(
                address=spec.address,
                stage=Stage.RECEIVED,
                notify=spec.notify,
                orcpt=spec.orcpt,
                original=spec.original,
            )
            for spec in event.recipients
        ),
        size=event.size,
        received_at=event.at,
        expires=event.expires,
        client=event.client,
        origin=event.origin,
        cause=event.cause,
        eight_bit=event.eight_bit,
        smtputf8=event.smtputf8,
        envid=event.envid,
        ret=event.ret,
    )


def _move(recipient: Recipient, event: MessageEvent, named: frozenset[str] | None) -> Recipient:
    if named is not None and recipient.address not in named:
        return recipient
    stage = NEXT.get((recipient.stage, type(event)))
    if stage is None:
        raise IllegalStep(f"{event.__struct_config__.tag} cannot follow {recipient.stage} for {recipient.address}")
    if isinstance(event, Looked):
        return recipient
    if isinstance(event, Deferred | Delivered | Failed | Undeliverable):
        unsent = event.unsent if isinstance(event, Undeliverable) else ""
        # The end of waiting repeats an attempt of long ago.
        tried_at = recipient.tried_at if event.tries == recipient.tries else event.at
        last = event.attempt or recipient.last
        return msgspec.structs.replace(
            recipient, stage=stage, tries=event.tries, last=last, tried_at=tried_at, unsent=unsent
        )
    if isinstance(event, Queued):
        return msgspec.structs.replace(recipient, stage=stage, tag=event.tag)
    if isinstance(event, Released):
        # Somebody has looked at it: our verdict is no longer said.
        return msgspec.structs.replace(recipient, stage=stage, unsent="", tag="")
    return msgspec.structs.replace(recipient, stage=stage, unsent="")


def _noted(message: Message, event: MessageEvent) -> dict[str, object]:
    """What an event says of the message as a whole."""
    match event:
        case Quarantined():
            return {"kept_until": event.expires, "reason": event.reason}
        case Undeliverable():
            return {"kept_until": event.expires}
        case Released():
            return {"expires": event.expires, "warn_at": 0}
        case Queued():
            return {"warn_at": event.warn_at}
        case Warned():
            return {"warn_at": 0}
        case Deferred():
            return {"next_try": event.next_try}
        case Held():
            return {"hold": _keeping(message, event)}
        case Resumed():
            return {"next_try": 0}
        case Looked():
            return {"looks": (*message.looks, Look(event.at, event.by, event.how))[-LOOKS:]}
        case _:
            return {}


def _keeping(message: Message, event: Held) -> Keeping:
    before = message.hold
    return Keeping(
        since=event.since or event.at,
        by=event.holder or event.by,
        reason=event.reason,
        until=event.until,
        then=event.then,
        action=event.action,
        earlier=before if event.then and before is not None and not before.then else None,
    )


def evolve(message: Message | None, event: MessageEvent, message_id: str = "") -> Message:
    """The message after `event`. Raises IllegalStep where `NEXT` has no entry for one of the named recipients."""
    if isinstance(event, Received):
        if message is not None:
            raise IllegalStep("received cannot follow anything")
        if not event.recipients:
            raise IllegalStep("received names nobody")
        return _born(message_id, event)
    if message is None:
        raise IllegalStep(f"{event.__struct_config__.tag} cannot come first")
    changes: dict[str, object] = {"version": message.version + 1}
    if isinstance(event, Scanned):
        named = None
        changes |= {
            "verdict": event.verdict, "score": event.score, "subject": event.subject, "message_id": event.message_id,
            "auth": event.auth, "drop": event.drop, "missing": event.missing, "waits_since": 0,
        }  # fmt: skip
    elif isinstance(event, Postponed):
        named = None
        changes |= {"missing": event.missing, "waits_since": message.waits_since or event.at}
    else:
        named = frozenset(event.recipients)
        unknown = named.difference(recipient.address for recipient in message.recipients)
        if not named or unknown:
            raise IllegalStep(f"{event.__struct_config__.tag} names {sorted(unknown) or 'nobody'}")
    changes |= _noted(message, event)
    recipients = tuple(_move(recipient, event, named) for recipient in message.recipients)
    changes["recipients"] = recipients
    if message.hold is not None and all(recipient.stage is not Stage.HELD for recipient in recipients):
        changes["hold"] = None
    return msgspec.structs.replace(message, **changes)


def replay(events: Iterable[tuple[str, MessageEvent]]) -> Message | None:
    """Fold a message's events, in order, from nothing."""
    message: Message | None = None
    for message_id, event in events:
        message = evolve(message, event, message_id)
    return message


_encoder = msgspec.msgpack.Encoder(enc_hook=plain)
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode_head(message: Message) -> bytes:
    return _encoder.encode(message)


def decode_head(data: bytes) -> Message:
    return _decoder.decode(data)
