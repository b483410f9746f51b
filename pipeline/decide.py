"""What follows from a message's state and what just happened to it: pure functions from facts to facts.

Each returns the events to append, in order, or an empty tuple when nothing is left to record: that is how a redelivered
piece of work, a second worker and a double click all become harmless. Nothing here reads a clock, a random number or a store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from pipeline.actions import Action
from pipeline.directory.policy import Act
from pipeline.events import (
    Attempt,
    Deferred,
    Delivered,
    Discarded,
    Failed,
    Looked,
    MessageEvent,
    Quarantined,
    Queued,
    Received,
    RecipientSpec,
    Released,
    Scanned,
    Undeliverable,
    Warned,
)
from pipeline.faults import RefusedError
from pipeline.ids import derived_id
from pipeline.outcome import Kind, Outcome
from pipeline.state import Message, Recipient, Stage

REFUSED: Final = "refused"
EXPIRED: Final = "expired"
RETURNED: Final = "returned"
"""By a postmaster."""
OWN: Final = frozenset({"bounce", "report", "alert"})
"""Origins of what we wrote ourselves."""
VIRUS: Final = "virus"
"""The verdict with which nothing leaves the quarantine by mistake."""


def judged(
    message: Message,
    scanned: Scanned,
    actions: Sequence[Action],
    *,
    now: int,
    retention: int,
    warn_at: int = 0,
) -> tuple[MessageEvent, ...]:
    """The scan's result, and where each recipient's copy goes, as `actions` say; one that they do not name is queued.

    `warn_at`: when the sender is to be told should they still wait then; 0: never.
    """
    if message.stage is not Stage.RECEIVED:
        return ()
    said = {action.recipient: action for action in actions}
    kept: dict[str, list[str]] = {}
    out: dict[str, list[str]] = {}
    gone: list[str] = []
    for address in message.addresses(Stage.RECEIVED):
        action = said.get(address)
        if action is None or action.action in (Act.DELIVER, Act.TAG):
            out.setdefault(action.tag if action is not None else "", []).append(address)
        elif action.action == Act.DISCARD:
            gone.append(address)
        else:
            kept.setdefault(action.reason, []).append(address)
    common: dict[str, Any] = {"at": now, "domain": message.domain}
    events: list[MessageEvent] = [scanned]
    for reason, addresses in kept.items():
        events.append(Quarantined(**common, recipients=tuple(addresses), reason=reason, expires=now + retention))
    if gone:
        events.append(Discarded(**common, recipients=tuple(gone), reason="policy", size=message.size))
    for tag, addresses in out.items():
        events.append(Queued(**common, recipients=tuple(addresses), size=message.size, warn_at=warn_at, tag=tag))
    return tuple(events)


def answered(
    message: Message,
    outcomes: Mapping[str, Outcome],
    *,
    now: int,
    next_try: int,
    unsent: Callable[[Recipient], str],
    partition_of_sender: int,
    retention: int,
) -> tuple[MessageEvent, ...]:
    """What a server's answers mean for a message. `unsent` says why a recipient's failure is not worth a bounce, or ""."""
    groups: dict[tuple[Kind, Attempt, int, str, bool], list[str]] = {}
    for recipient in message.recipients:
        outcome = outcomes.get(recipient.address)
        # What was delivered is a fact, also of a copy that somebody took to be out of every worker's hands.
        open_to = outcome is not None and (
            recipient.stage is Stage.QUEUED or (recipient.stage is Stage.HELD and outcome.kind is Kind.ACCEPTED)
        )
        if outcome is not None and open_to:
            why = unsent(recipient) if outcome.kind is Kind.REFUSED else ""
            told = outcome.kind is Kind.ACCEPTED and _wants_report(message, recipient, outcome.attempt, unsent)
            group = groups.setdefault((outcome.kind, outcome.attempt, recipient.tries + 1, why, told), [])
            group.append(recipient.address)
    events: list[MessageEvent] = []
    for (kind, attempt, tries, why, told), addresses in groups.items():
        common: dict[str, Any] = {
            "at": now, "domain": message.domain, "recipients": tuple(addresses), "sender": message.sender,
            "size": message.size, "tries": tries, "attempt": attempt,
        }  # fmt: skip
        if kind is Kind.ACCEPTED:
            report = bounce_id(message, now, partition_of_sender) if told else ""
            events.append(Delivered(**common, waited=now - message.received_at, report=report))
        elif kind is Kind.REFUSED:
            bounce = bounce_id(message, now, partition_of_sender)
            events.append(_given_up(message, common, REFUSED, why=why, bounce=bounce, kept_until=now + retention))
        else:
            events.append(Deferred(**common, next_try=next_try))
    return tuple(events)


def _given_up(
    message: Message, common: Mapping[str, Any], reason: str, *, why: str, bounce: str, kept_until: int
) -> Failed | Undeliverable:
    """It is not tried again. `why` the sender is not told; then the postmaster has to be, who finds it in the quarantine.

    Only of what we wrote ourselves nothing is kept: it says what the history of its cause says, and nobody waits for it.
    """
    if not why:
        return Failed(**common, reason=reason, bounce=bounce)
    if message.origin in OWN:
        return Failed(**common, reason=reason, unsent=why)
    return Undeliverable(
        **common, reason=reason, unsent=why, expires=kept_until, subject=message.subject, score=message.score,
        client=message.client.address if message.client is not None else "", received=message.received_at,
    )  # fmt: skip


def expired(
    message: Message,
    *,
    now: int,
    route: Attempt | None,
    unsent: Callable[[Recipient], str],
    partition_of_sender: int,
    retention: int,
) -> tuple[MessageEvent, ...]:
    """The end of waiting: queued copies are returned to the sender, quarantined ones discarded.

    `route`: what the domain's servers last said when none could be used; it is why the message never had a try of its own.
    """
    events: list[MessageEvent] = []
    for recipient in message.recipients:
        # What somebody ends in a few minutes, unless they take it back, is theirs.
        waits = recipient.stage is Stage.HELD and message.hold is not None and not message.hold.then
        if (recipient.stage is Stage.QUEUED or waits) and now >= message.expires:
            common: dict[str, Any] = {
                "at": now, "domain": message.domain, "recipients": (recipient.address,), "sender": message.sender,
                "size": message.size, "tries": recipient.tries, "attempt": route or recipient.last,
            }  # fmt: skip
            why, bounce = unsent(recipient), bounce_id(message, now, partition_of_sender)
            events.append(_given_up(message, common, EXPIRED, why=why, bounce=bounce, kept_until=now + retention))
    kept = message.addresses(Stage.QUARANTINED)
    if kept and now >= (message.kept_until or message.expires):
        events.append(Discarded(at=now, domain=message.domain, recipients=kept, reason="retention", size=message.size))
    return tuple(events)


def delayed(
    message: Message,
    *,
    now: int,
    route: Attempt | None,
    wanted: Callable[[Recipient], bool],
    partition_of_sender: int,
) -> tuple[MessageEvent, ...]:
    """The sender is told that copies still wait, those that `wanted` says; once, for after it there is no `warn_at` any more.

    `route` as for `expired`.
    """
    if not message.warn_at or now < message.warn_at:
        return ()
    groups: dict[tuple[Attempt | None, int], list[str]] = {}
    for recipient in message.recipients:
        if recipient.stage is Stage.QUEUED and wanted(recipient):
            groups.setdefault((route or recipient.last, recipient.tries), []).append(recipient.address)
    return tuple(
        Warned(
            at=now, domain=message.domain, recipients=tuple(addresses), sender=message.sender, size=message.size,
            tries=tries, warning=bounce_id(message, now, partition_of_sender), until=message.expires, attempt=attempt,
        )
        for (attempt, tries), addresses in groups.items()
    )  # fmt: skip


def kept_copies(message: Message, recipients: Collection[str] = ()) -> tuple[str, ...]:
    """The recipients whose copy is in quarantine, of `recipients` (any when empty)."""
    return tuple(a for a in message.addresses(Stage.QUARANTINED) if not recipients or a in recipients)


def knowingly(message: Message, *, virus: bool) -> None:
    """Raises RefusedError for what was found to carry a virus, unless who releases it says that they know."""
    if message.verdict == VIRUS and not virus:
        raise RefusedError(
            f"{message.id} carries a virus", remedy="A postmaster may release it all the same, and says so: --virus."
        )


def released(
    message: Message, *, by: str, now: int, lifetime: int, recipients: Collection[str] = (), virus: bool = False
) -> tuple[MessageEvent, ...]:
    """Out of the quarantine for `recipients` (all when empty). Nothing when it was released before: releasing twice is one release."""
    kept = kept_copies(message, recipients)
    if not kept:
        if message.addresses(Stage.QUEUED):
            return ()
        raise not_kept(message)
    knowingly(message, virus=virus)
    return (
        Released(
            at=now, domain=message.domain, recipients=kept, by=by, expires=now + lifetime, size=message.size,
            virus=message.verdict == VIRUS,
        ),
    )  # fmt: skip


def not_kept(message: Message) -> RefusedError:
    return RefusedError(
        f"{message.id} is not in quarantine, it is {message.stage}", remedy=f"See `gatepost trace {message.id}`."
    )


def looked(
    message: Message, *, by: str, how: str, now: int, recipients: Collection[str] = ()
) -> tuple[MessageEvent, ...]:
    """Somebody saw kept copies; nothing when there is none any more."""
    kept = kept_copies(message, recipients)
    return (Looked(at=now, domain=message.domain, recipients=kept, by=by, how=how),) if kept else ()


def deleted(message: Message, *, by: str, now: int, recipients: Collection[str] = ()) -> tuple[MessageEvent, ...]:
    """Discarded by hand, out of the quarantine, for `recipients` (all when empty)."""
    kept = kept_copies(message, recipients)
    if not kept:
        raise not_kept(message)
    return (Discarded(at=now, domain=message.domain, recipients=kept, reason="deleted", by=by, size=message.size),)


def _wants_report(message: Message, recipient: Recipient, attempt: Attempt, unsent: Callable[[Recipient], str]) -> bool:
    """Whether the sender asked to hear of the delivery and will hear it from nobody else (RFC 3461 5.2.2).

    Who would get no bounce gets no report either, whatever else it asked for.
    """
    asked = "SUCCESS" in recipient.notify.upper().split(",")
    owed = asked and bool(message.sender) and message.origin not in OWN and not attempt.dsn
    return owed and not unsent(msgspec.structs.replace(recipient, notify=""))


def bounce_id(message: Message, now: int, partition: int) -> str:
    """Derived from the message and its version, so that the bounce of one failure is made once, whoever makes it."""
    return derived_id(now, partition, f"{message.id}:{message.version}")


def without_report(
    message: Message, events: Sequence[MessageEvent], *, why: str, retention: int
) -> tuple[MessageEvent, ...]:
    """The same without the report that they promise: what would have been returned is kept, and no word is said of the rest."""
    changed: list[MessageEvent] = []
    for event in events:
        if isinstance(event, Failed) and event.bounce:
            common = {
                name: getattr(event, name)
                for name in ("at", "domain", "recipients", "sender", "size", "tries", "attempt")
            }
            changed.append(
                _given_up(message, common, event.reason, why=why, bounce="", kept_until=event.at + retention)
            )
        elif isinstance(event, Delivered):
            changed.append(msgspec.structs.replace(event, report=""))
        elif not isinstance(event, Warned):
            changed.append(event)
    return tuple(changed)


def _report(event: Failed | Delivered | Warned) -> str:
    if isinstance(event, Failed):
        return event.bounce
    return event.report if isinstance(event, Delivered) else event.warning


def bounced(events: Sequence[MessageEvent]) -> tuple[str, frozenset[str]]:
    """The report that `events` promise: its id and the recipients it speaks of; ("", nobody) when they promise none."""
    promised = [
        (_report(event), event.recipients) for event in events if isinstance(event, Failed | Delivered | Warned)
    ]
    told = [(name, addresses) for name, addresses in promised if name]
    if not told:
        return "", frozenset()
    return told[0][0], frozenset(address for _, addresses in told for address in addresses)


def bounce_received(
    message: Message, *, domain: str, size: int, now: int, lifetime: int, utf8: bool = False
) -> Received:
    """The first event of a bounce: from the null sender, to the sender of the message that failed. `utf8`: it needs SMTPUTF8."""
    return Received(
        at=now, domain=domain, sender="", recipients=(RecipientSpec(address=message.sender),), size=size,
        expires=now + lifetime, origin="bounce", cause=message.id, eight_bit=utf8, smtputf8=utf8,
    )  # fmt: skip
