"""The JSON forms that scripts read: field names here are promises. Times are RFC 3339 in UTC, null when there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cli.render import rfc3339
from pipeline.events import AnyEvent, Attempt
from pipeline.parked import Parked
from pipeline.state import Keeping, Message, Recipient, Stage

if TYPE_CHECKING:
    from cli.queue.reading import Seen
    from pipeline.directory import Hold
    from projections.readers import DomainQueue, QueueError, ServerQueue, WaitingMessage
    from projections.readers.rates import Rate, Rates

TIMES: Final = frozenset({"at", "expires", "next_try", "since", "until"})
UNDELIVERABLE: Final = "undeliverable"
AGES: Final = ("15_min", "1_h", "4_h", "1_day", "3_days", "older")
"""Buckets of how long mail has waited, as in projections/readers/ages.py."""
DURATIONS: Final = frozenset({"took", "waited"})
"""ns inside, seconds outside."""


def attempt_form(attempt: Attempt | None, diagnosis: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """`diagnosis`: what it is about (diagnoses.diagnosis_form), where that is shown."""
    if attempt is None:
        return None
    form = {
        "server": attempt.server,
        "address": attempt.address,
        "tls": attempt.tls,
        "stage": attempt.stage,
        "code": attempt.code,
        "enhanced": attempt.enhanced,
        "reply": attempt.reply,
        "seconds": attempt.took / 1e9,
        "unknown": attempt.unknown,
        "software": attempt.software,
        "source": attempt.source,
    }
    return form | {"diagnosis": diagnosis} if diagnosis is not None else form


def kept_as(message: Message, recipient: Recipient) -> str:
    """Why a copy lies in quarantine: undeliverable, or what the scan found; empty when it does not."""
    if recipient.stage is not Stage.QUARANTINED:
        return ""
    if recipient.unsent:
        return UNDELIVERABLE
    return message.verdict if message.verdict not in ("", "clean") else message.reason


def _copy_form(message: Message, recipient: Recipient) -> dict[str, Any]:
    return {
        "address": recipient.address,
        "state": recipient.stage.value,
        "tries": recipient.tries,
        "last": attempt_form(recipient.last),
        "kept_as": kept_as(message, recipient),
        "unsent": recipient.unsent,
    }


def hold_form(hold: Hold) -> dict[str, Any]:
    """Of a domain or a server."""
    return {
        "since": rfc3339(hold.since),
        "by": hold.by,
        "reason": hold.reason,
        "until": rfc3339(hold.until),
    }


def keeping_form(hold: Keeping | None) -> dict[str, Any] | None:
    """`then`: what happens at `until`: resume, bounce or delete; null when it has no end."""
    if hold is None:
        return None
    return {
        "since": rfc3339(hold.since),
        "by": hold.by,
        "reason": hold.reason,
        "until": rfc3339(hold.until),
        "then": (hold.then or "resume") if hold.until else None,
        "action": hold.action,
    }


def message_form(message: Message) -> dict[str, Any]:
    client = message.client
    return {
        "id": message.id,
        "domain": message.domain,
        "state": message.stage.value,
        "sender": message.sender,
        "recipients": [recipient.address for recipient in message.recipients],
        "copies": [_copy_form(message, recipient) for recipient in message.recipients],
        "size": message.size,
        "received_at": rfc3339(message.received_at),
        "expires_at": rfc3339(message.ends),
        "next_try": rfc3339(message.next_try),
        "tries": max((recipient.tries for recipient in message.recipients), default=0),
        "subject": message.subject,
        "message_id": message.message_id,
        "verdict": message.verdict,
        "score": message.score,
        "reason": message.reason,
        "missing": list(message.missing),
        "waits_for_engines_since": rfc3339(message.waits_since),
        "hold": keeping_form(message.hold),
        "origin": message.origin,
        "cause": message.cause,
        "client": {"address": client.address, "helo": client.helo, "tls": client.tls} if client else None,
    }


def event_form(event: AnyEvent) -> dict[str, Any]:
    """All fields of an event, those at their default too, with `type` for its tag."""
    return {"type": event.__struct_config__.tag, **_fields(event)}


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in msgspec.structs.asdict(struct).items()}


def _value(name: str, value: Any) -> Any:
    if name in TIMES:
        return rfc3339(value)
    if name in DURATIONS:
        return value / 1e9
    if isinstance(value, msgspec.Struct):
        return _fields(value)
    if isinstance(value, list | tuple):
        return [_value("", inner) for inner in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def parked_form(item: Parked) -> dict[str, Any]:
    return {
        "reference": item.reference,
        "kind": item.kind,
        "id": item.message_id,
        "domain": item.domain,
        "reason": item.reason,
        "at": rfc3339(item.at),
        "tries": item.tries,
    }


def queued_domain_form(domain: DomainQueue, rates: Rates) -> dict[str, Any]:
    return {
        "domain": domain.domain,
        "messages": domain.messages,
        "recipients": domain.recipients,
        "bytes": domain.bytes,
        "oldest_at": rfc3339(domain.oldest or 0),
        "oldest_id": domain.oldest_id,
        "server": domain.server,
        "state": domain.state,
        "hold": hold_form(domain.hold) if domain.hold else None,
        "server_hold": hold_form(domain.server_hold) if domain.server_hold else None,
        "down_since": rfc3339(domain.since or 0),
        "tries": domain.tries,
        "next_try": rfc3339(domain.next_try or 0),
        "backing_off": domain.backing_off,
        "held": domain.held,
        **_pace_form(
            0 if domain.state == "held" else domain.messages - domain.held, domain.ages, rates.of([domain.domain])
        ),
        "last_error": _error_form(domain.error),
    }


def _error_form(error: QueueError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "at": rfc3339(error.at),
        "id": error.message,
        "attempts": [attempt_form(attempt) for attempt in error.attempts],
    }


def _pace_form(
    messages: int, ages: Sequence[int], moved: Sequence[Rate | None], draining: Rate | None = None
) -> dict[str, Any]:
    """Rates are messages per minute; null: nothing was counted. `messages`: those that may leave."""
    last = moved[0]
    pace = draining or last
    left = pace.drained(messages) if pace is not None and messages else None
    return {
        "ages": dict(zip(AGES, ages, strict=False)),
        "per_minute": {
            name: {"arrived": rate.arrived, "delivered": rate.delivered} if rate is not None else None
            for name, rate in zip(("5_min", "15_min"), moved, strict=True)
        },
        "seconds_to_drain": left / 1e9 if left is not None else None,
        "grows": last.grows if last is not None else None,
    }


def queue_total_form(seen: Seen) -> dict[str, Any]:
    report, (messages, draining) = seen.report, seen.draining
    return {
        "waiting": {"messages": report.messages, "recipients": report.recipients, "bytes": report.bytes},
        "oldest_at": rfc3339(report.oldest or 0),
        **_pace_form(messages, report.ages, seen.moved, draining),
    }


def destination_form(server: ServerQueue, rates: Rates) -> dict[str, Any]:
    return {
        "server": server.server,
        "domains": list(server.domains),
        "messages": server.messages,
        "recipients": server.recipients,
        "bytes": server.bytes,
        "oldest_at": rfc3339(server.oldest or 0),
        "state": server.state,
        "hold": {**hold_form(server.hold), "domain": server.hold_of} if server.hold else None,
        "down_since": rfc3339(server.since or 0),
        "next_try": rfc3339(server.next_try or 0),
        **_pace_form(0 if server.state == "held" else server.messages, server.ages, rates.of(server.domains)),
        "last_error": _error_form(server.error),
        "last_error_of": server.error_of,
    }


def waiting_form(row: WaitingMessage, message: Message) -> dict[str, Any]:
    return {**message_form(message), "waiting": list(row.recipients), "waiting_since": rfc3339(row.since)}
