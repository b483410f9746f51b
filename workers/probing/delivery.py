"""The whole delivery test: names, then each address of each server, then the quick connections, within a minute.

What happens is handed out as it happens, for whoever watches; what is known can be asked for at any moment, also after an interruption.
The time that is left is shared out evenly among the addresses that are left, so that a server that stalls costs its own share and no
other's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TypeAlias

import msgspec

from pipeline.gateways import Gateway
from pipeline.pause import end
from pipeline.probing.model import Line, Login, Lookup, Plan, Report, Source, Visit
from pipeline.resolver import Resolver
from pipeline.route import Target
from workers.probing.names import look_up
from workers.probing.patience import Patience, Share, TimeUp
from workers.probing.quick import Volley
from workers.probing.visit import Visitor


class LookedUp(msgspec.Struct, frozen=True):
    lookup: Lookup


class Began(msgspec.Struct, frozen=True):
    """A visit, or the quick connections to a server."""

    visit: Visit
    quick: bool = False


class Said(msgspec.Struct, frozen=True):
    """A line of the visit that began last."""

    line: Line


class Visited(msgspec.Struct, frozen=True):
    visit: Visit


Happening: TypeAlias = LookedUp | Began | Said | Visited


class DeliveryTest:
    """`gateways`: those that no route may lead to. `login`: for servers that want to know who we are. `clock` gives ns since 1970.

    `steady`: seconds, however the clock is stepped.
    """

    def __init__(
        self,
        plan: Plan,
        resolver: Resolver,
        gateways: Sequence[Gateway] = (),
        *,
        login: Login | None = None,
        patience: Patience | None = None,
        clock: Callable[[], int] = time.time_ns,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self._resolver = resolver
        self._gateways = gateways
        self._login = login
        self._patience = patience or Patience()
        self._clock = clock
        self._steady = steady
        self._at = clock()
        self._start = time.monotonic_ns()
        self._took = 0
        self._lookup = Lookup()
        self._visitors: list[Visitor] = []
        self._complete = False
        self._happened: asyncio.Queue[Happening | None] = asyncio.Queue()

    async def run(self) -> AsyncGenerator[Happening, None]:
        """What happens, as it happens. Ends within `patience.total` seconds; whoever loses interest just closes it."""
        self._start = time.monotonic_ns()
        self._at = self._clock()
        work = asyncio.create_task(self._work())
        work.add_done_callback(lambda _: self._happened.put_nowait(None))
        try:
            while (happening := await self._happened.get()) is not None:
                yield happening
            work.result()
        finally:
            await end([work])
            self._took = self._moment()

    def report(self) -> Report:
        """What is known until now."""
        return Report(
            plan=self.plan,
            at=self._at,
            took=self._took or self._moment(),
            lookup=self._lookup,
            visits=tuple(visitor.visit() for visitor in self._visitors),
            complete=self._complete,
        )

    async def _work(self) -> None:
        # Each step looks after its own time; this is for the case that one forgets.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.total):
                await self._look()

    async def _look(self) -> None:
        ends = self._steady() + self._patience.total
        self._lookup, targets = await look_up(self.plan, self._resolver, self._gateways, self._patience.names)
        self._happened.put_nowait(LookedUp(self._lookup))
        visits = [
            (target, source) for target in targets for source in self.plan.sources if source.meets(target.address)
        ]
        for place, (target, source) in enumerate(visits):
            left = (ends - self._steady()) / (len(visits) - place)
            await self._visit(target, source, Share(self._steady() + left, self._steady))
        rushed = await self._rush(Share(ends, self._steady))
        self._complete = rushed and all(visitor.visit().complete for visitor in self._visitors)

    async def _visit(self, target: Target, source: Source, share: Share) -> None:
        visitor = Visitor(
            self.plan, target, source, login=self._login, patience=self._patience, moment=self._moment, now=self._clock,
            hear=lambda line: self._happened.put_nowait(Said(line)),
        )  # fmt: skip
        sent = any(other.sent for other in self._visitors)
        self._visitors.append(visitor)
        self._happened.put_nowait(Began(visitor.visit()))
        await visitor.run(share, send=bool(self.plan.send) and not sent)
        self._happened.put_nowait(Visited(visitor.visit()))

    async def _rush(self, share: Share) -> bool:
        """The quick connections, to each server once for each of our addresses; whether there was time for all."""
        if self.plan.quick:
            return True
        seen = set()
        for visitor in self._visitors:
            key = (visitor.target.server, visitor.source.address)
            if key in seen or not visitor.works:
                continue
            seen.add(key)
            self._happened.put_nowait(Began(visitor.visit(), quick=True))
            volley = Volley(visitor.target, visitor.source, patience=self._patience, note=visitor.note)
            try:
                visitor.quick = await volley.run(share)
            except TimeUp:
                return False
            self._happened.put_nowait(Visited(visitor.visit()))
        return True

    def _moment(self) -> int:
        return time.monotonic_ns() - self._start
