"""Sending what we write ourselves: as part of the step that says why, or at once."""

from __future__ import annotations

from pipeline import ownmail
from pipeline.events import Received
from pipeline.steps import Effect, promised_bounce, promised_on_disk, received_step
from workers.wiring import Wiring


async def promise(
    wiring: Wiring, partition: int, cause: str, message_id: str, event: Received, body: bytes
) -> tuple[Effect, ...]:
    """For a step in `partition` about the subject `cause`: in the same step the mail waits in the outbox, and a janitor makes a message of it.

    A body too large for Redis is on disk when this returns. It stays there when the step does not happen, for it may be the one of
    somebody faster, whose mail has the same id; nobody's is swept up in time.
    """
    draft = wiring.bodies.draft()
    draft.write(body)
    hot = await wiring.bodies.settle(draft, [message_id])
    if hot is None:
        return promised_on_disk(partition, cause, message_id, event)
    return (promised_bounce(partition, cause, message_id, event, hot),)


async def send(wiring: Wiring, letter: ownmail.Letter, *, origin: str, cause: str = "") -> str:
    """Now, because somebody says so: the id of the message."""
    now = wiring.clock()
    message_id = ownmail.id_of(letter.to, wiring.store.partitions, now, f"{cause}\n{now}")
    body = ownmail.compose(letter, hostname=wiring.hostname, now=now, message_id=message_id)
    event = received(wiring, letter.to, origin=origin, size=len(body), now=now)
    draft = wiring.bodies.draft()
    draft.write(body)
    hot = await wiring.bodies.settle(draft, [message_id])
    await wiring.log.commit(received_step(message_id, event, hot))
    return message_id


def received(wiring: Wiring, to: str, *, origin: str, size: int, now: int) -> Received:
    """The first event of what is written to `to`; it is tried for as long as other mail of that domain."""
    lifetime = wiring.retry_of(to.rpartition("@")[2].lower()).lifetime
    return ownmail.received(to, origin=origin, size=size, now=now, lifetime=lifetime)
