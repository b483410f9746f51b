"""Something between a client and a real server, which cuts, stalls or spoils what the server says.

async with Proxy(server.port, after=20_000, then="close") as proxy:
    ...  # dial proxy.port
"""

from __future__ import annotations

import asyncio
import contextlib

from tests.support.listening import Listening


class Proxy(Listening):
    """Passes on `after` octets of the server's, and then closes, stalls, or goes on with `then` when it is octets."""

    def __init__(self, port: int, *, after: int, then: str | bytes) -> None:
        super().__init__()
        self._to = port
        self._after = after
        self._then = then

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, away = await asyncio.open_connection("127.0.0.1", self._to)
        upwards = asyncio.create_task(self._pass(reader, away))
        try:
            await self._spoil(there, writer)
        finally:
            upwards.cancel()
            away.close()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.gather(upwards, away.wait_closed(), return_exceptions=True)

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
                await self.ends.wait()
