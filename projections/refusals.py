"""What did not get in: the newest refusals of each domain, and the addresses that were tried in vain. The domain "" has what named none of ours.

An event may stand for many refusals of one client (`count`): they count in full, and are one record. Keys of the view (`d` a domain):

    r:<d>   list    Refusal (MessagePack), the newest first, as many as are kept
    t:<d>   list    Tried (MessagePack) of addresses that are not there, the newest first, as many as are kept
    d:<d>   hash    reason -> number of refusals since the first event
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.events import Event, Recorded, Refused
from projections.base import NO_ROWS, Writes, bounded, bulk

NAME: Final = "refusals"
UNKNOWN: Final = "no_such_user"
KEPT: Final = 50
TRIED_KEPT: Final = 200
"""Four times as many as refusals: who is missing shows only after some days."""
MAX_ADDRESS: Final = 512


class Refusal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    event: Refused


class Tried(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt to reach an address that is not there."""

    at: int
    address: str
    sender: str = ""
    client: str = ""


_encode: Final = msgspec.msgpack.Encoder().encode
decode_refusal: Final = msgspec.msgpack.Decoder(Refusal).decode
decode_tried: Final = msgspec.msgpack.Decoder(Tried).decode


class Refusals:
    name = NAME
    version = "2"
    hot = False
    rows = ""
    row_events = NO_ROWS
    kinds: frozenset[type[Event]] = frozenset({Refused})

    def fold(self, batch: Sequence[Recorded], rows: object = None) -> Writes:  # noqa: ARG002 - it has no rows
        refused: dict[str, list[Refusal]] = {}
        for recorded in batch:
            event = recorded.event
            if type(event) is Refused:
                refused.setdefault(event.domain, []).append(Refusal(id=recorded.subject, event=event))
        writes: Writes = []
        for domain, refusals in refused.items():
            writes += _newest("r:" + domain, [_encode(refusal) for refusal in refusals], KEPT)
            tried = [_encode(_tried(refusal.event)) for refusal in refusals if _names_somebody(refusal.event)]
            if tried:
                writes += _newest("t:" + domain, tried, TRIED_KEPT)
            counts: dict[str, int] = {}
            for refusal in refusals:
                reason = refusal.event.reason
                counts[reason] = counts.get(reason, 0) + bounded(refusal.event.count)
            writes += bulk("ADD", "d:" + domain, [word for pair in counts.items() for word in (pair[0], str(pair[1]))])
        return writes


def _names_somebody(event: Refused) -> bool:
    """One of many guesses of one client says nothing about who is missing."""
    return event.reason == UNKNOWN and event.count == 1 and bool(event.recipient)


def _tried(event: Refused) -> Tried:
    return Tried(
        at=event.at,
        address=event.recipient[:MAX_ADDRESS],
        sender=event.sender[:MAX_ADDRESS],
        client=event.client.address,
    )


def _newest(key: str, records: Sequence[bytes], kept: int) -> Writes:
    return [*bulk("LPUSH", key, records[-kept:]), ("LTRIM", key, "0", str(kept - 1))]
