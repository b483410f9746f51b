"""One connection slot of one domain: claims waiting messages, drains them over a session, gives the slot back.

What happens to whom when something goes wrong:
- no server can be used (connect, greeting, EHLO, STARTTLS, 421): the *domain* backs off; its messages are untouched;
- a reused connection turns out to be dead: the same message is tried once more over a new one;
- a fresh connection breaks in the middle of a message: that *message* backs off, in case it is the message's fault, and the
  next one is tried; when that breaks too, or the words were 421, it is the server, and the domain backs off as well;
- a server's answers to a message are that message's alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import structlog

from pipeline import keys
from pipeline.bodies import Buffer
from pipeline.events import RouteDeferred, RouteOpened
from pipeline.faults import ConflictError, CorruptError, LeaseLostError, StoreError
from pipeline.outcome import Kind, Outcome, classify
from pipeline.parked import park_message
from pipeline.retry import next_try
from pipeline.schedule import Claim, Work, new_token
from pipeline.state import Message, Recipient, Stage
from pipeline.steps import MS, Effect, opened, route_deferred_step, route_opened_step
from workers.deliverer.connections import Connection, Connections, RouteDown, ServerBusy
from workers.deliverer.record import Fence, record
from workers.deliverer.session import Session, SessionFailed
from workers.wiring import Wiring

log = structlog.get_logger()

BUSY_NS: Final = 500_000_000
"""Least time until a domain is looked at again whose server is busy and has enough slots waiting."""
RECIPIENTS: Final = 100
"""Recipients of one transaction: what every server must take (RFC 5321 4.5.3.1.8)."""
CLOSING: Final = 421


class Office(Protocol):
    """What a slot asks of its deliverer."""

    @property
    def connections(self) -> Connections: ...
    @property
    def stopping(self) -> bool: ...
    def look_at(self, partition: int, domain: str) -> None: ...
    def later(self, at: int) -> None: ...


class Slot:
    def __init__(self, office: Office, wiring: Wiring, partition: int, domain: str) -> None:
        self._office = office
        self._wiring = wiring
        self.partition = partition
        self.domain = domain
        self.token = new_token()
        self._fence = Fence(keys.slots(partition, domain), self.token)
        self.held: list[Work] = []
        self.task: asyncio.Task[None] | None = None
        self.dialling = False
        """Nothing was said to a server yet: it may be cut off at any moment."""
        self._connection: Connection | None = None
        self._open = False
        self._broken = 0
        """Fresh sessions that broke in the middle of a message, one after the other."""
        self._lease = wiring.settings.lease.seconds
        self._valid_until = 0.0

    # What the deliverer sees

    def renewed(self) -> None:
        self._valid_until = time.monotonic() + self._lease

    def lost(self) -> None:
        self._valid_until = 0.0

    def valid(self) -> bool:
        """Whether the lease surely still holds: asked right before a final dot, so that a process that slept does not deliver late."""
        return time.monotonic() < self._valid_until - self._lease / 4

    # The loop

    async def run(self) -> None:
        if await self._wait_while_held() or not await self._claim(more=False):
            return
        try:
            await self._drain()
        except ServerBusy:
            await self._give_back(delay=int(BUSY_NS * (1 + random.random())), untried=True)  # noqa: S311 - spreads looks, guards nothing
        except RouteDown as down:
            await self._back_off(down)
        except LeaseLostError:
            log.warning("lease lost", domain=self.domain)
        except BaseException:
            await asyncio.shield(self._give_back(untried=self.dialling))
            raise
        finally:
            await asyncio.shield(self._hang_up(abort=False))

    async def _claim(self, *, more: bool) -> bool:
        """Whether there is work. A slot that asks for more and gets none has been given back by the same call."""
        now = self._wiring.clock()
        started = time.monotonic()
        retry_at = next_try(now, self._wiring.retry, random.random())  # noqa: S311 - spreads retries, guards nothing
        claim = await self._wiring.schedule.claim(
            self.partition, self.domain, self.token, now=now, retry_at=retry_at, more=more
        )
        self._open = claim.open
        self._valid_until = started + self._lease
        self.held = claim.work
        if claim.word == "work":
            self._open_another(claim, now)
        elif claim.next:
            self._office.later(claim.next)
        return claim.word == "work"

    def _open_another(self, claim: Claim, now: int) -> None:
        """More is waiting than this slot took: another slot may help."""
        if claim.open and claim.next and claim.next <= now // MS:
            self._office.look_at(self.partition, self.domain)

    async def _drain(self) -> None:
        more = True
        while more:
            while self.held:
                await self._deliver(self.held[0])
                if self.held:
                    self.held.pop(0)
            if self._connection is not None and self._office.connections.wanted(self._connection):
                await self._hang_up(abort=False)
            if self._office.stopping:
                await self._give_back()
                return
            if await self._wait_while_held():
                await self._give_back()
                return
            more = await self._claim(more=True)

    def _alias_of(self) -> str:
        """What the domain became an alias of since its mail was accepted; or what a bounce's domain is an alias of."""
        home = self._wiring.directory.home(self.domain)
        return home.name if home is not None and home.name != self.domain else ""

    def _is_held(self) -> bool:
        home = self._wiring.directory.home(self.domain)
        return home is not None and home.hold is not None

    async def _wait_while_held(self) -> bool:
        """Whether the domain is held: then its mail waits, and nothing is dialled until somebody lets it flow again.

        Who lets it flow again changes the directory first and makes the domain due then. Looking into the directory before and
        after the domain is put off misses neither.
        """
        if not self._is_held():
            return False
        directory, schedule = self._wiring.directory, self._wiring.schedule
        await directory.refresh()
        if not self._is_held():
            return False
        until = next_try(self._wiring.clock(), self._wiring.retry, random.random())  # noqa: S311 - spreads looks, guards nothing
        await schedule.put_off(self.partition, self.domain, until)
        await directory.refresh()
        if not self._is_held():
            await schedule.retry_now(self.partition, self.domain, self._wiring.clock(), ())
        return True

    # The connection

    async def _session(self) -> Session:
        """One that is ready for a message. Raises RouteDown, ServerBusy."""
        connection = self._connection
        if connection is None or not self._office.connections.still_right(connection, self.domain):
            await self._hang_up(abort=False)
            self.dialling = True
            try:
                connection = self._connection = await self._office.connections.borrow(self.domain)
            except (RouteDown, ServerBusy, StoreError):
                self.dialling = False
                raise
            # Not in a `finally`: who was cut off while dialling has not tried.
            self.dialling = False
        return connection.session

    async def _hang_up(self, *, abort: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._office.connections.give_back(connection, abort=abort)

    # One message

    async def _deliver(self, work: Work) -> None:
        message = work.message
        if isinstance(message, CorruptError):
            await self._set_aside(work.id, message)
            return
        recipients = [recipient for recipient in message.recipients if recipient.stage is Stage.QUEUED]
        if not recipients:
            await self._forget(work.id)
            return
        try:
            content = work.hot if work.hot is not None else await self._wiring.bodies.get_moved(work.id)
        except CorruptError as error:
            await self._set_aside(work.id, error)
            return
        left: Message | None = message
        for start in range(0, len(recipients), RECIPIENTS):
            if left is not None:
                left = await self._transaction(left, recipients[start : start + RECIPIENTS], content)

    async def _transaction(self, message: Message, recipients: Sequence[Recipient], content: Buffer) -> Message | None:
        """One MAIL, some RCPT, one DATA, and the record of the answers; the message after it, None when it is finished."""
        try:
            outcomes = await self._attempt(message, recipients, content)
        except SessionFailed as failure:
            # A fresh connection broke in the middle of this message: it waits by itself, in case it is its fault.
            deferred = Outcome(kind=Kind.DEFERRED, attempt=failure.attempt)
            outcomes = {recipient.address: deferred for recipient in recipients}
            left = await record(self._wiring, message, outcomes, content, self._fence)
            self._broken += 1
            if failure.attempt.code == CLOSING or self._broken > 1:
                self._forget_held(message.id)
                raise RouteDown([failure.attempt]) from failure
            return left
        self._broken = 0
        return await self._record(message, outcomes, content)

    async def _attempt(self, message: Message, recipients: Sequence[Recipient], content: Buffer) -> dict[str, Outcome]:
        """What the server answered. Raises RouteDown, ServerBusy, LeaseLostError, and SessionFailed when a fresh session broke."""
        while True:
            try:
                session = await self._session()
            except RouteDown as down:
                if down.attempts and all(classify(attempt) is Kind.REFUSED for attempt in down.attempts):
                    # There is no such domain, or it says that it takes no mail (RFC 7505): waiting would not help.
                    refused = Outcome(kind=Kind.REFUSED, attempt=down.attempts[-1])
                    return {recipient.address: refused for recipient in recipients}
                raise
            fresh = session.sent == 0
            outgoing = await self._wiring.forwarding.prepare(message, content)
            try:
                return await session.deliver(message, recipients, outgoing, self.valid, self._alias_of())
            except SessionFailed as failure:
                await self._hang_up(abort=True)
                if not self.valid():
                    raise LeaseLostError(f"{self.domain}: the lease was lost") from failure
                if fresh:
                    raise

    async def _record(self, message: Message, outcomes: Mapping[str, Outcome], content: Buffer) -> Message | None:
        also: tuple[Effect, ...] = ()
        if not self._open and any(
            outcome.attempt.code and outcome.attempt.stage != "route" for outcome in outcomes.values()
        ):
            await self._note_opened(next(iter(outcomes.values())).attempt.server)
            also = opened(self.partition, self.domain, self._wiring.clock())
            self._open = True
        return await record(self._wiring, message, outcomes, content, self._fence, also)

    def _forget_held(self, message_id: str) -> None:
        """It has its own time of the next try now, which giving the slot back must not change."""
        self.held = [work for work in self.held if work.id != message_id]

    async def _note_opened(self, server: str) -> None:
        """The first answer after an outage is an event; the first ever is not."""
        route = await self._wiring.schedule.route(self.partition, self.domain)
        if route.tries:
            event = RouteOpened(at=self._wiring.clock(), domain=self.domain, server=server, since=route.since)
            with contextlib.suppress(ConflictError):
                await self._wiring.log.commit(route_opened_step(self.partition, route, event))
            log.info("route opened", domain=self.domain, server=server)

    async def _forget(self, message_id: str) -> None:
        """It is finished, or went elsewhere; only its place in the queue was left."""
        await self._wiring.store.redis.zrem(keys.queue(self.partition, self.domain), message_id)

    async def _set_aside(self, message_id: str, error: CorruptError) -> None:
        if not (await self._wiring.store.redis.exists(keys.head(self.partition, message_id))):
            await self._forget(message_id)
            return
        log.error("parked", message=message_id, reason=str(error), remedy="see `gatepost parked list`")
        await park_message(
            self._wiring.store, self.partition, self.domain, message_id, str(error), now=self._wiring.clock()
        )

    # The domain

    async def _give_back(self, *, delay: int = 0, untried: bool = False) -> None:
        now = self._wiring.clock()
        held = [work.id for work in self.held]
        await self._wiring.schedule.release(
            self.partition, self.domain, self.token, held, now, at=now + delay, untried=untried
        )
        if delay:
            self._office.later((now + delay) // MS)

    async def _back_off(self, down: RouteDown) -> None:
        """One event, however many messages wait."""
        now = self._wiring.clock()
        route = await self._wiring.schedule.route(self.partition, self.domain)
        at = next_try(now, self._wiring.retry, random.random())  # noqa: S311 - spreads retries, guards nothing
        known = bool(down.until)
        event = RouteDeferred(
            at=now,
            domain=self.domain,
            tries=route.tries + 1,
            since=route.since or now,
            next_try=max(down.until, now + MS) if known else at,
            attempts=down.attempts,
        )
        step = route_deferred_step(self.partition, route, event, self.token, [work.id for work in self.held])
        try:
            await self._wiring.log.commit(step)
        except (ConflictError, LeaseLostError):
            # Another slot of this domain met the same and said so, or this one no longer speaks for it.
            await self._give_back()
            return
        if not known:
            for attempt in down.attempts:
                # What others found keeps its own end, or two domains could put off a server's next attempt for ever.
                if attempt.stage != "route" and attempt.server not in down.known:
                    await self._wiring.schedule.server_down(attempt.server, now, event.next_try, attempt.reply)
        log.warning(
            "route deferred",
            domain=self.domain,
            tries=event.tries,
            reply=down.attempts[-1].reply if down.attempts else "",
        )
        self._office.later(event.next_try // MS)
