"""The connection of one slot: dials the servers of a domain as its route is now, is kept for the next message, is given up.

A connection holds one of the places that its server allows, over all workers and all domains that share the server. A server
that another domain found down is not dialled again before its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.events import Attempt
from pipeline.route import Resolver, RouteError, Target, resolve
from pipeline.steps import MS
from workers.deliverer.session import Session, SessionFailed
from workers.wiring import Wiring

QUIT: Final = 2.0
"""Seconds for a server to answer QUIT."""


class RouteDown(Exception):
    """No server of the domain can be used just now. `until`: ns, when all that was said is what others found; else 0."""

    def __init__(self, attempts: Sequence[Attempt], until: int = 0) -> None:
        super().__init__()
        self.attempts = tuple(attempts)
        self.until = until


class ServerBusy(Exception):
    """All connections that the server is allowed are in use."""

    def __init__(self, server: str) -> None:
        super().__init__(server)
        self.server = server


class Connection:
    """`token`: the slot's, under which the place at the server is held."""

    def __init__(self, wiring: Wiring, resolver: Resolver, domain: str, token: str) -> None:
        self._wiring = wiring
        self._resolver = resolver
        self._domain = domain
        self._token = token
        self._session: Session | None = None
        self._route: tuple[str, ...] = ()
        self.server = ""
        """Where a place is held; empty when nowhere."""
        self.dialling = False
        """Nothing was said to a server yet: it may be cut off at any moment."""

    async def session(self) -> Session:
        """One that is ready for a message. Raises RouteDown, ServerBusy."""
        session = self._session
        fit = session is not None and session.usable and session.sent < self._wiring.settings.messages_per_connection
        if session is not None and fit and self._current_route() == self._route:
            return session
        await self.close()
        return await self._dial()

    async def _dial(self) -> Session:
        attempts: list[Attempt] = []
        until = 0
        for target in await self._targets():
            place = await self._wiring.schedule.take_server(
                target.server, self._token, self._wiring.clock(), self._wiring.settings.connections_per_server
            )
            if place.word == "full":
                raise ServerBusy(target.server)
            if place.word == "down":
                attempts.append(Attempt(server=target.server, address=target.address, stage="connect", reply=place.why))
                until = max(until, place.until * MS)
                continue
            self.server = target.server
            try:
                self._session = await self._open(target)
            except SessionFailed as failure:
                await self.close()
                attempts.append(failure.attempt)
                until = 0
            else:
                return self._session
        raise RouteDown(attempts, until)

    async def _open(self, target: Target) -> Session:
        self.dialling = True
        try:
            session = await Session.open(target, hostname=self._wiring.hostname, settings=self._wiring.settings)
        except SessionFailed:
            self.dialling = False
            raise
        # Not in a `finally`: who was cut off while dialling has not tried.
        self.dialling = False
        return session

    def _current_route(self) -> tuple[str, ...]:
        """Empty for a domain that is not ours, where a bounce goes by MX."""
        domain = self._wiring.directory.domain(self._domain)
        return domain.route if domain else ()

    async def _targets(self) -> Sequence[Target]:
        # Dialling is rare and slow, so the directory is asked whether it changed: a new route holds from the next attempt on.
        await self._wiring.directory.refresh()
        self._route = self._current_route()
        try:
            return await resolve(self._route, self._domain, self._resolver, self._wiring.settings.allow_networks)
        except RouteError as error:
            raise RouteDown([error.attempt]) from error

    async def close(self, *, abort: bool = False) -> None:
        """Give up session and place. `abort`: without a word to the server."""
        session, self._session = self._session, None
        if session is not None:
            if abort or not session.usable:
                session.abort()
            else:
                await session.quit(QUIT)
        if self.server:
            server, self.server = self.server, ""
            await self._wiring.schedule.release_server(server, self._token)
