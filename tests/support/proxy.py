"""Something between a client and a real server, which cuts, stalls or spoils what the server says.

async with Proxy(server.port, after=20_000, then="close") as proxy:
    ...  # dial proxy.port
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class Proxy:
    """Passes on `after` octets of the server's, and then closes, stalls, or goes on with `then` when it is octets."""

    def __init__(self, port: int, *, after: int, then: str | bytes) -> None:
        self._to = port
        self._after = after
        self._then = then
        self.port = 0
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._end = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end.set()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        there, away = await asyncio.open_connection("127.0.0.1", self._to)
        upwards = asyncio.create_task(self._pass(reader, away))
        try:
            await self._spoil(there, writer)
        finally:
            upwards.cancel()
            for end in (writer, away):
                end.close()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.gather(upwards, writer.wait_closed(), away.wait_closed(), return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    async def _spoil(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self._after
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while left and (data := await reader.read(min(left, 65536))):
                left -= len(data)
                writer.write(data)
                await writer.drain()
            if isinstance(self._then, bytes):
                writer.write(self._then)
                await writer.drain()
            if self._then != "close":
                await self._end.wait()
