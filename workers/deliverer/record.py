"""Recording what a server answered: the events, the bounce they promise, and the rare cases where somebody was faster."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from pipeline import bounces, decide
from pipeline.bodies import Buffer
from pipeline.events import Delivered, MessageEvent
from pipeline.faults import ConflictError, LeaseLostError
from pipeline.ids import partition_of
from pipeline.outcome import Outcome
from pipeline.retry import next_try
from pipeline.state import Message
from pipeline.steps import Effect, message_step
from workers.wiring import Wiring


async def record(
    wiring: Wiring,
    message: Message,
    outcomes: Mapping[str, Outcome],
    content: Buffer,
    *,
    fence: str,
    token: str,
    also: Sequence[Effect] = (),
) -> None:
    """Append what follows from `outcomes`.

    A delivery is a fact whoever holds the lease, so it is recorded without the fence: withholding it would only make
    another worker deliver again. Everything else is a plan for the future and needs the lease; without it, nothing is recorded.
    """
    current: Message | None = message
    while current is not None:
        now = wiring.clock()
        header = bounces.header_of(content)
        events = decide.answered(
            current,
            outcomes,
            now=now,
            next_try=next_try(now, wiring.retry, random.random()),  # noqa: S311 - spreads retries, guards nothing
            unsent=bounces.unsent(current, header),
            partition_of_sender=bounces.sender_partition(current, wiring.store.partitions),
        )
        if not events:
            return
        try:
            await _commit(wiring, current, events, header, now, fence, token, also)
        except ConflictError:
            (current,) = await wiring.schedule.heads(partition_of(message.id), [message.id])
        except LeaseLostError:
            return
        else:
            return


async def _commit(
    wiring: Wiring,
    message: Message,
    events: Sequence[MessageEvent],
    header: bytes,
    now: int,
    fence: str,
    token: str,
    also: Sequence[Effect],
) -> None:
    promise = bounces.promise(
        message, events, header, hostname=wiring.hostname, now=now, lifetime=int(wiring.settings.queue_lifetime)
    )
    fact = any(isinstance(event, Delivered) for event in events)
    step, after = message_step(
        message, events, now=now, also=(*promise, *also), fence="" if fact else fence, token="" if fact else token
    )
    body_is_cold = await wiring.log.commit(step)
    if body_is_cold and not after.live:
        await wiring.bodies.drop_cold(after.id)
