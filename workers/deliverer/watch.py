"""Looks, once a second, whether the ports of servers that could not be connected to answer again; who waits for them is due then.

One worker does it for all, by a lease. The connection is evidence and nothing else: it is closed at once, and the session that follows is
dialled as every other one, with the route as it is then. So a server that is back sees one connection without a word, once.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from typing import Final

import structlog

from pipeline.faults import StoreError
from pipeline.pause import end, pause
from pipeline.route import forbidden, literal
from pipeline.schedule import new_token
from pipeline.units import Endpoint
from pipeline.watching import Watched, is_watched
from workers.wiring import Wiring

log = structlog.get_logger()

CONNECT: Final = 1.0
"""Seconds for a connection: who needs longer is found by the domain's next attempt."""
AT_ONCE: Final = 100
"""Connections that are tried at the same time: file descriptors, and packets in a second."""


class Watch:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._token = new_token()
        self._every = wiring.settings.watch_interval.seconds
        self._room = asyncio.Semaphore(AT_ONCE)
        self._looking: dict[Watched, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        if not self._every:
            return
        away = False
        try:
            while not stop.is_set():
                try:
                    await self.look()
                    away = False
                except StoreError as fault:
                    if not away:
                        log.warning("store trouble, waiting", role="watch", reason=str(fault))
                    away = True
                await pause(stop, self._every)
        finally:
            await end(self._looking.values())

    async def look(self) -> None:
        """One round; it does not wait for those that do not answer."""
        watchlist = self._wiring.watchlist
        if not await watchlist.lead(self._token):
            return
        for one in await watchlist.watched(self._wiring.clock()):
            if one not in self._looking:
                task = self._looking[one] = asyncio.create_task(self._look_at(one), name=f"watch {one.server}")
                task.add_done_callback(functools.partial(self._looked, one))

    def _looked(self, one: Watched, _: asyncio.Task[None]) -> None:
        self._looking.pop(one, None)

    async def _look_at(self, one: Watched) -> None:
        async with self._room:
            if not await self._answers(one):
                return
        try:
            await self._wiring.watchlist.forget(one)
            if await self._wiring.watchlist.may_wake(one.server, int(self._wiring.settings.retry_interval)):
                await self._wake(one.server)
        except StoreError as fault:
            log.warning("store trouble", role="watch", server=one.server, reason=str(fault))

    async def _answers(self, one: Watched) -> bool:
        address = literal(one.address)
        if address is None or forbidden(address, self._wiring.settings.allow_networks):
            return False
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if one.source:
                sock.bind((one.source, 0))
            async with asyncio.timeout(CONNECT):
                await loop.sock_connect(sock, (str(address), Endpoint(one.server).port))
        except (OSError, TimeoutError):
            return False
        finally:
            sock.close()
        return True

    async def _wake(self, server: str) -> None:
        """Make those due whose last attempt found no connection to this server."""
        wiring = self._wiring
        count = 0
        for partition, domain in await wiring.watchlist.waiting(server):
            route = await wiring.schedule.route(partition, domain)
            if any(attempt.server == server and is_watched(attempt) for attempt in route.attempts):
                await wiring.schedule.reopen(partition, domain, wiring.clock(), server)
                count += 1
        log.info("the port answers again", server=server, domains=count)
