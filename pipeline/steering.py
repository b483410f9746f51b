"""What a postmaster decides about a message that waits, and what follows when the time of that is over: pure, as `decide.py`.

Three words. A *hold* keeps a message from leaving until it is resumed, or until a time. A *plan* is a hold whose end is the
message's: returned to its sender, or deleted; until then it can be taken back, and the hold that was there before stands again.
A *redirection* sends a copy to somebody else, as a message of its own.

Asking for the same again gives no events. What contradicts what somebody else has just asked for is refused with the way out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from typing import Final

from pipeline.decide import RETURNED, bounce_id, kept_copies, knowingly, not_kept
from pipeline.events import (
    Attempt,
    Discarded,
    Failed,
    Held,
    MessageEvent,
    Received,
    RecipientSpec,
    Redirected,
    Resumed,
)
from pipeline.faults import RefusedError
from pipeline.ids import derived_id
from pipeline.state import LEAVING, Keeping, Message, Recipient, Stage

BOUNCE: Final = "bounce"
DELETE: Final = "delete"
DELETED: Final = "deleted"
OURSELVES: Final = "gatepost"
"""Who resumes what was held until a time."""
REDIRECT: Final = "redirect"
RELEASE: Final = "release"
ON_HOLD: Final = "Mail to this server is on hold."
"""In place of the words of a server that is not dialled because somebody holds it. Who and why is in the directory: these words
may come before a sender.
"""
ENDS: Final = {BOUNCE: "returned to its sender", DELETE: "deleted"}


def leaving(message: Message) -> tuple[str, ...]:
    """The recipients whose copies can be steered. Raises RefusedError when there is none."""
    found = message.addresses(*LEAVING)
    if not found:
        stage = message.stage
        remedy = f"See `gatepost trace {message.id}`."
        if stage in (Stage.RECEIVED, Stage.SCANNED):
            remedy = "It is being scanned; try again in a moment."
        elif stage is Stage.QUARANTINED:
            remedy = f"See `gatepost quarantine show {message.id}`."
        raise RefusedError(f"{message.id} does not wait to leave, it is {stage}", remedy=remedy)
    return found


def _unplanned(message: Message) -> None:
    hold = message.hold
    if hold is not None and hold.then:
        raise RefusedError(
            f"{message.id} will be {ENDS.get(hold.then, hold.then)} {_at(hold.until)}",
            remedy=f"Take that back first: gatepost queue undo {message.id}.",
        )


def _at(when: int) -> str:
    return dt.datetime.fromtimestamp(when // 1_000_000_000, dt.UTC).strftime("at %H:%M:%S UTC")


def held(message: Message, *, by: str, reason: str, now: int, until: int = 0) -> tuple[MessageEvent, ...]:
    """It does not leave until it is resumed, or until a time. Nothing when it is held so already."""
    copies = leaving(message)
    _unplanned(message)
    hold = message.hold
    if hold is not None and (hold.reason, hold.until) == (reason, until) and not message.addresses(Stage.QUEUED):
        return ()
    return (Held(at=now, domain=message.domain, recipients=copies, by=by, reason=reason, until=until),)


def resumed(message: Message, *, by: str, now: int, reason: str = "") -> tuple[MessageEvent, ...]:
    """It may leave again, at once. Nothing when it may already."""
    leaving(message)
    _unplanned(message)
    return _resumed(message, by=by, now=now, reason=reason)


def _resumed(message: Message, *, by: str, now: int, reason: str = "", undoes: str = "") -> tuple[MessageEvent, ...]:
    copies = message.addresses(Stage.HELD)
    if not copies:
        return ()
    return (
        Resumed(
            at=now, domain=message.domain, recipients=copies, by=by, reason=reason, undoes=undoes, size=message.size
        ),
    )


def planned(
    message: Message, *, then: str, by: str, reason: str, now: int, until: int, action: str
) -> tuple[MessageEvent, ...]:
    """Its end, at `until` unless it is taken back. Nothing when that is planned already, whoever asked for it."""
    copies = leaving(message)
    hold = message.hold
    if hold is not None and hold.then == then and not message.addresses(Stage.QUEUED):
        return ()
    if hold is not None and hold.then != then:
        _unplanned(message)
    return (
        Held(
            at=now, domain=message.domain, recipients=copies, by=by, reason=reason, until=until, then=then, action=action
        ),
    )  # fmt: skip


def undone(message: Message, *, by: str, now: int, action: str = "") -> tuple[MessageEvent, ...]:
    """The plan is taken back; nothing when there is none, or it is not of `action`."""
    hold = message.hold
    if hold is None or not hold.then or (action and hold.action != action):
        return ()
    if hold.earlier is None:
        return _resumed(message, by=by, now=now, undoes=hold.action)
    before = hold.earlier
    return (
        Held(
            at=now, domain=message.domain, recipients=message.addresses(Stage.HELD), by=by, reason=before.reason,
            until=before.until, undoes=hold.action, holder=before.by, since=before.since,
        ),
    )  # fmt: skip


def carried_out(
    message: Message, *, now: int, route: Attempt | None, unsent: Callable[[Recipient], str], partition_of_sender: int
) -> tuple[MessageEvent, ...]:
    """What follows when the time of a hold is over; nothing before. `route`: as in `decide.expired`."""
    hold = message.hold
    if hold is None or not hold.until or now < hold.until:
        return ()
    if not hold.then:
        return _resumed(message, by=OURSELVES, now=now, reason="the time of its hold is over")
    if hold.then == BOUNCE:
        return _returned(message, hold, now, route, unsent, partition_of_sender)
    return (
        Discarded(
            at=now, domain=message.domain, recipients=message.addresses(Stage.HELD), reason=DELETED, by=hold.by,
            size=message.size, note=hold.reason,
        ),
    )  # fmt: skip


def _returned(
    message: Message,
    hold: Keeping,
    now: int,
    route: Attempt | None,
    unsent: Callable[[Recipient], str],
    partition_of_sender: int,
) -> tuple[MessageEvent, ...]:
    events: list[MessageEvent] = []
    for recipient in message.recipients:
        if recipient.stage is Stage.HELD:
            why = unsent(recipient)
            events.append(
                Failed(
                    at=now, domain=message.domain, recipients=(recipient.address,), sender=message.sender,
                    size=message.size, tries=recipient.tries, reason=RETURNED, attempt=recipient.last or route,
                    bounce="" if why else bounce_id(message, now, partition_of_sender), unsent=why, by=hold.by,
                    note=hold.reason,
                )
            )  # fmt: skip
    return tuple(events)


def redirected(
    message: Message,
    *,
    to: str,
    by: str,
    reason: str,
    now: int,
    lifetime: int,
    partition: int,
) -> tuple[Redirected, Received]:
    """All copies that wait go to `to` instead: the end of this message, and the beginning of the one that goes there.

    The new one is looked at anew, as mail of its domain. `partition`: that of the domain of `to`.
    """
    copies = leaving(message)
    _unplanned(message)
    if copies == (to,):
        raise RefusedError(f"{message.id} goes to {to} already")
    return _sent_on(message, copies, REDIRECT, to, by, reason, now, lifetime, partition)


def released_to(
    message: Message,
    *,
    to: str,
    by: str,
    reason: str,
    now: int,
    lifetime: int,
    partition: int,
    recipients: Collection[str] = (),
    virus: bool = False,
) -> tuple[Redirected, Received]:
    """Copies that are kept (for `recipients`, all when empty) leave the quarantine for `to`. Nobody judges the new message again.

    Should it not be delivered either, its sender is not told: it was not judged to be good.
    """
    copies = kept_copies(message, recipients)
    if not copies:
        raise not_kept(message)
    knowingly(message, virus=virus)
    return _sent_on(message, copies, RELEASE, to, by, reason, now, lifetime, partition)


def _sent_on(
    message: Message,
    copies: tuple[str, ...],
    origin: str,
    to: str,
    by: str,
    reason: str,
    now: int,
    lifetime: int,
    partition: int,
) -> tuple[Redirected, Received]:
    new = derived_id(now, partition, f"{message.id}:{message.version}:{to}")
    first = next(recipient for recipient in message.recipients if recipient.address in copies)
    event = Redirected(
        at=now, domain=message.domain, recipients=copies, to=to, by=by, reason=reason, message=new,
        sender=message.sender, size=message.size,
    )  # fmt: skip
    spec = RecipientSpec(
        address=to, notify=first.notify, orcpt=first.orcpt, original=first.original or first.address
    )  # fmt: skip
    received = Received(
        at=now, domain=to.rpartition("@")[2], sender=message.sender, recipients=(spec,), size=message.size,
        expires=now + lifetime, client=message.client, origin=origin, cause=message.id, eight_bit=message.eight_bit,
        smtputf8=message.smtputf8 or not to.isascii(), envid=message.envid, ret=message.ret,
    )  # fmt: skip
    return event, received
