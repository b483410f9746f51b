"""One message from the connection it came over to its last outcome: how it is read, and how it is shown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cli.diagnoses import attempts_of

if TYPE_CHECKING:
    from cli.diagnoses import Diagnoses
    from cli.render import Screen
    from cli.session import Session
    from cli.words import Told
    from pipeline.events import AnyEvent, Recorded
    from pipeline.parked import Parked
    from pipeline.state import Message

VERB = 11
"""Width of the longest verb: quarantined."""
READ_ON = 2.0
"""Seconds for the log behind the last event of a message that waits: a week of it may be millions of entries."""
ROOM = 40
"""Columns that the details of an event should have; with fewer they begin further to the left."""
LOCAL, UTC = 23, 24
"""Widths of a moment: 2026-11-23 15:57:03.123, and 2026-11-23T14:57:03.123Z."""


async def read(opened: Session, wanted: str) -> tuple[list[Recorded], Message | None, list[Parked]]:
    """No message where it never got in. Raises NotFoundError."""
    from pipeline import parked
    from pipeline.events import Refused
    from pipeline.faults import NotFoundError
    from pipeline.ids import partition_of

    wiring = opened.wiring
    if partition_of(wanted) >= wiring.store.partitions:
        raise NotFoundError(f"no message {wanted}", remedy="It may be of another Gatepost; see --data.")
    (head,) = await wiring.schedule.heads(partition_of(wanted), [wanted])
    recorded = await _history(opened, wanted, head)
    own = [entry for entry in recorded if entry.subject == wanted]
    if not own:
        raise NotFoundError(
            f"no message {wanted}", remedy="The id is in the reply to the sender, and in every list of this program."
        )
    if isinstance(own[0].event, Refused):
        return own, None, []
    aside = [item for item in await parked.listed(wiring.store) if item.message_id == wanted]
    return recorded, head or _folded(own, wanted), aside


async def _history(opened: Session, wanted: str, head: Message | None) -> list[Recorded]:
    """All that happened to the message; and what its route went through since, as far as there is time to read that."""
    recorded: list[Recorded] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None) as limit:
            async for entry in opened.wiring.past.message(wanted):
                recorded.append(entry)
                if head is not None and entry.subject == wanted and entry.version >= head.version:
                    limit.reschedule(asyncio.get_running_loop().time() + READ_ON)
    return recorded


def _folded(own: Sequence[Recorded], message_id: str) -> Message:
    """The message as its history leaves it; an impossible step in old history is passed over."""
    from pipeline.events import MESSAGE_EVENTS
    from pipeline.faults import CorruptError
    from pipeline.state import IllegalStep, evolve

    message: Message | None = None
    for entry in own:
        if isinstance(entry.event, MESSAGE_EVENTS):
            try:
                message = evolve(message, entry.event, message_id)  # type: ignore[arg-type]  # narrowed by a tuple of types
            except IllegalStep:
                continue
    if message is None:
        raise CorruptError(
            f"the history of {message_id} does not begin with its arrival", remedy="See `gatepost check`."
        )
    return message


def show(
    screen: Screen,
    wanted: str,
    recorded: Sequence[Recorded],
    message: Message | None,
    parked: Sequence[Parked],
    meant: Diagnoses,
    now: int,
) -> None:
    """`message` None: it never got in."""
    if message is None:
        screen.say((wanted, "bold"), "  ", ("refused", "red"))
    else:
        _head(screen, message, now)
    screen.say()
    _timeline(screen, recorded, meant)
    for item in parked:
        screen.say()
        screen.say(("set aside", "red"), f" as {item.reference}: ", _cleaned(item.reason))
        screen.say("  Try it again: gatepost parked retry ", (item.reference, "bold"))


def _cleaned(text: str) -> str:
    from cli.render import clean

    return clean(text)


def _head(screen: Screen, message: Message, now: int) -> None:
    from cli.render import clean, local, relative, size
    from cli.words import path, people

    styles = {"delivered": "green", "failed": "red", "quarantined": "yellow", "queued": "yellow"}
    stage = message.stage.value
    screen.say((message.id, "bold"), "  ", (stage, styles.get(stage, "")))
    several = len({recipient.stage for recipient in message.recipients}) > 1
    copies = ", ".join(f"{clean(one.address)} ({one.stage})" for one in message.recipients[:20]) if several else ""
    screen.facts([
        ("from", path(message.sender)),
        ("to", copies or people([one.address for one in message.recipients])),
        ("subject", clean(message.subject)),
        ("Message-ID", clean(message.message_id)),
        ("size", size(message.size)),
        ("received", f"{local(message.received_at)}, {relative(message.received_at, now)}"),
        ("gives up", f"{local(message.ends)}, {relative(message.ends, now)}" if message.live else ""),
        ("held", _held(message)),
        ("waits for", (clean("; ".join(message.missing)), "yellow") if message.waits_since else ""),
        ("it was" if message.origin in ("redirect", "release") else "speaks of", message.cause),
    ])  # fmt: skip


def _held(message: Message) -> tuple[str, str] | str:
    """Who keeps it from leaving, and what comes then."""
    from cli.render import clean, local
    from pipeline.steering import ENDS

    hold = message.hold
    if hold is None:
        return ""
    ends = f", to be {ENDS.get(hold.then, 'sent on')} at {local(hold.until)}" if hold.until else ""
    return f"since {local(hold.since)} by {clean(hold.by)}{ends}: {clean(hold.reason)}", "yellow"


def _timeline(screen: Screen, recorded: Sequence[Recorded], meant: Diagnoses) -> None:
    from cli.render import local_ms, utc_ms, zone
    from cli.words import describe

    local_is_utc = bool(recorded) and local_ms(recorded[0].event.at) + "Z" == utc_ms(recorded[0].event.at).replace(
        "T", " "
    )
    if recorded and not local_is_utc:
        screen.say((f"{zone(recorded[0].event.at):<{LOCAL}}  UTC", "dim"))
    indent = UTC + 2 + VERB + 2 if local_is_utc else LOCAL + 2 + UTC + 2 + VERB + 2
    for entry in recorded:
        at, told = entry.event.at, describe(entry.event)
        first = "" if local_is_utc else f"{local_ms(at)}  "
        screen.say(first, (utc_ms(at), "" if local_is_utc else "dim"), "  ", *line(told))
        inward = 4 if screen.narrower_than(indent + ROOM) else indent
        detail(screen, told, inward)
        _meaning(screen, entry, meant, inward)


def line(told: Told) -> tuple[tuple[str, str], str]:
    return (f"{told.verb:<{VERB}}", told.style or "bold"), f"  {told.text}"


def detail(screen: Screen, told: Told, indent: int) -> None:
    """What belongs to an event besides its line."""
    for text in told.more:
        screen.say(" " * indent, (text, "dim"))
    for where, reply in told.quotes:
        screen.say(" " * indent, (where, "dim"))
        screen.quote(reply, indent)


def _meaning(screen: Screen, entry: Recorded, meant: Diagnoses, indent: int) -> None:
    """What the answers of an event are about, each once; and what can be done, unless that was said before."""
    domain = entry.event.domain
    titles = {meant.title(domain, attempt): attempt for attempt in attempts_of(entry.event) if attempt.stage}
    for title, attempt in titles.items():
        screen.say(" " * indent, title)
        for tip in meant.tips(domain, attempt):
            screen.say(" " * (indent + 2), (tip, "dim"))


def form(
    message_id: str,
    recorded: Sequence[Recorded],
    message: Message | None,
    parked: Sequence[Parked],
    meant: Diagnoses,
) -> dict[str, Any]:
    from cli.forms import message_form, parked_form

    return {
        **(message_form(message) if message is not None else {"state": "refused"}),
        "id": message_id,
        "parked": [parked_form(item) for item in parked],
        "events": [
            {"entry": entry.entry, "about": entry.subject, "version": entry.version, **_event_form(entry.event, meant)}
            for entry in recorded
        ],
    }


def _event_form(event: AnyEvent, meant: Diagnoses) -> dict[str, Any]:
    """An event, and in its attempts that did not succeed what they are about."""
    from cli.forms import event_form

    form = event_form(event)
    forms = form["attempts"] if "attempts" in form else [form.get("attempt")]
    for attempt, its_form in zip(attempts_of(event), forms, strict=False):
        its_form["diagnosis"] = meant.form(event.domain, attempt)
    return form
