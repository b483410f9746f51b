"""How many reports one address, and one domain, may get from us in an hour.

A report goes to an address that a stranger wrote into an envelope. However well forgery is told (`unsent.py`), some domains publish
nothing by which to tell it; so what they can be sent because of others is bounded. The hour is a bucket that fills up evenly: after
a burst of all of it there is one more every few minutes.
"""

from __future__ import annotations

from typing import Final

import structlog

from pipeline import keys
from pipeline.faults import StoreError
from pipeline.settings import Settings
from pipeline.store import Client, Script, faults

HOUR: Final = 3_600_000_000
"""us."""
US: Final = 1000

log = structlog.get_logger()


class Allowance:
    def __init__(self, redis: Client, settings: Settings) -> None:
        self._redis = redis
        self._script = Script.named("allow", beyond_memory=True)
        self._sizes = (settings.bounces_per_address, settings.bounces_per_domain)

    async def take(self, address: str, now: int) -> bool:
        """Whether one more report may go to `address`. With the store away it may: what is to be recorded then waits for the
        store, and must not be lost for this.
        """
        if not any(self._sizes):
            return True
        local, _, domain = address.casefold().rpartition("@")
        names = [keys.bounces_to(domain, local), keys.bounces_to(domain, "")]
        try:
            with faults():
                return bool(await self._script(self._redis, names, [now // US, HOUR, *self._sizes]))
        except StoreError as fault:
            log.warning("bounces are not counted", reason=str(fault))
            return True
