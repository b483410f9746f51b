"""The open connections of one deliverer, lent to its slots: one server's connections serve all domains that use it.

A connection holds one of the places that its server allows, over all workers; it is kept a little while after its last
message, for whoever needs that server next. When all places are taken, slots wait here in the order in which they came, a
bounded number of them. A server that another domain found down is not dialled again before its time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

from pipeline.consequences import says_too_many
from pipeline.diagnosis import Diagnosis
from pipeline.events import Attempt
from pipeline.faults import StoreError
from pipeline.pause import pause
from pipeline.route import Resolver, RouteError, Target, resolve
from pipeline.schedule import new_token
from pipeline.steps import MS
from workers.deliverer.pace import Pace
from workers.deliverer.session import Session, SessionFailed
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

    `known`: servers that were not dialled, because others had found them down; or whose words hold for this domain alone.
    `held_for`: words, and what they are about, because of which the domain is to be held.
    """

    def __init__(
        self,
        attempts: Sequence[Attempt],
        until: int = 0,
        known: Collection[str] = (),
        held_for: tuple[Attempt, Diagnosis] | None = None,
    ) -> None:
        super().__init__()
        self.known = frozenset(known)
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

    def __init__(self, session: Session, token: str, route: tuple[str, ...]) -> None:
        self.session = session
        self.server = session.server
        self.token = token
        self.route = route
        """The route as it was when this was dialled or lent."""
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

    # Lending

    async def borrow(self, domain: str) -> Connection:
        """A connection to a server of `domain`, as its route is now. Raises RouteDown, ServerBusy."""
        route = self._route(domain)
        # Only the first: a connection to a backup that another domain left open is no reason to pass over the preferred server.
        kept = self._take_idle(route[0]) if route else None
        if kept is not None:
            kept.route = route
            return kept
        targets = await self._targets(domain)
        route = self._route(domain)
        await self._free_the_rest()
        while True:
            attempts: list[Attempt] = []
            until = 0
            dialled = False
            known: set[str] = set()
            busy = ""
            for target in targets:
                kept = self._take_idle(target.server)
                if kept is not None:
                    kept.route = route
                    return kept
                token = new_token()
                place = await self._wiring.schedule.take_server(
                    target.server, token, self._wiring.clock(), self._wiring.settings.connections_per_server
                )
                self.pace.heard(target.server, place.width)
                if place.word == "full":
                    busy = target.server
                    break
                if place.word == "down":
                    attempts.append(
                        Attempt(server=target.server, address=target.address, stage="connect", reply=place.why)
                    )
                    known.add(target.server)
                    until = max(until, place.until * MS)
                    continue
                try:
                    return await self._dial(target, token, route)
                except _TooMany:
                    busy = target.server
                    break
                except SessionFailed as failure:
                    attempts.append(failure.attempt)
                    dialled = True
            if not busy:
                raise RouteDown(attempts, 0 if dialled else until, known)
            await self._wait(busy)

    async def took(self, server: str) -> None:
        """A server took a message: who waits for it may get a place more."""
        if await self.pace.good(server):
            self._wake(server)

    def slots(self, domain: str) -> int:
        """How many slots a domain may use: as many as connections to its preferred server may be open.

        Two at least: one whose worker has died must not hold up the domain until its lease ends.
        """
        route = self._route(domain)
        most = self._wiring.settings.connections_per_server
        return min(most, max(2, self.pace.width(route[0]))) if route else most

    async def other_source(self, attempt: Attempt) -> bool:  # noqa: ARG002 - this gateway has one address
        """Remember that `attempt.source` is not wanted at `attempt.server`; whether another of our addresses may be tried there.

        This gateway has one address.
        """
        return False

    def still_right(self, connection: Connection, domain: str) -> bool:
        """Whether a borrowed connection may take another message of `domain`."""
        limit = self._wiring.settings.messages_per_connection
        fit = connection.session.usable and connection.session.sent < limit
        return fit and connection.route == self._route(domain)

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

    def _route(self, domain: str) -> tuple[str, ...]:
        """Empty for a domain that is not ours, where a bounce goes by MX."""
        found = self._wiring.directory.home(domain)
        return found.route if found else ()

    async def _targets(self, domain: str) -> Sequence[Target]:
        # The directory is asked whether it changed, so a new route holds from the next attempt on.
        await self._wiring.directory.refresh()
        try:
            return await resolve(self._route(domain), domain, self._resolver, self._wiring.settings.allow_networks)
        except RouteError as error:
            raise RouteDown([error.attempt]) from error

    async def _dial(self, target: Target, token: str, route: tuple[str, ...]) -> Connection:
        try:
            session = await Session.open(target, hostname=self._wiring.hostname, settings=self._wiring.settings)
        except SessionFailed as failure:
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
        connection = Connection(session, token, route)
        self._open.add(connection)
        if route and self._offers.get(session.server) != session.offers_smtputf8:
            await self._note_offer(session)
        return connection

    async def _note_offer(self, session: Session) -> None:
        """Receivers take SMTPUTF8 only for servers that do."""
        with contextlib.suppress(StoreError):
            await self._wiring.directory.note_smtputf8(session.server, offered=session.offers_smtputf8)
            self._offers[session.server] = session.offers_smtputf8

    # Places

    def _take_idle(self, server: str) -> Connection | None:
        """The one that was used last: the others may then come to their end."""
        kept = self._idle.get(server)
        while kept:
            connection = kept.pop()
            if connection.expiry is not None:
                connection.expiry.cancel()
            if connection.session.usable:
                return connection
            self._end_soon(connection)
        return None

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
        kept = self._idle.get(connection.server, [])
        if connection in kept:
            kept.remove(connection)
            if not kept:
                del self._idle[connection.server]
            if connection.expiry is not None:
                connection.expiry.cancel()
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
