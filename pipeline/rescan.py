"""Messages that wait for an engine: where they are, and how they come back to the scanners.

One that waits is `received` still, with what it waits for in its head, and no entry speaks of it in the scanners' stream: the step that
acknowledges the entry puts it into a sorted set, and a script moves it back when it is time. Whoever dies in between leaves it in one of the
two. In both at once it does no harm: scanned is scanned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pipeline import keys
from pipeline.events import Postponed
from pipeline.ids import partition_of
from pipeline.state import Message, decode_head
from pipeline.steps import MS, Effect, Step, message_step
from pipeline.store import Script, Store, faults
from pipeline.topology.spread import each

AT_ONCE: Final = 50
"""Messages of a partition that come back in one round: new mail has its turn too."""


def waiting_step(
    message: Message, events: Sequence[Postponed], *, now: int, again: int, also: Iterable[Effect] = ()
) -> Step:
    """A message waits until `again` (ns). Without events it does so as before."""
    partition = partition_of(message.id)
    effects = (*also, ("ZADD", keys.rescan(partition), again // MS, message.id))
    return message_step(message, events, now=now, also=effects)[0]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for engines, all together."""

    messages: int = 0
    examples: tuple[Message, ...] = ()
    """Those that are scanned again first."""

    @property
    def engines(self) -> str:
        """What they wait for, in words."""
        found = dict.fromkeys(one for message in self.examples if message.waits_since for one in message.missing)
        return "; ".join(found) or "an engine"


class Rescans:
    def __init__(self, store: Store, *, beyond_memory: bool = False) -> None:
        """`beyond_memory`: what is due goes back also when Redis is full, for that is how it becomes free again."""
        self._store = store
        self._script = Script.named("rescan", beyond_memory=beyond_memory)

    async def put_back(self, now: int) -> int:
        """What is due, back to the scanners; how many."""

        async def of_one(partition: int) -> int:
            names = [keys.rescan(partition), keys.scan(partition)]
            with faults():
                return int(await self._script(self._store.redis, names, [now // MS, AT_ONCE]))

        return await each(self._store.redis, self._store.partitions, of_one)

    async def waiting(self, examples: int = 5) -> Waiting:
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for partition in range(self._store.partitions):
                pipe.zcard(keys.rescan(partition))
                pipe.zrange(keys.rescan(partition), 0, examples - 1)
            rows = await pipe.execute()
        return Waiting(messages=sum(rows[::2]), examples=await self._heads(rows[1::2], examples))

    async def _heads(self, names: Sequence[Sequence[bytes]], most: int) -> tuple[Message, ...]:
        wanted = [(partition, name.decode()) for partition, some in enumerate(names) for name in some][:most]
        if not wanted:
            return ()
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for partition, name in wanted:
                pipe.hget(keys.head(partition, name), "m")
            rows = await pipe.execute()
        found = []
        for row in rows:
            if row is not None:
                try:
                    found.append(decode_head(row))
                except msgspec.DecodeError:  # `gatepost check` speaks of it
                    continue
        return tuple(found)
