"""What the sender is owed: a bounce, or the reason why there is none; and the report that somebody asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pipeline import dsn
from pipeline.bodies import Buffer
from pipeline.decide import bounce_received, bounced
from pipeline.events import Delivered, Failed, MessageEvent
from pipeline.ids import partition_for, partition_of
from pipeline.state import Message, Recipient
from pipeline.steps import Effect, promised_bounce

HEADER: Final = 64 << 10


def header_of(content: Buffer) -> bytes:
    """The header block, its first 64 KiB."""
    end = content.find(b"\r\n\r\n", 0, HEADER)
    return bytes(content[: end + 2 if end >= 0 else HEADER])


def unsent(message: Message, content: Buffer) -> Callable[[Recipient], str]:
    """Why a recipient's failure is not worth a bounce, or "". The header is looked at only when somebody asks."""
    return lambda recipient: dsn.worth_bouncing(message, recipient, header_of(content))


def sender_partition(message: Message, partitions: int) -> int:
    return partition_for(message.sender.rpartition("@")[2], partitions)


def promise(
    message: Message, events: Sequence[MessageEvent], content: Buffer, *, hostname: str, now: int, lifetime: int
) -> tuple[Effect, ...]:
    """The bounce that `events` speak of, rendered and put into the outbox by the same step; nothing when they speak of none."""
    bounce_id, addresses = bounced(events)
    if not bounce_id:
        return ()
    failures = [
        dsn.Failure(
            recipient=recipient,
            attempt=event.attempt,
            reason=event.reason if isinstance(event, Failed) else dsn.RELAYED,
            note=event.note if isinstance(event, Failed) else "",
        )
        for event in events
        if isinstance(event, Failed | Delivered)
        for recipient in message.recipients
        if recipient.address in event.recipients and recipient.address in addresses
    ]
    body = dsn.render(
        message=message, failures=failures, header=header_of(content), hostname=hostname, now=now, bounce_id=bounce_id
    )
    received = bounce_received(
        message, domain=message.sender.rpartition("@")[2], size=len(body), now=now, lifetime=lifetime
    )
    return (promised_bounce(partition_of(message.id), message.id, bounce_id, received, body),)
