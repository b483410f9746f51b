"""How much mail is in the house that could move on now: one short call for each partition, whatever waits there."""

from __future__ import annotations

from typing import Final

from pipeline import keys
from pipeline.faults import StoreAwayError
from pipeline.settings import Settings
from pipeline.steps import MS
from pipeline.store import Script, Store, faults
from pipeline.topology.spread import is_spread

DOMAINS: Final = 100
"""Domains of a partition that are looked at: those that have been due longest, where a backlog is."""


class Backlog:
    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._script = Script.named("backlog")
        self._lease = int(settings.lease) // MS

    async def look(self, now: int) -> tuple[int, int]:
        """(messages that are to be scanned, messages that could leave at once). Raises StoreError."""
        scanning = sending = 0
        for partition in range(self._store.partitions):
            names = [keys.scan(partition), keys.due(partition)]
            arguments = [now // MS, now // MS + self._lease, DOMAINS, f"gp:{{{partition}}}:"]
            try:
                with faults():
                    waits, leaves = await self._script(self._store.redis, names, arguments)
            except StoreAwayError:
                if not is_spread(self._store.redis):
                    raise
                continue  # what waits at a node that is away does not keep us from taking mail for the others
            scanning += int(waits)
            sending += int(leaves)
        return scanning, sending
