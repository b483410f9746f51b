"""Reading what is known of alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline import keys
from pipeline.alerts.model import Alert, decode_alert
from pipeline.store import Store, faults

CHUNK = 500


async def standing(store: Store) -> list[Alert]:
    """The alerts that are raised, the oldest first. Raises StoreAwayError."""
    with faults():
        pipe = store.redis.pipeline(transaction=False)
        for partition in range(store.partitions):
            pipe.zrange(keys.alerts(partition), 0, -1)
        names: Any = await pipe.execute()
    places = [(partition, name.decode("utf-8", "replace")) for partition, some in enumerate(names) for name in some]
    found = [alert for alert in await heads(store, places) if alert is not None and alert.raised]
    return sorted(found, key=lambda alert: alert.since)


async def heads(store: Store, places: Sequence[tuple[int, str]]) -> list[Alert | None]:
    """What is known of each (partition, subject), parallel to them; None: nothing. One that cannot be read is as new."""
    found: list[Alert | None] = []
    for start in range(0, len(places), CHUNK):
        with faults():
            pipe = store.redis.pipeline(transaction=False)
            for partition, subject in places[start : start + CHUNK]:
                pipe.hmget(keys.alert(partition, subject), ["v", "m"])
            answers: Any = await pipe.execute()
        for (_, subject), (version, data) in zip(places[start : start + CHUNK], answers, strict=True):
            found.append(_head(subject, version, data))
    return found


def _head(subject: str, version: bytes | None, data: bytes | None) -> Alert | None:
    if version is None:
        return None
    try:
        return decode_alert(data)
    except (msgspec.DecodeError, TypeError):
        rule, _, what = subject.removeprefix("!").partition(":")
        return Alert(rule=rule, what=what, version=int(version))
