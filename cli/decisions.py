"""What a person decides about one message: loaded, decided, appended; and again from the start when somebody was faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cli.heads import live_or_refuse
from cli.session import Session, actor
from pipeline import decide
from pipeline.events import Discarded, MessageEvent, Released
from pipeline.faults import ConflictError, RefusedError
from pipeline.state import Message
from pipeline.steps import message_step

TRIES: Final = 5
PATIENCE: Final = 10.0
"""Seconds for a store that is away; a person waits no longer."""


async def release(opened: Session, message_id: str) -> str:
    """Out of the quarantine, into the queue: what came of it, in words. Raises NotFoundError, RefusedError."""

    def decided(message: Message, now: int) -> Sequence[MessageEvent]:
        lifetime = opened.wiring.retry_of(message.domain).lifetime
        return decide.released(message, by=actor(), now=now, lifetime=lifetime)

    try:
        done = await _decide(opened, message_id, decided)
    except RefusedError:
        if await _happened(opened, message_id, lambda event: isinstance(event, Released)):
            return "was released before, and has left since"
        raise
    if done:
        return "released, on its way"
    if await _happened(opened, message_id, lambda event: isinstance(event, Released)):
        return "was released before, and waits to leave"
    raise RefusedError(f"{message_id} was never in quarantine", remedy=f"See `gatepost trace {message_id}`.")


async def delete(opened: Session, message_id: str) -> str:
    """Discarded by hand. Raises NotFoundError, RefusedError."""

    def decided(message: Message, now: int) -> Sequence[MessageEvent]:
        return decide.deleted(message, by=actor(), now=now)

    try:
        await _decide(opened, message_id, decided)
    except RefusedError:
        if await _happened(
            opened, message_id, lambda event: isinstance(event, Discarded) and event.reason == "deleted"
        ):
            return "was deleted before"
        raise
    return "deleted"


async def _decide(opened: Session, message_id: str, decided: Callable[[Message, int], Sequence[MessageEvent]]) -> bool:
    """Make it so; False when nothing was left to do. Raises NotFoundError, RefusedError, ConflictError."""
    wiring = opened.wiring
    for last in (*[False] * (TRIES - 1), True):
        message = await live_or_refuse(wiring, message_id)
        now = opened.now()
        events = decided(message, now)
        if not events:
            return False
        step, after = message_step(message, events, now=now)
        try:
            body_is_cold = await wiring.log.commit(step, patience=PATIENCE)
        except ConflictError:
            if last:
                raise
            continue
        if body_is_cold and not after.live:
            await wiring.bodies.drop_cold(message_id)
        return True
    raise AssertionError


async def _happened(opened: Session, message_id: str, wanted: Callable[[object], bool]) -> bool:
    async for entry in opened.wiring.log.history(message_id):
        if entry.subject == message_id and wanted(entry.event):
            return True
    return False
