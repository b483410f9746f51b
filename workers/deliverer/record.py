"""Recording what a server answered: the events, the bounce they promise, and the rare cases where somebody was faster."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import msgspec

from pipeline import bounces, decide, metrics
from pipeline.bodies import Buffer
from pipeline.events import Delivered, MessageEvent
from pipeline.faults import ConflictError
from pipeline.ids import partition_of
from pipeline.outcome import Outcome
from pipeline.retry import next_try
from pipeline.state import Message
from pipeline.steps import Effect, message_step
from workers.bounces import promise, within_limits
from workers.wiring import Wiring


class Fence(msgspec.Struct):
    """What says that a worker may still plan for a domain: its token among the domain's slots."""

    key: str
    token: str
    given_back: bool = False
    """Together with what was recorded."""


async def record(
    wiring: Wiring,
    message: Message,
    outcomes: Mapping[str, Outcome],
    content: Buffer,
    fence: Fence,
    also: Sequence[Effect] = (),
    last: Sequence[Effect] = (),
) -> Message | None:
    """Append what follows from `outcomes`; the message after it, None when it is finished. `last`: what gives the slot back.

    A delivery is a fact whoever holds the lease, so it is recorded without the fence: withholding it would only make
    another worker deliver again. Everything else is a plan for the future and needs the lease. Raises LeaseLostError.
    """
    for outcome in outcomes.values():
        metrics.DELIVERY_OUTCOMES.add(outcome.kind, outcome.attempt.stage)
    current: Message | None = message
    while current is not None:
        now = wiring.clock()
        events = decide.answered(
            current,
            outcomes,
            now=now,
            next_try=next_try(now, wiring.retry_of(current.domain), random.random()),  # noqa: S311 - spreads retries, guards nothing
            unsent=bounces.unsent(current, content),
            partition_of_sender=bounces.sender_partition(current, wiring.store.partitions),
            retention=wiring.retention_of(current.domain),
        )
        if not events:
            return current
        events = await within_limits(wiring, current, events)
        try:
            promised = promise(wiring, current, events, content)
            left = await _commit(wiring, current, events, fence, (*promised, *also), last)
            fence.given_back = bool(last)
        except ConflictError:
            (current,) = await wiring.schedule.heads(partition_of(message.id), [message.id])
        else:
            return left
    return None


async def _commit(
    wiring: Wiring,
    message: Message,
    events: Sequence[MessageEvent],
    fence: Fence,
    also: Sequence[Effect],
    last: Sequence[Effect],
) -> Message | None:
    fact = any(isinstance(event, Delivered) for event in events)
    key, token = ("", "") if fact else (fence.key, fence.token)
    step, after = message_step(message, events, now=events[0].at, also=also, fence=key, token=token, last=last)
    body_is_cold = await wiring.log.commit(step)
    if after.live:
        return after
    if body_is_cold:
        await wiring.bodies.drop_cold(after.id)
    return None
