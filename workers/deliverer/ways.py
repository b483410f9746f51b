"""Where a domain's mail goes and how, and what came of trying."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.directory.options import PLAIN, RouteOptions
from pipeline.events import Attempt
from pipeline.faults import StoreError
from pipeline.gateways import Ours, known
from pipeline.route import Resolver, Target
from pipeline.schedule import ServerSlot
from pipeline.steering import ON_HOLD
from pipeline.steps import MS
from workers.wiring import Wiring

IMPATIENT: Final = 5.0
"""Seconds for a connection while there are further addresses to try: a lost SYN is repeated after 1 and 3 s."""
OWN: Final = 60.0
"""Seconds for which it is known which gateways there are."""


class Way(msgspec.Struct, frozen=True):
    """Where a domain's mail goes, and how. `route` is empty for a domain that is not ours, where a bounce goes by MX."""

    route: tuple[str, ...] = ()
    options: RouteOptions = PLAIN


class Round:
    """What came of asking each server of a route once."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.attempts: list[Attempt] = []
        self.until = 0
        self.dialled = False
        self.spared: set[str] = set()
        """Servers that are not to be written down as down because of this round."""
        self.passed_over: set[str] = set()
        """Servers that were not asked."""
        self.busy = ""
        self._left = len(targets)

    def patience(self) -> float:
        """Seconds for the next connection; 0 for as long as the settings say: an address that is dead must not hold up the next one."""
        return IMPATIENT if len(self.attempts) + 1 < self._left else 0.0

    def found_down(self, target: Target, place: ServerSlot) -> None:
        self.attempts.append(Attempt(server=target.server, address=target.address, stage="connect", reply=place.why))
        self._pass_over(target.server)
        self.until = max(self.until, place.until * MS)

    def on_hold(self, target: Target, until: int) -> None:
        """Somebody holds the server. Who and why is in the directory."""
        self.attempts.append(
            Attempt(server=target.server, address=target.address, stage="route", enhanced="4.3.2", reply=ON_HOLD)
        )
        self._pass_over(target.server)
        self.until = max(self.until, until)

    def _pass_over(self, server: str) -> None:
        self.spared.add(server)
        self.passed_over.add(server)

    def failed(self, attempt: Attempt, *, spare: bool = False) -> None:
        self.attempts.append(attempt)
        self.dialled = True
        if spare:
            self.spared.add(attempt.server)


def blames_server(attempt: Attempt, options: RouteOptions) -> bool:
    """Whether a failure speaks of the server, so that nobody else need dial it for a while; otherwise of how this route speaks to it,
    or of the address that it was dialled from: that must not hold up others' mail.
    """
    if attempt.stage in ("starttls", "auth"):
        return options.shared == PLAIN
    if attempt.stage == "ehlo" and options.ehlo:
        return False
    return not (attempt.source and attempt.code >= 500)


class Own:
    """The gateways that share this store, which no route may lead to; looked up anew once in a while."""

    def __init__(self, wiring: Wiring, resolver: Resolver) -> None:
        self._wiring = wiring
        self._resolver = resolver
        self._ours = Ours()
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def now(self) -> Ours:
        """The first to ask are kept waiting until it is known; later what was known is good enough while somebody looks anew."""
        if time.monotonic() < self._until or (self._until and self._lock.locked()):
            return self._ours
        async with self._lock:
            if time.monotonic() >= self._until:
                wiring = self._wiring
                with contextlib.suppress(StoreError):
                    self._ours = await Ours.of(await known(wiring.store.redis, wiring.clock()), self._resolver)
                self._until = time.monotonic() + OWN
        return self._ours
