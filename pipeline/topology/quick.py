"""How we speak to Redis over redis-py's asyncio connections: the same words, for a third of the processor time.

As they come, a command costs as much as what it is sent for: they pack it in Python, look through the pool under a condition and
two locks, enter three functions that would try again (we never do), and set a timer for each reply of a pipeline, though nearly
all of them lie ready. And they do one thing wrong: they write inside `asyncio.wait_for`, which until Python 3.12 swallows a
cancellation that comes together with the end of the write, so that a worker told to stop would wait for ever for the task it
cancelled.

Whatever is not the common case (nothing free, not connected, an answer still to come) is left to the library.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import hiredis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError, ResponseError, TimeoutError  # noqa: A004 - the names are the library's

UNSENT: Final = 64 << 10
"""Octets that a connection may hold back before we wait for the server to take them."""


class Sending:
    """Goes before a connection class of redis-py's among the bases."""

    is_connected: bool
    socket_timeout: float | None
    connect_check_health: Any
    disconnect: Any
    _parser: Any
    _writer: asyncio.StreamWriter

    def pack_command(self, *words: Any) -> list[bytes]:
        """1.4 us a word in Python, 0.2 with hiredis, and a step of the log has some forty words."""
        return [hiredis.pack_command((*words[0].split(), *words[1:]))]  # `CONFIG GET` is two words on the wire

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        del check_health  # we never ask for health checks; the name is the library's
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if isinstance(command, str):
            command = command.encode()
        try:
            self._writer.writelines((command,) if isinstance(command, bytes) else command)
            transport = self._writer.transport
            if transport.get_write_buffer_size() > UNSENT or transport.is_closing():
                async with asyncio.timeout(self.socket_timeout):
                    await self._writer.drain()
        except OSError as error:  # TimeoutError too
            await self.disconnect(nowait=True)
            raise ConnectionError(f"while writing: {error or 'no progress'}") from error
        except BaseException:
            # Half a command may be written: nothing can follow it on this connection.
            await self.disconnect(nowait=True)
            raise

    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - the name is the library's
        **options: Any,
    ) -> Any:
        """What lies ready is taken; only for what is still to come time is kept."""
        if timeout is None and not options and self.is_connected:
            try:
                answer = self._parser._reader.gets()  # noqa: SLF001 - a hiredis.Reader, which the library has no name for
                if isinstance(answer, hiredis.PushNotification):
                    await self._parser.handle_push_response(answer)
                elif answer is not NOT_ENOUGH_DATA:
                    return _judged(answer)
            except ResponseError:
                raise
            except BaseException:
                await self.disconnect(nowait=True)
                raise
        return await super().read_response(disable_decoding, timeout, **options)  # type: ignore[misc]


def _judged(answer: Any) -> Any:
    """Raises what the library raises: an answer like BUSYLOADING is taken for the end of a connection."""
    if isinstance(answer, ConnectionError | ResponseError):
        raise answer
    if type(answer) is list and answer and isinstance(answer[0], ConnectionError):
        raise answer[0]
    return answer


class Pool(ConnectionPool):
    """Gives its connections away in turn, `max_connections` at most; who asks for one more waits.

    Giving one back waits for nobody. The library's pool takes a lock for it, so who is cancelled there keeps the connection for ever; and a
    word to who waits next is lost with whoever is cancelled after hearing it. In the end all wait, and nothing wakes them.
    """

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._retired = False

    async def retire(self) -> None:
        """Nobody asks for a connection any more: those that are free are closed now, and each other one when it comes back."""
        self._retired = True
        await self.disconnect(inuse_connections=False)

    async def get_connection(self, command_name: Any = None, *names: Any, **options: Any) -> Any:
        del command_name, names, options  # nobody gives them; the names are the library's
        connection = await self._taken()
        try:
            if not connection.is_connected or await connection.can_read():
                await self.ensure_connection(connection)
        except BaseException:
            self._hand_on(connection)
            raise
        return connection

    async def _taken(self) -> Any:
        if not self._waiting and self.can_get_connection():
            return self.get_available_connection()  # type: ignore[no-untyped-call]
        turn: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._hand_on(turn.result())
            raise

    def _hand_on(self, connection: Any) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._in_use_connections.remove(connection)
        self._available_connections.append(connection)

    def let_go(self, connection: Any) -> bool:
        """Take a connection back if that takes no time."""
        if self._retired or connection.should_reconnect():
            return False
        self._hand_on(connection)
        return True

    async def release(self, connection: Any) -> None:
        if not self.let_go(connection):
            try:
                await connection.disconnect()
            finally:
                self._hand_on(connection)


class QuickPipeline(Pipeline):
    async def reset(self) -> None:  # type: ignore[override]
        """The library makes a task for giving the connection back, in case that it takes time."""
        pool: Any = self.connection_pool
        if self.connection is not None and not self.watching and pool.let_go(self.connection):
            self.connection = None
        await super().reset()  # type: ignore[no-untyped-call]


class Client(Redis):
    """One command after the other on a connection of the pool; nothing is tried twice."""

    connection_pool: Pool

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        pool = self.connection_pool
        connection: Any = await pool.get_connection()
        try:
            await connection.send_packed_command(connection.pack_command(*words))
            return await self.parse_response(connection, words[0], **options)
        except (ConnectionError, TimeoutError, OSError):
            await connection.disconnect()
            raise
        finally:
            await pool.release(connection)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return QuickPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
