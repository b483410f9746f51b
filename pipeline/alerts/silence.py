"""Silence: for some time nobody is told of a rule's alerts, because somebody works on what they would speak of.

Alerts are raised and over as always, and shown. What is to be told waits until the silence ends: then whatever is still wrong is told,
and what came and went meanwhile is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.alerts.notices import Notice
from pipeline.events import AlertsSilenced, encode
from pipeline.steps import MS, Effect, Step
from pipeline.store import Client, faults

PARTITION: Final = 0
"""Silence is the operator's, whichever domain it is about."""
REMEMBERED_MS: Final = 400 * 86400 * 1000


class Silence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    rule: str
    what: str = ""
    """Empty: of everything that the rule speaks of."""
    until: int = 0
    """ns; 0: it was lifted."""
    since: int = 0
    by: str = ""
    note: str = ""
    version: int = 0

    @property
    def subject(self) -> str:
        return f"!silence:{self.rule}:{self.what}"

    def covers(self, rule: str, what: str) -> bool:
        return self.rule == rule and self.what in ("", what.lower())


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Silence).decode


def silence_step(wanted: Silence, before: Silence | None) -> Step:
    """`wanted`: its version does not count. `before`: what is known of the same rule and thing, None for nothing."""
    version = before.version if before is not None else 0
    after = msgspec.structs.replace(wanted, version=version + 1)
    event = AlertsSilenced(
        at=after.since, domain="", rule=after.rule, what=after.what, until=after.until, by=after.by, note=after.note
    )
    head = keys.alert(PARTITION, after.subject)
    index: Effect = ("ZREM", keys.silences(PARTITION), after.subject)
    if after.until:
        index = ("ZADD", keys.silences(PARTITION), after.until // MS, after.subject)
    return Step(
        head=head,
        log=keys.log(PARTITION),
        subject=after.subject,
        expected=version,
        events=(encode(event),),
        state=_encode(after),
        effects=(("PEXPIRE", head, REMEMBERED_MS), index),
    )


async def known(redis: Client, subjects: Sequence[str]) -> list[Silence | None]:
    """What is known of each; None: nothing, or nothing that can be read."""
    with faults():
        pipe = redis.pipeline(transaction=False)
        for subject in subjects:
            pipe.hget(keys.alert(PARTITION, subject), "m")
        rows: Any = await pipe.execute()
    return [_read(row) for row in rows]


async def in_force(redis: Client, now: int) -> list[Silence]:
    """The silences that are not over (`now` in ns), those first that end first."""
    with faults():
        names: Any = await redis.zrange(keys.silences(PARTITION), f"({now // MS}", "+inf", byscore=True)
    found = await known(redis, [name.decode("utf-8", "replace") for name in names]) if names else []
    return [one for one in found if one is not None and one.until > now]


def quiet_until(silences: Iterable[Silence], rule: str, what: str) -> int:
    """Until when (ns) nobody is told; 0: they are told at once."""
    return max((one.until for one in silences if one.covers(rule, what)), default=0)


def bygone(notices: Iterable[Notice]) -> list[Notice]:
    """Of notices in their order those of what came and went in silence: both its beginning and its end are still to be told."""
    begun: dict[tuple[str, str, str], Notice] = {}
    gone: list[Notice] = []
    for notice in notices:
        place = (notice.subject, notice.way.way, notice.way.to)
        if not notice.over:
            begun[place] = notice
        elif (first := begun.pop(place, None)) is not None and first.quiet:
            gone += [first, notice]
    return gone


def _read(row: bytes | None) -> Silence | None:
    try:
        return _decode(row) if row else None
    except msgspec.DecodeError:
        return None
