"""What servers of a test's own have in common: a free port of this machine, a task for each connection, and an end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class Listening:
    """`async with` it. A subclass says in `serve` what it does with a connection, which is closed afterwards."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = 0
        """Set before it begins to listen: a port that is known already."""
        self.connections = 0
        self.ends = asyncio.Event()
        """Set when the server ends: what a connection may wait for to stall."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, self.host, self.port, limit=64 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.ends.set()
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
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.serve(reader, writer)
        except asyncio.CancelledError:
            # Not waited for: after a handshake that the client broke off, asyncio's own streams wait for ever.
            writer.transport.abort()
        finally:
            writer.close()
            if not self.ends.is_set():
                with contextlib.suppress(Exception, asyncio.CancelledError):
                    await writer.wait_closed()
