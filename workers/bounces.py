"""What senders are sent by us: the reports that events promise, made in the same step that records the events."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline import bounces
from pipeline.bodies import Buffer
from pipeline.decide import bounced, without_report
from pipeline.dsn_words import FALLBACK
from pipeline.events import MessageEvent
from pipeline.faults import ConflictError
from pipeline.state import Message
from pipeline.steps import Effect, message_step
from pipeline.unsent import TOO_MANY
from workers.wiring import Wiring


async def within_limits(wiring: Wiring, message: Message, events: tuple[MessageEvent, ...]) -> tuple[MessageEvent, ...]:
    """`events`, or the same without the report that they promise, when its addressee got enough of them in this hour."""
    if not bounced(events)[0] or await wiring.allowance.take(message.sender, wiring.clock()):
        return events
    return without_report(message, events, why=TOO_MANY, retention=wiring.retention_of(message.domain))


def language(wiring: Wiring, message: Message) -> str:
    """Of the sender, whose domain may be one of ours; else of the recipients."""
    for name in (message.sender.rpartition("@")[2], message.domain):
        home = wiring.directory.home(name)
        if home is not None and home.language:
            return home.language
    return FALLBACK


def promise(
    wiring: Wiring, message: Message, events: Sequence[MessageEvent], content: Buffer, *, tried: int = 0
) -> tuple[Effect, ...]:
    """The report that `events` promise, for the outbox; nothing when they promise none. `tried`: as for `bounces.promise`."""
    return bounces.promise(
        message,
        events,
        content,
        hostname=wiring.hostname,
        now=events[0].at,
        lifetime=wiring.retry_of(message.sender.rpartition("@")[2]).lifetime,
        tried=tried,
        language=language(wiring, message),
    )


async def conclude(
    wiring: Wiring, message: Message, events: tuple[MessageEvent, ...], content: Buffer, *, tried: int
) -> bool:
    """Record what ends a wait, with the report that is owed for it; False when somebody was faster. `tried`: as for `promise`."""
    events = await within_limits(wiring, message, events)
    also = promise(wiring, message, events, content, tried=tried)
    step, after = message_step(message, events, now=events[0].at, also=also)
    try:
        if await wiring.log.commit(step) and not after.live:
            await wiring.bodies.drop_cold(message.id)
    except ConflictError:
        return False
    return True
