"""Whether what views have seen is in the log at all: a view that is ahead of it saw entries that are gone."""

from __future__ import annotations

from typing import Any

from pipeline import keys
from pipeline.places import place_of
from pipeline.store import Client, faults
from projections.builds import builds_key


async def beyond(redis: Client, partition: int) -> list[str]:
    """The views of a partition that are, each in words."""
    with faults():
        builds: Any = await redis.hgetall(builds_key(partition))
    wrong = []
    for field, stored in sorted(builds.items()):
        role, _, name = field.decode("utf-8", "replace").partition(":")
        number = stored.partition(b" ")[0]
        if role not in ("live", "next") or not number.isdigit():
            continue
        with faults():
            pipe = redis.pipeline(transaction=True)
            pipe.get(keys.view(partition, name, int(number)) + "checkpoint")
            pipe.xrevrange(keys.log(partition), count=1)
            checkpoint, newest = await pipe.execute()
        last = newest[0][0].decode() if newest else "0"
        reached = checkpoint.decode() if checkpoint else "0"
        if place_of(reached) > place_of(last):
            wrong.append(f"the view {name} has seen entry {reached}, and the log ends with {last}")
    return wrong
