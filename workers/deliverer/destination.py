"""A domain as one slot meets it: whether its mail may flow, what is known of its server, and what is done to all its mail at once.

A domain that is held because of what its server said is *probed*: one waiting message is tried per retry interval, and the first that
the server takes ends the hold. So nothing is left to do for the customer when the server is mended. A hold that a person has
set is never probed.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import structlog

from pipeline.consequences import BY, Course, Evidence, of_route, reason
from pipeline.diagnosis import Diagnosis
from pipeline.directory import Domain
from pipeline.events import Attempt, RouteDeferred, RouteOpened
from pipeline.faults import ConflictError, GatepostError, StoreError
from pipeline.outcome import Kind, Outcome
from pipeline.retry import next_try
from pipeline.steps import MS, Effect, noted_good, opened, opened_route, route_deferred_step, route_opened_step
from pipeline.units import SECOND
from workers.deliverer.connections import RouteDown
from workers.wiring import Wiring

log = structlog.get_logger()

NOTED_EVERY: Final = 15 * SECOND
"""How exactly the time of a domain's last success is kept in Redis: a quarter of consequences.RECENT, for one command in so long."""


class Destination:
    def __init__(self, wiring: Wiring, partition: int, domain: str, token: str) -> None:
        self._wiring = wiring
        self._partition = partition
        self._domain = domain
        self._token = token
        self.open = False
        self.probing = False
        """The domain is held by itself, and this slot tries whether it still has to be."""
        self._claimed = 0
        self._good = 0
        self._noted = 0
        self._hurt = 0

    # Whether mail may flow

    @property
    def home(self) -> Domain | None:
        return self._wiring.directory.home(self._domain)

    def alias_of(self) -> str:
        """What the domain became an alias of since its mail was accepted; or what a bounce's domain is an alias of."""
        home = self.home
        return home.name if home is not None and home.name != self._domain else ""

    def next_try(self) -> int:
        """When (ns) the domain may be tried again after this time."""
        return next_try(self._wiring.clock(), self._wiring.retry_of(self._domain), random.random())  # noqa: S311 - spreads retries, guards nothing

    async def may_flow(self) -> bool:
        """Whether the domain's mail may go out: False while it is held, and then the domain is put off.

        Who lets it flow again changes the directory first and makes the domain due then. Looking into the directory before and
        after the domain is put off misses neither. A domain that is held by itself may be probed.
        """
        self.probing = False
        if not self._is_held():
            return True
        directory, schedule = self._wiring.directory, self._wiring.schedule
        await directory.refresh()
        if not self._is_held():
            return True
        await schedule.put_off(self._partition, self._domain, self._looked_at_again())
        await directory.refresh()
        if not self._is_held():
            await schedule.retry_now(self._partition, self._domain, self._wiring.clock(), ())
        return False

    async def may_probe(self) -> bool:
        """As `may_flow`, of a slot that has claimed nothing yet: True also for a domain that is held by itself."""
        home = self.home
        if home is None or home.hold is None or not home.hold.probed:
            return await self.may_flow()
        await self._wiring.directory.refresh()
        home = self.home
        self.probing = home is not None and home.hold is not None and home.hold.probed
        return self.probing or await self.may_flow()

    def _is_held(self) -> bool:
        home = self.home
        return home is not None and home.hold is not None and home.hold.holds(self._wiring.clock())

    def _looked_at_again(self) -> int:
        """Of a held domain (ns): after an interval, or when its hold ends by itself."""
        home = self.home
        until = home.hold.until if home is not None and home.hold is not None else 0
        return min(self.next_try(), until or self.next_try())

    # What is known of the server

    def claimed(self, *, is_open: bool, good: int) -> None:
        """As the claim says; `good` in ms."""
        self._claimed = self._wiring.clock()
        self.open = is_open
        self._noted = good * MS
        self._good = max(self._good, self._noted)

    def evidence(self, *, elsewhere: bool = True) -> Evidence:
        return Evidence(
            now=self._wiring.clock(), good=self._good, hurt=self._hurt, ours=self.home is not None, elsewhere=elsewhere
        )

    def hurt(self) -> None:
        """The server answered a message with words about itself or us."""
        self._hurt += 1

    async def answered(self, outcomes: Mapping[str, Outcome], *, leaving: bool = False) -> tuple[Effect, ...]:
        """What the answers to a message, none of which stops the domain, say of its server: to be recorded with them.

        `leaving`: the slot is given back in the same step.
        """
        accepted = any(outcome.kind is Kind.ACCEPTED for outcome in outcomes.values())
        also: tuple[Effect, ...] = ()
        now = self._wiring.clock()
        if accepted:
            self._good, self._hurt = now, 0
            if now - self._noted > NOTED_EVERY:
                self._noted = now
                also = noted_good(self._partition, self._domain, now)
        spoke = any(outcome.attempt.code and outcome.attempt.stage != "route" for outcome in outcomes.values())
        if not self.open and (accepted or (spoke and not self.probing)):
            await self._note_opened(next(iter(outcomes.values())).attempt.server)
            partition, domain = self._partition, self._domain
            also += opened_route(partition, domain) if leaving else opened(partition, domain, now)
            self.open = True
        return also

    async def _note_opened(self, server: str) -> None:
        """The first answer after an outage is an event; the first ever is not."""
        route = await self._wiring.schedule.route(self._partition, self._domain)
        if route.tries:
            event = RouteOpened(at=self._wiring.clock(), domain=self._domain, server=server, since=route.since)
            with contextlib.suppress(ConflictError):
                await self._wiring.log.commit(route_opened_step(self._partition, route, event))
            log.info("route opened", domain=self._domain, server=server)
            with contextlib.suppress(StoreError):
                await self._wiring.watchlist.works(server)

    # What is done to all its mail

    async def back_off(self, down: RouteDown, held: Sequence[str]) -> int:
        """One event, however many messages wait; when (ns) the domain is tried again. The slot and `held` are given back.

        Raises ConflictError when another slot of the domain met the same and said so, LeaseLostError.
        """
        now = self._wiring.clock()
        route = await self._wiring.schedule.route(self._partition, self._domain)
        # What waited already when this slot claimed was to be tried all the same: by the first after an outage, or by request.
        if (self.open or route.at > self._claimed) and route.tries and route.next_try > now:
            raise ConflictError(f"{self._domain}: its route has been deferred since this slot claimed")
        at = self.next_try()
        known = bool(down.until)
        event = RouteDeferred(
            at=now,
            domain=self._domain,
            tries=route.tries + 1,
            since=route.since or now,
            next_try=max(down.until, now + MS) if known else at,
            attempts=down.attempts,
        )
        await self._wiring.log.commit(route_deferred_step(self._partition, route, event, self._token, held))
        if not known:
            await self._mark_down(down.attempts, down.known, now, event.next_try)
        await self._wiring.watchlist.add(self._partition, self._domain, down.attempts, now, event.next_try)
        log.warning(
            "route deferred",
            domain=self._domain,
            tries=event.tries,
            reply=down.attempts[-1].reply if down.attempts else "",
        )
        return event.next_try

    async def _mark_down(self, attempts: Sequence[Attempt], known: Collection[str], now: int, until: int) -> None:
        for attempt in attempts:
            # What others found keeps its own end, or two domains could put off a server's next attempt for ever.
            if attempt.stage != "route" and attempt.server not in known:
                await self._wiring.schedule.server_down(attempt.server, now, until, attempt.reply)

    async def judge(self, down: RouteDown) -> None:
        """Hold the domain when what made its route wait says that waiting will not help."""
        if down.held_for is not None:
            await self._hold(*down.held_for)
            return
        found = of_route(down.said, self.evidence(elsewhere=False), self._wiring.table) if down.said else None
        if found is not None and found.course is Course.HOLD:
            assert found.attempt is not None
            assert found.diagnosis is not None
            await self._hold(found.attempt, found.diagnosis)

    async def _hold(self, attempt: Attempt, diagnosis: Diagnosis) -> None:
        """A fault is not fatal: the next attempt, an interval later, meets the same words."""
        words = reason(attempt, diagnosis)
        try:
            done = await self._wiring.directory.hold(self._domain, words, by=BY, now=self._wiring.clock(), probed=True)
        except GatepostError as fault:
            log.error("its domain could not be held", domain=self._domain, reason=str(fault))  # noqa: TRY400 - the fault says all
            return
        if done:
            log.error("domain held", domain=self._domain, reason=words, tip=diagnosis.owner["en"])

    async def lift(self, server: str) -> None:
        """The server took a message of a domain that was held by itself: the rest may follow."""
        self.probing = False
        note = f"{server} took a message"
        now = self._wiring.clock()
        hold = await self._wiring.directory.resume(self._domain, by=BY, now=now, note=note, only_probed=True)
        if hold is not None:
            log.warning("domain flows again", domain=self._domain, server=server, held_for=(now - hold.since) // SECOND)
