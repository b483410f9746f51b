"""The open connections of one deliverer, lent to its slots: one server's connections serve all domains that use it, and that speak to
it in the same way: with the same options (see directory/options.py), and from an address that they would choose themselves.

A connection holds one of the places that its server allows, over all workers; it is kept a little while after its last
message, for whoever needs that server next. When all places are taken, slots wait here in the order in which they came, a
bounded number of them. A server that another domain found down is not dialled again before its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

from pipeline import dane, metrics
from pipeline.consequences import says_too_many
from pipeline.diagnosis import Diagnosis
from pipeline.directory import Hold
from pipeline.directory.options import PLAIN, RouteOptions, Tls
from pipeline.egress import Egress, NoSource
from pipeline.events import Attempt
from pipeline.faults import StoreError
from pipeline.outcome import neutralise
from pipeline.pause import pause
from pipeline.route import LookupFailed, Resolver, RouteError, Target, resolve
from pipeline.schedule import new_token
from pipeline.servers import ordered, parsed
from pipeline.units import SourceAddress
from workers.deliverer.pace import Pace
from workers.deliverer.session import Session, SessionFailed
from workers.deliverer.ways import Own, Round, Way, blames_server
from workers.wiring import Wiring

QUIT: Final = 2.0
"""Seconds for a server to answer QUIT."""
LOOK: Final = 0.2
"""Seconds between two looks whether another process gave a place back; our own wake who waits."""
UNRELEASED: Final = 1000
"""Places that are remembered while the store is away; the others come free with their lease."""
WAITING: Final = 2
"""Slots that may wait for a server, per place; more come back later, so that one busy server cannot have all slots."""


class RouteDown(Exception):
    """No server of the domain can be used just now. `until`: ns, when all that was said is what others found; else 0.

    `known`: servers that are not to be written down as down: others had found them so, it was not the server's fault, or its words
    hold for this domain alone.
    `passed_over`: servers that were not asked, in this round; without it, those that are known.
    `held_for`: words, and what they are about, because of which the domain is to be held.
    """

    def __init__(
        self,
        attempts: Sequence[Attempt],
        until: int = 0,
        known: Collection[str] = (),
        held_for: tuple[Attempt, Diagnosis] | None = None,
        passed_over: Collection[str] | None = None,
    ) -> None:
        super().__init__()
        self.known = frozenset(known)
        silent = self.known if passed_over is None else passed_over
        self.said = tuple(attempt for attempt in attempts if attempt.server not in silent)
        """What was said now, by servers that were asked."""
        self.held_for = held_for
        self.attempts = tuple(attempts)
        self.until = until


class ServerBusy(Exception):
    """All connections that the server is allowed are in use, and enough slots wait for one; or it takes no more for now.

    `delay`: ns until it makes sense to look again; 0: soon.
    """

    def __init__(self, delay: int = 0) -> None:
        super().__init__()
        self.delay = delay


class _TooMany(Exception):
    """The server takes no more connections of ours, and works with those that it has: who wanted this one waits for a place."""


class Connection:
    """An open session, and the place at its server that it holds."""

    def __init__(self, session: Session, token: str, way: Way) -> None:
        self.session = session
        self.server = session.server
        self.token = token
        self.way = way
        """The way as it was when this was dialled or lent."""
        self.options = way.options.shared
        self.expiry: asyncio.TimerHandle | None = None


class Connections:
    def __init__(self, wiring: Wiring, resolver: Resolver) -> None:
        self._wiring = wiring
        self._resolver = resolver
        self._open: set[Connection] = set()
        self._idle: dict[str, list[Connection]] = {}
        self._waiting: dict[str, deque[asyncio.Event]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._unreleased: deque[tuple[str, str]] = deque(maxlen=UNRELEASED)
        self.pace = Pace(wiring)
        self._offers: dict[str, bool] = {}
        """Servers of routes -> whether they offered SMTPUTF8."""
        self._own = Own(wiring, resolver)
        self._egress = Egress(wiring.store.redis, wiring.settings, wiring.clock)
        metrics.DELIVERY_OPEN.watch(lambda: len(self._open))

    # Lending

    async def borrow(self, domain: str) -> Connection:
        """A connection to a server of `domain`, as its route is now. Raises RouteDown, ServerBusy, StoreAwayError."""
        way = self._way(domain)
        # Only the first: a connection to a backup that another domain left open is no reason to pass over the preferred server.
        first = ordered(parsed(way.route), random.random)[:1]
        if first and self._waiting.get(first[0].name):
            await self._wait(first[0].name)  # behind those who came before
            way = self._way(domain)
        kept = self._take_idle(first[0].name, way) if first and self._hold_of(first[0].name) is None else None
        if kept is not None:
            return kept
        targets = await self._targets(domain)
        way = self._way(domain)
        await self._free_the_rest()
        while True:
            round_ = Round(targets)
            connection = await self._ask(targets, way, domain, round_)
            if connection is not None:
                return connection
            if not round_.busy:
                until = 0 if round_.dialled else round_.until
                raise RouteDown(round_.attempts, until, round_.spared, passed_over=round_.passed_over)
            # One may have been given back since it was looked for.
            kept = self._take_idle(round_.busy, way)
            if kept is not None:
                return kept
            if not await self._end_idle(round_.busy):
                await self._wait(round_.busy)

    async def _ask(self, targets: Sequence[Target], way: Way, domain: str, round_: Round) -> Connection | None:
        """The first of `targets` that can be had; what came of the others is noted in `round_`."""
        for target in targets:
            hold = self._hold_of(target.server)
            if hold is not None:
                look = self._wiring.clock() + self._wiring.retry_of(domain).interval
                round_.on_hold(target, min(hold.until or look, look))
                continue
            connection = self._take_idle(target.server, way) or await self._try(target, way, round_)
            if connection is not None or round_.busy:
                return connection
        return None

    async def took(self, server: str) -> None:
        """A server took a message: who waits for it may get a place more."""
        if await self.pace.good(server):
            self._wake(server)

    def only_server(self, domain: str) -> str:
        """The server that a domain's mail has to go to; empty where there may be several."""
        servers = parsed(self._way(domain).route)
        return servers[0].name if len(servers) == 1 and not servers[0].mx else ""

    def slots(self, domain: str) -> int:
        """How many slots a domain may use: as many as connections to its preferred server may be open.

        Two at least: one whose worker has died must not hold up the domain until its lease ends.
        """
        first = ordered(parsed(self._way(domain).route), random.random)[:1]
        most = self._wiring.settings.connections_per_server
        return min(most, max(2, self.pace.width(first[0].name))) if first else most

    async def _try(self, target: Target, way: Way, round_: Round) -> Connection | None:
        """Dial one address, if it may be dialled now; what came of it is noted in `round_`."""
        try:
            source = await self._egress.choose(target.server, target.address, way.options.sources)
        except NoSource as no:
            words = neutralise(f"Not dialled: {no}".encode())
            round_.failed(
                Attempt(server=target.server, address=target.address, stage="route", enhanced="4.3.5", reply=words)
            )
            return None
        token, settings = new_token(), self._wiring.settings
        place = await self._wiring.schedule.take_server(
            target.server, token, self._wiring.clock(), settings.connections_per_server
        )
        self.pace.heard(target.server, place.width)
        if place.word == "full":
            round_.busy = target.server
            return None
        if place.word == "down":
            round_.found_down(target, place)
            return None
        try:
            return await self._dial(target, token, way, source, round_.patience())
        except _TooMany:
            round_.busy = target.server
            return None
        except SessionFailed as failure:
            round_.failed(failure.attempt, spare=not blames_server(failure.attempt, way.options))
            return None

    def still_right(self, connection: Connection, domain: str) -> bool:
        """Whether a borrowed connection may take another message of `domain`."""
        limit = self._wiring.settings.messages_per_connection
        session, way = connection.session, self._way(domain)
        fit = (
            session.usable and session.sent < limit and connection.way == way and self._hold_of(session.server) is None
        )
        return fit and self._egress.still(session.server, session.address, session.source, way.options.sources)

    async def other_source(self, attempt: Attempt, domain: str = "") -> bool:
        """Remember that `attempt.source` is not wanted at `attempt.server`; True when another of our addresses may be tried there.

        `domain`: whose attempt it was; without it all addresses count, not only those that its route may use.
        """
        if not attempt.source:
            return False
        with contextlib.suppress(StoreError):
            await self._egress.block(attempt.server, attempt.source, attempt.reply)
        wanted = self._way(domain).options.sources if domain else ()
        return self._egress.others(attempt.server, attempt.address or attempt.source, wanted)

    def wanted(self, connection: Connection) -> bool:
        """Whether somebody waits for a connection to this server."""
        return bool(self._waiting.get(connection.server))

    async def give_back(self, connection: Connection, *, abort: bool = False, keep: bool = True) -> None:
        """For the next who needs the server; or its end, when it cannot be used any more, or is not to be (`keep`).

        `abort`: without a word.
        """
        limit = self._wiring.settings.messages_per_connection
        if abort or not keep or not connection.session.usable or connection.session.sent >= limit:
            await self._end(connection, abort=abort)
            return
        self._idle.setdefault(connection.server, []).append(connection)
        loop = asyncio.get_running_loop()
        connection.expiry = loop.call_later(self._wiring.settings.keep_connection.seconds, self._expire, connection)
        self._wake(connection.server)

    def held(self) -> list[tuple[str, str]]:
        """(server, token) of every place that is ours, to be renewed."""
        return [(connection.server, connection.token) for connection in self._open]

    async def close(self) -> None:
        """Say QUIT wherever nothing is under way."""
        for connections in list(self._idle.values()):
            for connection in list(connections):
                self._expire(connection)
        if self._closing:
            await asyncio.wait(self._closing)

    # Servers

    def _way(self, domain: str) -> Way:
        found = self._wiring.directory.home(domain)
        return Way(found.route, found.route_options or PLAIN) if found else Way()

    def _hold_of(self, server: str) -> Hold | None:
        """What keeps mail from a server just now, whichever domain's it is."""
        hold = self._wiring.directory.server_hold(server)
        return hold if hold is not None and hold.holds(self._wiring.clock()) else None

    async def _targets(self, domain: str) -> Sequence[Target]:
        # The directory is asked whether it changed, so a new route holds from the next attempt on.
        await self._wiring.directory.refresh()
        try:
            ours = await self._own.now()
            allowed = self._wiring.settings.allow_networks
            return await resolve(self._way(domain).route, domain, self._resolver, allowed, ours=ours.why)
        except RouteError as error:
            raise RouteDown([error.attempt]) from error

    async def _dial(
        self, target: Target, token: str, way: Way, source: SourceAddress | None, patience: float
    ) -> Connection:
        hostname = way.options.ehlo or (source.name if source else "") or self._wiring.hostname
        try:
            records = await self._records(target, way.options)
            session = await Session.open(
                target,
                hostname=hostname,
                settings=self._wiring.settings,
                options=way.options,
                source=source.address if source else "",
                patience=patience,
                records=records,
            )
        except SessionFailed as failure:
            metrics.DELIVERY_CONNECTIONS.add("failed")
            metrics.DELIVERY_FAILURES.add(failure.attempt.stage)
            # The place is given back together with the word that there are fewer: nobody is to take it in between.
            too_many = says_too_many(failure.attempt, self._wiring.table)
            others = await asyncio.shield(self.pace.limited(target.server, token)) if too_many else 0
            if others:
                raise _TooMany from failure
            await asyncio.shield(self._free(target.server, token))
            raise
        except BaseException:
            await asyncio.shield(self._free(target.server, token))
            raise
        connection = Connection(session, token, way)
        self._open.add(connection)
        metrics.DELIVERY_CONNECTIONS.add("opened")
        if way.route:
            await self._note_offer(target.via or target.server, offered=session.offers_smtputf8)
        return connection

    async def _records(self, target: Target, options: RouteOptions) -> tuple[dane.Record, ...]:
        """What the DNS says of the server's certificate. Raises SessionFailed when that cannot be known now."""
        if not self._wiring.settings.trust_resolver_ad or not options.dane or options.tls is Tls.NEVER:
            return ()
        try:
            return await dane.look_up(self._resolver, target)
        except LookupFailed as failed:
            words = neutralise(f"Not dialled: whether it must be encrypted is not known (DANE): {failed}".encode())
            raise SessionFailed(
                Attempt(server=target.server, address=target.address, stage="route", enhanced="4.4.3", reply=words)
            ) from None

    async def _note_offer(self, server: str, *, offered: bool) -> None:
        """Receivers take SMTPUTF8 only for servers that do."""
        if self._offers.get(server) == offered:
            return
        with contextlib.suppress(StoreError):
            await self._wiring.directory.note_smtputf8(server, offered=offered)
            self._offers[server] = offered

    # Places

    def _take_idle(self, server: str, way: Way) -> Connection | None:
        """One that suits `way`, the one that was used last: the others may then come to their end."""
        kept = self._idle.get(server, [])
        for connection in reversed(kept.copy()):
            session = connection.session
            if not session.usable:
                self._expire(connection)
            elif connection.options == way.options.shared and self._egress.still(
                server, session.address, session.source, way.options.sources
            ):
                self._forget_idle(connection)
                connection.way = way
                metrics.DELIVERY_CONNECTIONS.add("reused")
                return connection
        return None

    async def _end_idle(self, server: str) -> bool:
        """End a connection that nobody uses and that does not suit who is waiting, so that its place comes free."""
        kept = self._idle.get(server)
        if not kept:
            return False
        connection = kept[0]
        self._forget_idle(connection)
        await self._end(connection)
        return True

    def _forget_idle(self, connection: Connection) -> None:
        kept = self._idle[connection.server]
        kept.remove(connection)
        if not kept:
            del self._idle[connection.server]
        if connection.expiry is not None:
            connection.expiry.cancel()

    async def _wait(self, server: str) -> None:
        """Until a place may have become free. Raises ServerBusy when enough are waiting."""
        line = self._waiting.setdefault(server, deque())
        if len(line) >= WAITING * self._wiring.settings.connections_per_server:
            raise ServerBusy
        turn = asyncio.Event()
        line.append(turn)
        try:
            await pause(turn, LOOK)
        finally:
            with contextlib.suppress(ValueError):
                line.remove(turn)
            if not line:
                self._waiting.pop(server, None)

    def _wake(self, server: str) -> None:
        for turn in self._waiting.get(server, ()):
            if not turn.is_set():
                turn.set()
                return

    def _expire(self, connection: Connection) -> None:
        if connection in self._idle.get(connection.server, ()):
            self._forget_idle(connection)
            self._end_soon(connection)

    def _end_soon(self, connection: Connection) -> None:
        task = asyncio.create_task(self._end(connection), name=f"quit {connection.server}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _end(self, connection: Connection, *, abort: bool = False) -> None:
        self._open.discard(connection)
        if abort or not connection.session.usable:
            connection.session.abort()
        else:
            await connection.session.quit(QUIT)
        await self._free(connection.server, connection.token)

    async def _free(self, server: str, token: str) -> None:
        try:
            await self._wiring.schedule.release_server(server, token)
        except (StoreError, OSError):
            # It comes free by itself when its lease ends; but it may be the only one, and mail would wait for that.
            self._unreleased.append((server, token))
        self._wake(server)

    async def _free_the_rest(self) -> None:
        """Places that could not be given back while the store was away. Raises StoreError."""
        while self._unreleased:
            one = self._unreleased.pop()
            try:
                await self._wiring.schedule.release_server(*one)
            except StoreError:
                self._unreleased.append(one)
                raise
