"""When each machine's watcher looked last: whether anybody watches, and which machine is no more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pipeline import keys
from pipeline.alerts.model import Alert
from pipeline.alerts.rules import LOCAL
from pipeline.steps import MS
from pipeline.store import Client, faults
from pipeline.units import SECOND

GONE: Final = 86400 * SECOND
"""A machine whose watcher did not look for so long is no more (ns)."""


async def note(redis: Client, host: str, now: int) -> Mapping[str, int]:
    """A watcher of this machine looks; when each machine's did last (ns)."""
    with faults():
        await redis.hset(keys.ALERTS_LOOKED, host, now // MS)
        found = await looked(redis)
        for name, at in found.items():
            if now - at > 7 * GONE:
                await redis.hdel(keys.ALERTS_LOOKED, name)
    return found


async def looked(redis: Client) -> dict[str, int]:
    with faults():
        rows: Any = await redis.hgetall(keys.ALERTS_LOOKED)
    return {name.decode("utf-8", "replace"): int(at) * MS for name, at in rows.items()}


def forsaken(alerts: Iterable[Alert], found: Mapping[str, int], now: int) -> frozenset[str]:
    """Of alerts that only their own machine can end those whose machine is no more, as an assessment covers them."""
    return frozenset(
        f"{alert.rule}:{alert.what}"
        for alert in alerts
        if alert.rule in LOCAL and now - found.get(alert.what, 0) > GONE
    )
