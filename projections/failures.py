"""The newest delivery errors of each domain, word for word. They are the answers of the customer's server, not ours.

One record per attempt that ended badly: of one message (`deferred`, `failed`, `undeliverable`), or of a whole domain (`route_deferred`, a
record for each server that was tried). Keys of the view (`d` a domain):

    f:<d>   list    Failure (MessagePack), the newest first, as many as are kept
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import msgspec

from pipeline.decide import RETURNED
from pipeline.events import Attempt, Deferred, Event, Failed, Recorded, RouteDeferred, Undeliverable
from pipeline.steering import ON_HOLD
from projections.base import NO_ROWS, Writes, bulk

NAME: Final = "failures"
RECIPIENTS_NAMED: Final = 100
"""Per record: with 50 records of 1,000 recipients each, a domain's list would be megabytes."""

ErrorEvent: TypeAlias = Deferred | Failed | Undeliverable | RouteDeferred


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    at: int
    kind: str
    """The event's tag: deferred, failed, undeliverable, route_deferred."""
    attempt: Attempt
    message: str = ""
    """The message's id; empty when no message was in it, because the server never got so far."""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    """The first hundred of them."""
    recipient_count: int = 0
    size: int = 0
    tries: int = 0
    next_try: int = 0
    """ns; 0: it is not tried again."""
    reason: str = ""
    bounce: str = ""
    unsent: str = ""

    @property
    def next(self) -> str:
        """What happened then: `retry` (at `next_try`), `returned` to the sender (`bounce`), `kept` for the postmaster because
        the sender is not to be told (`unsent`), or `gave up` without a word (`unsent`).
        """
        if self.kind == "undeliverable":
            return "kept"
        if self.kind != "failed":
            return "retry"
        return "returned" if self.bounce else "gave up"

    @property
    def possible_duplicate(self) -> bool:
        """The server had all of it and its last reply was lost: the recipient may have it, and may get it again."""
        return self.attempt.unknown


_ERRORS: Final[frozenset[type[Event]]] = frozenset({Deferred, Failed, Undeliverable, RouteDeferred})
_encode: Final = msgspec.msgpack.Encoder().encode
decode_failure: Final = msgspec.msgpack.Decoder(Failure).decode


class Failures:
    name = NAME
    hot = False
    rows = ""
    row_events = NO_ROWS
    kinds = _ERRORS

    def __init__(self, kept: int = 50) -> None:
        self.kept = kept

    @property
    def version(self) -> str:
        """A view that kept fewer cannot become one that keeps more, so the number is part of it."""
        return f"2.{self.kept}"

    def fold(self, batch: Sequence[Recorded], rows: object = None) -> Writes:  # noqa: ARG002 - it has no rows
        found: dict[str, list[Failure]] = {}
        for recorded in batch:
            event = recorded.event
            # What a postmaster had returned says nothing new about a server.
            if type(event) in _ERRORS and getattr(event, "reason", "") != RETURNED:
                assert isinstance(event, ErrorEvent)
                found.setdefault(event.domain, []).extend(_failures(recorded.subject, event))
        writes: Writes = []
        for domain, failures in found.items():
            key = "f:" + domain
            newest = [_encode(failure) for failure in failures[-self.kept :]] if self.kept else []
            writes += bulk("LPUSH", key, newest)
            writes.append(("LTRIM", key, "0", str(self.kept - 1)))
        return writes


def _failures(subject: str, event: ErrorEvent) -> Iterator[Failure]:
    if isinstance(event, RouteDeferred):
        for attempt in event.attempts or (Attempt(server="", stage="route"),):
            if attempt.reply == ON_HOLD and not attempt.code:  # our own word, of a server that was not asked
                continue
            yield Failure(
                at=event.at, kind="route_deferred", attempt=attempt, tries=event.tries, next_try=event.next_try
            )
        return
    common = Failure(
        at=event.at,
        kind="deferred",
        attempt=event.attempt or Attempt(server=""),
        message=subject,
        sender=event.sender,
        recipients=event.recipients[:RECIPIENTS_NAMED],
        recipient_count=len(event.recipients),
        size=event.size,
        tries=event.tries,
    )
    if isinstance(event, Deferred):
        yield msgspec.structs.replace(common, next_try=event.next_try)
    elif isinstance(event, Undeliverable):
        yield msgspec.structs.replace(common, kind="undeliverable", reason=event.reason, unsent=event.unsent)
    else:
        yield msgspec.structs.replace(
            common, kind="failed", reason=event.reason, bounce=event.bounce, unsent=event.unsent
        )
