"""How far each view is, and what it could not read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from pipeline import keys
from pipeline.store import Client, faults
from projections.base import START, DamagedEntry, History
from projections.builds import live_prefixes
from projections.readers.common import decoded

_decode = msgspec.msgpack.Decoder(DamagedEntry).decode


class ViewHealth(msgspec.Struct, frozen=True, kw_only=True):
    view: str
    partition: int
    checkpoint: str
    behind: int
    """ns since the first event that is not in the view was appended; 0 when all are."""
    damaged: int
    """Log entries that could not be read."""
    broken: int
    """Writes that Redis refused: the view is damaged, and a replay mends it."""
    newest_damaged: tuple[DamagedEntry, ...]


async def read_health(
    redis: Client, history: History, partitions: int, names: Iterable[str], now: int
) -> list[ViewHealth]:
    """One per view and partition. `now`: ns, by Redis's clock, which stamps the log."""
    found = []
    for name in names:
        prefixes = await live_prefixes(redis, range(partitions), name)
        for partition in range(partitions):
            prefix = prefixes.get(partition) or keys.view(partition, name, 0)  # nothing is there
            with faults():
                pipe = redis.pipeline(transaction=False)
                pipe.get(prefix + "checkpoint")
                pipe.hmget(prefix + "meta", ["damaged", "broken"])
                pipe.lrange(prefix + "damaged", 0, 9)
                answers: Any = await pipe.execute()
            checkpoint, (damaged, broken), newest = answers
            reached = checkpoint.decode() if checkpoint else START
            following = await history.page(partition, reached, 1)
            found.append(
                ViewHealth(
                    view=name,
                    partition=partition,
                    checkpoint=reached,
                    behind=max(0, now - _appended(following.reached)) if following.count else 0,
                    damaged=int(damaged or 0),
                    broken=int(broken or 0),
                    newest_damaged=tuple(decoded(_decode, one, name) for one in newest),
                )
            )
    return found


def _appended(entry: str) -> int:
    return int(entry.partition("-")[0]) * 1_000_000
