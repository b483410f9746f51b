"""One connection slot of one domain: claims waiting messages, drains them over a session, gives the slot back.

What happens to whom when something goes wrong:
- no server can be used (connect, greeting, EHLO, STARTTLS, 421): the *domain* backs off; its messages are untouched;
- a reused connection turns out to be dead: the same message is tried once more over a new one;
- a fresh connection breaks in the middle of a message: that *message* backs off, in case it is the message's fault, and the
  next one is tried; when that breaks too, or the words were 421, it is the server, and the domain backs off as well;
- a server's answers to a message are that message's alone, unless they are about the server or about us: what follows then is
  decided in `pipeline/consequences.py`. The message itself waits behind the others, so that another one is tried next time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import structlog

from pipeline import keys, metrics
from pipeline.bodies import Buffer
from pipeline.claims import Claim, Work
from pipeline.consequences import (
    CLOSING,
    RATE_LIMITED,
    Consequence,
    Course,
    is_whole_server,
    says_too_many,
    unwanted,
    weigh,
)
from pipeline.faults import (
    ConflictError,
    CorruptError,
    LeaseLostError,
    StoreAwayError,
    StoreError,
    StoreFullError,
)
from pipeline.outcome import Kind, Outcome, classify
from pipeline.parked import park_message
from pipeline.schedule import new_token
from pipeline.state import Message, Recipient, Stage
from pipeline.steps import MS, Effect, freed
from pipeline.units import SECOND
from workers.deliverer.connections import Connection, Connections, RouteDown, ServerBusy
from workers.deliverer.destination import Destination
from workers.deliverer.record import Fence, record
from workers.deliverer.session import Session, SessionFailed
from workers.deliverer.steady import Steady
from workers.wiring import Wiring

log = structlog.get_logger()

BUSY_NS: Final = 500_000_000
"""Least time until a domain is looked at again whose server is busy and has enough slots waiting."""
AWAY_NS: Final = 10_000_000_000
"""Time until a message is looked at again whose body cannot be reached, where nothing is known of its server."""
FEW: Final = 2
"""Messages of a claim, up to which it was surely all that waited: the slot is given back with the last of them, as asking for more costs as
much as another slot does, should more come.
"""
RECIPIENTS: Final = 100
"""Recipients of one transaction: what every server must take (RFC 5321 4.5.3.1.8)."""
SOURCES: Final = 16
"""Addresses of ours that are tried, one after the other, for one message: more than anybody has at one server."""


def transactions(recipients: Sequence[Recipient]) -> list[list[Recipient]]:
    """Those that go out together: to whom the message says the same of our verdict, and not too many."""
    tags: dict[str, list[Recipient]] = {}
    for recipient in recipients:
        tags.setdefault(recipient.tag, []).append(recipient)
    return [some[start : start + RECIPIENTS] for some in tags.values() for start in range(0, len(some), RECIPIENTS)]


class Office(Protocol):
    """What a slot asks of its deliverer."""

    @property
    def connections(self) -> Connections: ...
    @property
    def steady(self) -> Steady: ...
    @property
    def stopping(self) -> bool: ...
    def look_at(self, partition: int, domain: str) -> None: ...
    def later(self, at: int) -> None: ...
    def dials(self, more: int) -> None: ...


class Slot:
    def __init__(self, office: Office, wiring: Wiring, partition: int, domain: str) -> None:
        self._office = office
        self._wiring = wiring
        self.partition = partition
        self.domain = domain
        self.token = new_token()
        self._fence = Fence(keys.slots(partition, domain), self.token)
        self._destination = Destination(wiring, partition, domain, self.token)
        self.held: list[Work] = []
        self.task: asyncio.Task[None] | None = None
        self.dialling = False
        """Nothing was said to a server yet: it may be cut off at any moment."""
        self.answered = float("inf")
        """When (monotonic) its last claim was answered."""
        self._connection: Connection | None = None
        self._few = False
        """It claimed all that waited, and that was not much."""
        self._broken = 0
        """Fresh sessions that broke in the middle of a message, one after the other."""
        self._lease = wiring.settings.lease.seconds
        self._valid_until = 0.0
        self._apart = office.steady.apart()
        """How far the clock by which the lease ends was from one that is never stepped."""

    # What the deliverer sees

    @property
    def claimed(self) -> bool:
        """Whether it holds a lease, as far as it knows. One that is just being claimed is not there yet, and so not lost."""
        return self._valid_until > 0

    def renewed(self, asked: float, apart: int) -> None:
        """`asked`: when (monotonic) that was asked for. The answer may have lain unread, in a process that slept. `apart`: the clocks, then."""
        self._valid_until, self._apart = asked + self._lease, apart

    def lost(self) -> None:
        self._valid_until = 0.0

    def valid(self) -> bool:
        """Whether the lease surely still holds: asked right before a final dot, so that a process that slept does not deliver late."""
        return time.monotonic() < self._valid_until - self._lease / 4 and self._office.steady.same(self._apart)

    # The loop

    async def run(self) -> None:
        if not await self._destination.may_probe() or not await self._claim(more=False):
            return
        try:
            await self._drain()
        except ServerBusy as busy:
            delay = busy.delay or int(BUSY_NS * (1 + random.random()))  # noqa: S311 - spreads looks, guards nothing
            await self._give_back(delay=delay, untried=True)
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
        if self._office.steady.unsure():
            if more:
                await self._give_back()
            return False
        apart = self._office.steady.apart()
        now = self._wiring.clock()
        started = time.monotonic()
        retry_at = self._destination.next_try()
        claim = await self._wiring.schedule.claim(
            self.partition,
            self.domain,
            self.token,
            now=now,
            retry_at=retry_at,
            more=more,
            was_open=self._destination.open,
            limit=self._office.connections.slots(self.domain),
        )
        self.answered = time.monotonic()
        self._destination.claimed(is_open=claim.open, good=claim.good)
        self._valid_until, self._apart = started + self._lease, apart
        self.held = claim.work
        self._few = len(claim.work) <= FEW
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
            if self._fence.given_back:
                self.lost()
                return
            if self._connection is not None and self._office.connections.wanted(self._connection):
                await self._hang_up(abort=False)
            if self._office.stopping:
                await self._give_back()
                return
            if not await self._destination.may_flow():
                await self._give_back()
                return
            more = await self._claim(more=True)

    # The connection

    async def _session(self) -> Session:
        """One that is ready for a message. Raises RouteDown, ServerBusy."""
        connection = self._connection
        if connection is None or not self._office.connections.still_right(connection, self.domain):
            await self._hang_up(abort=False)
            self.dialling = True
            self._office.dials(1)
            try:
                connection = self._connection = await self._office.connections.borrow(self.domain)
            except (RouteDown, ServerBusy, StoreError):
                self.dialling = False
                raise
            finally:
                self._office.dials(-1)
            # Not in the `finally`: who was cut off while dialling has not tried.
            self.dialling = False
        return connection.session

    async def _hang_up(self, *, abort: bool, keep: bool = True) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._office.connections.give_back(connection, abort=abort, keep=keep)

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
            content = await self._wiring.bodies.of(work.id, work.hot)
        except CorruptError as error:
            await self._set_aside(work.id, error)
            return
        except (StoreAwayError, StoreFullError) as fault:
            # Nobody's fault but ours, so no try. It comes again when its lease is over; until then those behind it have their turn.
            if not self._destination.open or self._destination.probing:
                raise ServerBusy(
                    AWAY_NS
                ) from fault  # the one message that may see whether the server is there is another
            return
        left: Message | None = message
        *others, last = transactions(recipients)
        for some in others:
            if left is not None:
                left = await self._transaction(left, some, content)
        if left is not None:
            leaving = self._few and len(self.held) == 1 and not self._destination.probing
            await self._transaction(left, last, content, leaving=leaving)

    async def _transaction(
        self, message: Message, recipients: Sequence[Recipient], content: Buffer, *, leaving: bool = False
    ) -> Message | None:
        """One MAIL, some RCPT, one DATA, and the record of the answers; the message after it, None when it is finished.

        `leaving`: this is all that the slot has to do.
        """
        try:
            found = await self._attempt(message, recipients, content)
        except SessionFailed as failure:
            # A fresh connection broke in the middle of this message: it waits by itself, in case it is its fault.
            deferred = Outcome(kind=Kind.DEFERRED, attempt=failure.attempt)
            outcomes = {recipient.address: deferred for recipient in recipients}
            left = await record(self._wiring, message, outcomes, content, self._fence)
            self._broken += 1
            if failure.attempt.code == CLOSING or self._broken > 1 or self._destination.probing:
                self._forget_held(message.id)
                if says_too_many(failure.attempt, self._wiring.table) and await self._limited(failure.attempt.server):
                    raise ServerBusy from failure
                raise RouteDown([failure.attempt]) from failure
            return left
        self._broken = 0
        if self._destination.probing:
            return await self._probed(message, found, content)
        others = 0
        if found.diagnosis is not None and found.attempt is not None:
            self._destination.hurt()
            if found.diagnosis.about == RATE_LIMITED:
                others = await self._limited(found.attempt.server) - 1
        also, last = await self._said(found, leaving=leaving)
        left = await record(self._wiring, message, found.outcomes, content, self._fence, also, last)
        if found.course is not Course.GO_ON:
            await self._stop(message, found, others)
        if any(outcome.kind is Kind.ACCEPTED for outcome in found.outcomes.values()):
            await self._office.connections.took(next(iter(found.outcomes.values())).attempt.server)
        return left

    async def _said(self, found: Consequence, *, leaving: bool) -> tuple[tuple[Effect, ...], tuple[Effect, ...]]:
        """What is recorded with the answers: of the server, and of the slot that is not needed any more."""
        if found.course is not Course.GO_ON:
            return (), ()
        also = await self._destination.answered(found.outcomes, leaving=leaving)
        if (
            not leaving or not self._destination.open
        ):  # of a server that may be away, the next message is for who has the slot
            return also, ()
        return also, freed(self.partition, self.domain, self.token, self._wiring.clock())

    async def _probed(self, message: Message, found: Consequence, content: Buffer) -> Message | None:
        """The one message that a held domain may lose per interval: taken, or it waits on. Nothing bounces while a domain is held."""
        outcomes = {
            address: Outcome(kind=Kind.DEFERRED, attempt=outcome.attempt) if outcome.kind is Kind.REFUSED else outcome
            for address, outcome in found.outcomes.items()
        }
        taken = [outcome.attempt.server for outcome in outcomes.values() if outcome.kind is Kind.ACCEPTED]
        left = await record(
            self._wiring, message, outcomes, content, self._fence, await self._destination.answered(outcomes)
        )
        if taken:
            await self._destination.lift(taken[0])
            return left
        self._forget_held(message.id)
        attempts = list(dict.fromkeys(outcome.attempt for outcome in outcomes.values()))[-1:]
        raise RouteDown(attempts, known={attempt.server for attempt in attempts})

    async def _limited(self, server: str) -> int:
        """The server says that we are too many, or too fast: fewer connections from now on; how many are open."""
        return await self._office.connections.pace.limited(server, "")

    async def _stop(self, message: Message, found: Consequence, others: int) -> None:
        """What the server said is about itself or us. Raises RouteDown; ServerBusy when it limits us, and `others` of our connections work."""
        attempt = found.attempt
        assert attempt is not None
        self._forget_held(message.id)
        whole = is_whole_server(attempt, found.diagnosis)
        if whole:
            await self._hang_up(abort=False, keep=False)
        if others > 0:
            raise ServerBusy
        held_for = (attempt, found.diagnosis) if found.course is Course.HOLD and found.diagnosis else None
        raise RouteDown([attempt], known=() if whole else {attempt.server}, held_for=held_for)

    async def _attempt(self, message: Message, recipients: Sequence[Recipient], content: Buffer) -> Consequence:
        """What the server answered. Raises RouteDown, ServerBusy, LeaseLostError, and SessionFailed when a fresh session broke."""
        sources = 0
        while True:
            sources += 1
            try:
                session = await self._session()
            except RouteDown as down:
                if down.attempts and all(classify(attempt) is Kind.REFUSED for attempt in down.attempts):
                    # There is no such domain, or it says that it takes no mail (RFC 7505): waiting would not help.
                    refused = Outcome(kind=Kind.REFUSED, attempt=down.attempts[-1])
                    return Consequence(outcomes={recipient.address: refused for recipient in recipients})
                if sources < SOURCES and await self._elsewhere(down):
                    continue
                raise
            fresh = session.sent == 0
            await self._wait_for_its_turn(session.server)
            outgoing = await self._wiring.forwarding.prepare(message, content, recipients[0].tag)
            alias = self._destination.alias_of()
            began = time.monotonic()
            try:
                outcomes = await session.deliver(message, recipients, outgoing, self.valid, alias)
            except SessionFailed as failure:
                await self._hang_up(abort=True)
                if not self.valid():
                    raise LeaseLostError(f"{self.domain}: the lease was lost") from failure
                if fresh and not (sources < SOURCES and await self._elsewhere(RouteDown([failure.attempt]))):
                    raise
                continue
            metrics.DELIVERY_SECONDS.observe(time.monotonic() - began)
            if any(outcome.kind is Kind.ACCEPTED for outcome in outcomes.values()):
                metrics.DELIVERY_BYTES.add(by=outgoing.size)
            found = await self._weighed(message, outcomes, may_change=sources < SOURCES)
            if found.course is not Course.OTHER_SOURCE:
                return found
            await self._hang_up(abort=True)

    async def _wait_for_its_turn(self, server: str) -> None:
        """Where so many messages a minute may go. Raises ServerBusy when that is not at once."""
        wait = await self._office.connections.pace.admit(server)
        if wait < 0:
            raise ServerBusy(-wait)
        if wait:
            await asyncio.sleep(wait / SECOND)

    async def _weighed(self, message: Message, outcomes: Mapping[str, Outcome], *, may_change: bool) -> Consequence:
        """What the answers come to. OTHER_SOURCE: there is another one, and nobody has got the message yet."""
        if all(outcome.kind is Kind.ACCEPTED for outcome in outcomes.values()):
            return Consequence(outcomes=outcomes)
        found = weigh(message, outcomes, self._destination.evidence(), self._wiring.table)
        if found.course is Course.OTHER_SOURCE:
            assert found.attempt is not None
            if not may_change or not await self._office.connections.other_source(found.attempt, self.domain):
                return weigh(message, outcomes, self._destination.evidence(elsewhere=False), self._wiring.table)
        return found

    async def _elsewhere(self, down: RouteDown) -> bool:
        """Whether a server that does not want our address may be tried from another one."""
        again = [
            await self._office.connections.other_source(attempt, self.domain)
            for attempt in unwanted(down.said, self._wiring.table)
        ]
        return any(again)

    def _forget_held(self, message_id: str) -> None:
        """It has its own time of the next try now, which giving the slot back must not change."""
        self.held = [work for work in self.held if work.id != message_id]

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
        # The claim of an open domain wrote no next attempt: if there is one, it is another slot's, which backed the domain off.
        untried = untried and not self._destination.open
        await self._wiring.schedule.release(
            self.partition, self.domain, self.token, held, now, at=now + delay, untried=untried
        )
        if delay:
            self._office.later((now + delay) // MS)

    async def _back_off(self, down: RouteDown) -> None:
        try:
            again = await self._destination.back_off(down, [work.id for work in self.held])
        except (ConflictError, LeaseLostError):
            # Another slot of this domain met the same and said so, or this one no longer speaks for it.
            await self._give_back()
            return
        await self._destination.judge(down)
        self._office.later(again // MS)
