"""The newest delivery errors of each domain, word for word. They are the answers of the customer's server, not ours.

One record per attempt that ended badly: of one message (`deferred`, `failed`, `undeliverable`), or of a whole domain (`route_deferred`, a
record for each server that was tried). Keys of the view (`d` a domain):

    f:<d>   list    Failure (MessagePack), the newest first, as many as are kept
    known   hash    @<d> -> 1 for each domain that is ours; and equal errors as one, see failure_groups.py
    f:*     list    the same of our own mail to domains that are not ours, one list for all of them (see base.OWN)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias, TypeGuard

import msgspec

from pipeline.decide import RETURNED
from pipeline.events import Attempt, Deferred, Event, Failed, Received, Recorded, RouteDeferred, Undeliverable
from pipeline.steering import ON_HOLD
from projections.base import NO_ROWS, OWN, YES, Writes, bulk, ours
from projections.failure_groups import ROWS, Failure, Groups, group_row, groups_row, likeness

__all__ = ["NAME", "RECIPIENTS_NAMED", "Failure", "Failures", "decode_failure"]

NAME: Final = "failures"
SMTP: Final = "smtp"
MOST_GROUPS: Final = 100
"""Per domain, also where more errors than that are kept."""
RECIPIENTS_NAMED: Final = 100
"""Per record: with 50 records of 1,000 recipients each, a domain's list would be megabytes."""

ErrorEvent: TypeAlias = Deferred | Failed | Undeliverable | RouteDeferred


_ERRORS: Final[frozenset[type[Event]]] = frozenset({Deferred, Failed, Undeliverable, RouteDeferred})
_encode: Final = msgspec.msgpack.Encoder().encode
decode_failure: Final = msgspec.msgpack.Decoder(Failure).decode


class Failures:
    name = NAME
    hot = False
    rows = ROWS
    row_events = NO_ROWS
    kinds = _ERRORS | {Received}

    def __init__(self, kept: int = 50) -> None:
        self.kept = kept

    @property
    def version(self) -> str:
        """A view that kept fewer cannot become one that keeps more, so the number is part of it."""
        return f"3.{self.kept}"

    def asks(self, batch: Sequence[Recorded]) -> Iterable[str]:
        """Which domains are ours, and the groups that its errors belong to, in whichever of the two places."""
        found: dict[str, None] = {}
        for recorded in batch:
            event = recorded.event
            if type(event) is Received:
                found[ours(event.domain)] = None
            elif _is_error(event):
                found[ours(event.domain)] = None
                for failure in _failures(recorded.subject, event):
                    for account in (event.domain, OWN):
                        found[groups_row(account)] = None
                        found[group_row(account, likeness(failure, event.domain))] = None
        return found

    def fold(self, batch: Sequence[Recorded], rows: Mapping[str, bytes]) -> Writes:
        found: dict[str, list[Failure]] = {}
        new: dict[str, None] = {}
        groups = Groups(rows, min(self.kept, MOST_GROUPS))
        for recorded in batch:
            event = recorded.event
            name = ours(event.domain)
            if type(event) is Received:
                if event.origin == SMTP and name not in rows:
                    new[name] = None
            elif _is_error(event):
                account = event.domain if name in rows or name in new else OWN
                for failure in _failures(recorded.subject, event):
                    groups.add(account, event.domain, failure)
                    of = event.domain if account == OWN else ""
                    found.setdefault(account, []).append(msgspec.structs.replace(failure, domain=of))
        writes: Writes = [*bulk("HSET", ROWS, [word for name in new for word in (name, YES)]), *groups.writes()]
        for account, failures in found.items():
            key = "f:" + account
            newest = [_encode(failure) for failure in failures[-self.kept :]] if self.kept else []
            writes += bulk("LPUSH", key, newest)
            writes.append(("LTRIM", key, "0", str(self.kept - 1)))
        return writes


def _is_error(event: Event) -> TypeGuard[ErrorEvent]:
    """What a postmaster had returned says nothing new about a server."""
    return type(event) in _ERRORS and getattr(event, "reason", "") != RETURNED


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
