"""A master that Sentinels watch: each new connection asks them where it is, and makes sure that it is one.

When a master is lost its connections break, and the next ones go to whoever took its place. All Sentinels are asked, for one that has
not heard of a failover names the old master; and the server is asked who it is, for it may have been started again meanwhile
(masters.py decides).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from msgspec import Struct
from redis.exceptions import ConnectionError, ReadOnlyError, RedisError, ResponseError  # noqa: A004

from pipeline.topology.masters import Answer, answer_of, are_most, newest, vouch

REMEMBERED: Final = 0.1
"""Seconds that an answer holds: when a master is lost, all connections ask at once."""
GRACE: Final = 0.25
"""Seconds that we wait for all Sentinels; then most of them are enough, if the server that they name is not in doubt."""
_PROCESS: Final = re.compile(rb"^(run_id|uptime_in_seconds):(\w+)", re.MULTILINE)

Place: TypeAlias = tuple[str, int]
Ask: TypeAlias = Callable[[Place, bool], Any]
"""Opens a client to a Sentinel; with a password or without."""


class Said(Struct, frozen=True):
    """What Sentinels answered, and when they were asked."""

    at: float
    answers: list[Answer]
    refusal: str
    """Why no master can be told from that."""


class Masters:
    """What the Sentinels say just now. Shared by the connections of a client."""

    def __init__(self, hosts: tuple[Place, ...], service: str, ask: Ask) -> None:
        self._hosts = hosts
        self._service = service
        self._ask = ask
        self._locked: set[Place] = set()
        """Those that want a password."""
        self._said: Said | None = None
        self._until = 0.0
        self._doubted = False
        self._asking = asyncio.Lock()

    async def find(self) -> Said:
        """Answers that name a master. Raises ConnectionError when there are too few, or it is not certain who it is."""
        async with self._asking:
            said = self._said
            if said is None or time.monotonic() > self._until:
                said = self._said = Said(time.monotonic(), *await self._asked())
                self._until = time.monotonic() + REMEMBERED
                self._doubted = False
        if said.refusal:
            raise ConnectionError(said.refusal)
        return said

    def forget(self) -> None:
        self._said = None

    def doubt(self) -> None:
        """The next answer is that of all Sentinels, however long any of them takes."""
        self._doubted = True

    async def _asked(self) -> tuple[list[Answer], str]:
        tasks = [asyncio.create_task(self._answer(host)) for host in self._hosts]
        try:
            await asyncio.wait(tasks, timeout=None if self._doubted else GRACE)
            answers = _answers(tasks)
            if not are_most(answers):
                await asyncio.wait(tasks)
                answers = _answers(tasks)
        finally:
            for task in tasks:
                task.cancel()
            failed = await asyncio.gather(*tasks, return_exceptions=True)
        try:
            newest(answers)
        except ConnectionError as error:
            said = [str(one) for one in failed if isinstance(one, RedisError | OSError)]
            return answers, "; ".join(dict.fromkeys((*said, str(error))))[:500]
        return answers, ""

    async def _answer(self, host: Place) -> Answer:
        login = host in self._locked
        try:
            return await self._told(host, login=login)
        except (ConnectionError, ResponseError) as error:
            self._locked.discard(host)
            if login or not _wants_login(error):
                raise
        answer = await self._told(host, login=True)
        self._locked.add(host)
        return answer

    async def _told(self, host: Place, *, login: bool) -> Answer:
        client = self._ask(host, login)
        try:
            pipe = client.pipeline(transaction=False)
            # In this order: of a failover between the two we see the new address, and the epoch of the old one.
            pipe.execute_command(b"SENTINEL", "MASTER", self._service)
            pipe.execute_command(b"SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            said, place = await pipe.execute(raise_on_error=False)
        finally:
            await client.aclose()
        if isinstance(said, Exception) and "No such master" not in str(said):
            raise said
        if isinstance(place, Exception):
            raise place
        if isinstance(said, Exception) or not place:
            raise ConnectionError(f"the Sentinel at {host[0]}:{host[1]} knows no master called {self._service}")
        texts = {name.decode(): text.decode() for name, text in said.items()}
        return answer_of((place[0].decode(), int(place[1])), texts)


def _answers(tasks: Sequence[asyncio.Task[Answer]]) -> list[Answer]:
    return [task.result() for task in tasks if task.done() and not task.exception()]


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
        self._said: Said
        super().__init__(**options)

    async def _connect(self) -> None:
        self._said = await self._masters.find()
        self.host, self.port = newest(self._said.answers)[0].place
        await super()._connect()  # type: ignore[misc]

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)  # type: ignore[misc]
        await self.send_command("ROLE", check_health=False)
        await self.send_command("INFO", "server", check_health=False)
        role, process = await self.read_response(), await self.read_response()
        if role[0] not in (b"master", "master"):
            self._masters.forget()
            raise ConnectionError(f"{self.host}:{self.port} is not the master any more")
        found = dict(_PROCESS.findall(process))
        # The server counts from one full second of its clock to another, which may be one more than it was.
        age = float(found[b"uptime_in_seconds"]) - 1 - (time.monotonic() - self._said.at)
        try:
            vouch(self._said.answers, found[b"run_id"].decode(), age)
        except ConnectionError:
            self._masters.doubt()
            raise

    async def read_response(self, *words: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*words, **options)  # type: ignore[misc]
        except ReadOnlyError:
            self._masters.forget()
            await self.disconnect(nowait=True)
            raise
