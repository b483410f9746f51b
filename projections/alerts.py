"""What was wrong, and when it was over: the newest of it. What is wrong now is not read here but from the alerts' heads.

Key of the view:

    history  list  the newest alerts of the partition that were raised or are over, the newest first: Told (MessagePack)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pipeline.events import AlertOver, AlertRaised, Event, Recorded
from projections.base import NO_ROWS, Writes, bulk

NAME: Final = "alerts"
HISTORY: Final = "history"
KEPT: Final = 2000
"""Of each partition."""


class Told(msgspec.Struct, array_like=True, frozen=True):
    at: int
    rule: str
    what: str
    domain: str
    over: bool
    since: int
    """When it was raised."""
    text: str
    value: str = ""
    limit: str = ""
    detail: str = ""


decode_told: Final = msgspec.msgpack.Decoder(Told).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class Alerts:
    name = NAME
    version = "1"
    hot = False
    rows = ""
    row_events = NO_ROWS
    kinds: frozenset[type[Event]] = frozenset({AlertRaised, AlertOver})

    def fold(self, batch: Sequence[Recorded], rows: Mapping[str, bytes]) -> Writes:
        del rows
        told = [_encode(_told(one.event)) for one in batch if isinstance(one.event, AlertRaised | AlertOver)]
        if not told:
            return []
        return [*bulk("LPUSH", HISTORY, told[-KEPT:]), ("LTRIM", HISTORY, "0", str(KEPT - 1))]


def _told(event: AlertRaised | AlertOver) -> Told:
    if isinstance(event, AlertOver):
        return Told(event.at, event.rule, event.what, event.domain, True, event.since, event.text)
    return Told(
        event.at, event.rule, event.what, event.domain, False, event.at, event.text, event.value, event.limit, event.detail
    )  # fmt: skip
