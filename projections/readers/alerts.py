"""Alerts that were raised and are over, the newest first."""

from __future__ import annotations

from typing import Any

from pipeline.store import Client, faults
from projections.alerts import HISTORY, NAME, Told, decode_told
from projections.builds import live_prefixes
from projections.readers.common import decoded


async def read_alerts(redis: Client, partitions: int, start: int, end: int) -> list[Told]:
    """Those from `start` to `end` (ns, both inside) that are still in the view, the newest first."""
    found: list[Told] = []
    for prefix in (await live_prefixes(redis, range(partitions), NAME)).values():
        with faults():
            rows: Any = await redis.lrange(prefix + HISTORY, 0, -1)
        found += [told for row in rows if start <= (told := decoded(decode_told, row, NAME)).at <= end]
    return sorted(found, key=lambda told: -told.at)
