"""What the sender is owed: a bounce, or the reason why there is none; and the report that somebody asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline import dsn
from pipeline import unsent as reasons
from pipeline.bodies import Buffer
from pipeline.decide import bounce_received, bounced
from pipeline.dsn_words import FALLBACK
from pipeline.events import Delivered, Failed, MessageEvent, Warned
from pipeline.ids import partition_for, partition_of
from pipeline.state import Message, Recipient
from pipeline.steps import Effect, promised_bounce


def header_of(content: Buffer) -> bytes:
    """The header block, its first 64 KiB."""
    end = content.find(b"\r\n\r\n", 0, reasons.MAX_HEADER)
    return bytes(content[: end + 2 if end >= 0 else reasons.MAX_HEADER])


def unsent(message: Message, content: Buffer) -> Callable[[Recipient], str]:
    """Why a recipient's failure is not worth a bounce, or "". The header is looked at only when somebody asks, and then once."""
    known: list[str] = []

    def unreturned() -> str:
        if not known:
            known.append(reasons.unreturned(message, header_of(content)))
        return known[0]

    return lambda recipient: reasons.unasked(recipient) or unreturned()


def sender_partition(message: Message, partitions: int) -> int:
    return partition_for(message.sender.rpartition("@")[2], partitions)


def promise(
    message: Message,
    events: Sequence[MessageEvent],
    content: Buffer,
    *,
    hostname: str,
    now: int,
    lifetime: int,
    tried: int = 0,
    language: str = FALLBACK,
) -> tuple[Effect, ...]:
    """The report that `events` speak of, rendered and put into the outbox by the same step; nothing when they speak of none.

    `tried`: when the domain's servers were tried last, if what they said is why the message waits or waited; else 0.
    """
    bounce_id, _ = bounced(events)
    if not bounce_id:
        return ()
    body = written(message, events, content, hostname=hostname, now=now, tried=tried, language=language)
    received = bounce_received(
        message, domain=message.sender.rpartition("@")[2], size=len(body), now=now, lifetime=lifetime,
        utf8=dsn.needs_utf8(message),
    )  # fmt: skip
    return (promised_bounce(partition_of(message.id), message.id, bounce_id, received, body),)


def written(
    message: Message,
    events: Sequence[MessageEvent],
    content: Buffer,
    *,
    hostname: str,
    now: int,
    tried: int = 0,
    language: str = FALLBACK,
) -> bytes:
    """The report that `events` promise, as bytes."""
    bounce_id, addresses = bounced(events)
    failures = [
        _failure(recipient, event, tried)
        for event in events
        if isinstance(event, Failed | Delivered | Warned)
        for recipient in message.recipients
        if recipient.address in event.recipients and recipient.address in addresses
    ]
    return dsn.render(
        message=message, failures=failures, header=header_of(content), hostname=hostname, now=now, bounce_id=bounce_id,
        language=language,
    )  # fmt: skip


def _failure(recipient: Recipient, event: Failed | Delivered | Warned, tried: int) -> dsn.Failure:
    if isinstance(event, Warned):
        at = tried or recipient.tried_at
        return dsn.Failure(recipient=recipient, attempt=event.attempt, reason=dsn.DELAYED, at=at, until=event.until)
    if isinstance(event, Delivered):
        return dsn.Failure(recipient=recipient, attempt=event.attempt, reason=dsn.RELAYED, at=event.at)
    # What a server just said was said now; the end of waiting repeats what was said last.
    at = event.at if event.tries != recipient.tries else tried or recipient.tried_at
    return dsn.Failure(recipient=recipient, attempt=event.attempt, reason=event.reason, at=at, note=event.note)
