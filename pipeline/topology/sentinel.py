"""A master that Sentinels watch: each new connection asks them where it is, and makes sure that it is one.

When a master is lost its connections break, and the next ones go to whoever took its place. A Sentinel that has not heard of that yet
names the old one; so what a server says of itself decides, and a connection to a replica is none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from redis.exceptions import ConnectionError, ReadOnlyError, RedisError, ResponseError  # noqa: A004

REMEMBERED: Final = 0.1
"""Seconds that an answer holds: when a master is lost, all connections ask at once."""

Ask: TypeAlias = Callable[[tuple[str, int], bool], Any]
"""Opens a client to a Sentinel; with a password or without."""


class Masters:
    """Who is the master just now. Shared by the connections of a client."""

    def __init__(self, hosts: tuple[tuple[str, int], ...], service: str, ask: Ask) -> None:
        self._hosts = list(hosts)
        self._service = service
        self._ask = ask
        self._found: tuple[str, int] | None = None
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def find(self) -> tuple[str, int]:
        """Raises ConnectionError when no Sentinel answers, or none knows of a master."""
        async with self._asking:
            if self._found is None or time.monotonic() > self._until:
                self._found = await self._asked()
                self._until = time.monotonic() + REMEMBERED
            return self._found

    def forget(self) -> None:
        self._found = None

    async def _asked(self) -> tuple[str, int]:
        said = []
        for host in tuple(self._hosts):
            try:
                found = await self._answer(host, login=False)
            except (RedisError, OSError) as error:
                said.append(str(error))
                continue
            if found is None:
                said.append(f"the Sentinel at {host[0]}:{host[1]} knows no master called {self._service}")
                continue
            # Who answered is asked first the next time.
            self._hosts.remove(host)
            self._hosts.insert(0, host)
            return found
        raise ConnectionError("; ".join(said)[:500])

    async def _answer(self, host: tuple[str, int], *, login: bool) -> tuple[str, int] | None:
        client = self._ask(host, login)
        try:
            found: Any = await client.execute_command(b"SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        except (ConnectionError, ResponseError) as error:
            if login or not _wants_login(error):
                raise
        else:
            return (found[0].decode(), int(found[1])) if found else None
        finally:
            await client.aclose()
        return await self._answer(host, login=True)


def _wants_login(error: Exception) -> bool:
    """What it says to HELLO, with which a connection begins, comes as the end of the connection, and without the word NOAUTH."""
    return "uthenticat" in str(error)


class ToMaster:
    """Before a connection's class: where it connects is found out each time."""

    host: str
    port: int
    send_command: Callable[..., Awaitable[None]]
    disconnect: Callable[..., Awaitable[None]]

    def __init__(self, *, masters: Masters, **options: Any) -> None:
        self._masters = masters
        super().__init__(**options)

    async def _connect(self) -> None:
        self.host, self.port = await self._masters.find()
        await super()._connect()  # type: ignore[misc]

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)  # type: ignore[misc]
        await self.send_command("ROLE", check_health=False)
        role = await self.read_response()
        if role[0] not in (b"master", "master"):
            self._masters.forget()
            raise ConnectionError(f"{self.host}:{self.port} is not the master any more")

    async def read_response(self, *words: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*words, **options)  # type: ignore[misc]
        except ReadOnlyError:
            self._masters.forget()
            await self.disconnect(nowait=True)
            raise
