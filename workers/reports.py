"""What senders are sent by us: the reports that events promise, made in the same step that records the events."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline import bounces
from pipeline.bodies import Buffer
from pipeline.events import MessageEvent
from pipeline.state import Message
from pipeline.steps import Effect
from workers.wiring import Wiring


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
        lifetime=int(wiring.settings.queue_lifetime),
        tried=tried,
    )
