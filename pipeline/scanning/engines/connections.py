"""Connections to an engine: dialled when they are needed, kept for the next message, bounded in number and in what they hold.

An engine that was restarted leaves kept connections behind that are dead and do not look it. What fails on such a one is tried once
more on a fresh one; what fails on a fresh one is the engine's trouble. A connection whose exchange did not come to its end, whether by
a fault or because nobody waits for it any more, is thrown away: the next message must not read the answer to the last one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, cast

from pipeline.bodies import Buffer
from pipeline.scanning.faults import Broken, EngineFault, NotUnderstood
from pipeline.units import EngineAddress

T = TypeVar("T")

CHUNK: Final = 64 << 10
"""Octets of a message that are written at once; of a mapped file no more than some of these are ever in memory."""
HELD: Final = 256 << 10
"""Octets that have come and nobody has asked for; then the other side has to wait."""
KEEP: Final = 10.0
"""Seconds for which an idle connection is kept: less than any engine waits for the next word (clamd: 30 s)."""


class Connection(asyncio.Protocol):
    """Octets in both directions. What has come is readable also when the other side is gone: it may have said why it went."""

    def __init__(self) -> None:
        self.used = False
        """It has served an exchange before."""
        self.asked = 0
        """Requests over it, for protocols that number them."""
        self._buffer = bytearray()
        self._ended = False
        self._held_back = False
        self._full = False
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its type

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > HELD and not self._held_back and self._transport is not None:
            self._held_back = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self._ended = True
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _change(self) -> None:
        """Until something happens. One at a time waits: a connection belongs to one exchange."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # Writing

    @property
    def spoken(self) -> bool:
        """Something came that nobody has read."""
        return bool(self._buffer)

    @property
    def ended(self) -> bool:
        return self._ended

    def write(self, data: bytes) -> None:
        """Raises Broken."""
        if self._ended or self._transport is None or self._transport.is_closing():
            raise Broken
        self._transport.write(data)

    async def drain(self) -> None:
        """Until there is room for more, or the other side has something to say, or is gone. Raises Broken."""
        await asyncio.sleep(0)  # a look at what came
        while self._full and not self._ended and not self._buffer:
            await self._change()
        if self._ended and not self._buffer:
            raise Broken

    async def pour(self, content: Buffer) -> None:
        """Write a message, a piece at a time. Ends early when the other side says something. Raises Broken."""
        for at in range(0, len(content), CHUNK):
            if at:
                await self.drain()
                if self.spoken:
                    return
            self.write(content[at : at + CHUNK])

    # Reading

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        if self._held_back and len(self._buffer) <= HELD and self._transport is not None:
            self._held_back = False
            self._transport.resume_reading()
        return taken

    async def until(self, mark: bytes, most: int) -> bytes:
        """All up to `mark`, which is taken away. Raises NotUnderstood when it does not come within `most` octets, Broken."""
        start = 0
        while (at := self._buffer.find(mark, start)) < 0:
            start = max(0, len(self._buffer) - len(mark) + 1)
            if len(self._buffer) > most:
                raise NotUnderstood("a line without an end")
            if self._ended:
                raise Broken
            await self._change()
        if at > most:
            raise NotUnderstood("a line that is too long")
        return self._take(at + len(mark))[: -len(mark)]

    async def exactly(self, count: int) -> bytes:
        """Raises Broken."""
        found = bytearray()
        while len(found) < count:
            if not self._buffer:
                if self._ended:
                    raise Broken
                await self._change()
                continue
            found += self._take(count - len(found))
        return bytes(found)

    async def rest(self, most: int) -> bytes:
        """All until the other side ends it. Raises NotUnderstood when that is more than `most` octets."""
        found = bytearray()
        while self._buffer or not self._ended:
            if not self._buffer:
                await self._change()
            found += self._take(len(self._buffer))
            if len(found) > most:
                raise NotUnderstood("more than an answer may be")
        return bytes(found)

    def abort(self) -> None:
        """At once, and nothing of it is waited for."""
        self._ended = True
        if self._transport is not None:
            self._transport.abort()


Talk = Callable[[Connection], Awaitable[tuple[T, bool]]]
"""One exchange over a connection: the answer, and whether the connection can serve the next one."""


class Connections:
    """To one engine. `most`: at once; who needs one more waits for one."""

    def __init__(self, address: EngineAddress, *, most: int) -> None:
        self._address = address
        self._room = asyncio.Semaphore(most)
        self._kept: list[tuple[float, Connection]] = []

    async def exchange(self, talk: Talk[T]) -> T:
        """Raises EngineFault."""
        async with self._room:
            connection = self._kept_one()
            if connection is not None:
                with contextlib.suppress(Broken):
                    return await self._talk(connection, talk)
                # It was dead, and so are most likely the others.
                self.close()
            return await self._talk(await self._dial(), talk)

    async def _talk(self, connection: Connection, talk: Talk[T]) -> T:
        try:
            answer, again = await talk(connection)
        except BaseException:
            connection.abort()
            raise
        if again and not connection.ended and not connection.spoken:
            connection.used = True
            self._kept.append((time.monotonic(), connection))
        else:
            connection.abort()
        return answer

    async def _dial(self) -> Connection:
        loop = asyncio.get_running_loop()
        address = self._address
        try:
            if address.path:
                _, connection = await loop.create_unix_connection(Connection, address.path)
            else:
                _, connection = await loop.create_connection(Connection, address.host, address.port)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise EngineFault("cannot be reached", f"{address}: {why}") from None
        return connection

    def _kept_one(self) -> Connection | None:
        """The one that was used last; those that were idle for too long go."""
        oldest = time.monotonic() - KEEP
        while self._kept:
            since, connection = self._kept.pop()
            if since >= oldest and not connection.ended and not connection.spoken:
                return connection
            connection.abort()
        return None

    def close(self) -> None:
        kept, self._kept = self._kept, []
        for _, connection in kept:
            connection.abort()
