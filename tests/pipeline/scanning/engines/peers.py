"""An engine that answers as its script says, connection by connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pipeline.units import EngineAddress
from tests.support.listening import Listening

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer(Listening):
    """`serve` gets each connection; of several the first one, the second one, ..., and the last one again and again."""

    def __init__(self, *scripts: Serve) -> None:
        super().__init__()
        self._scripts = scripts

    @property
    def address(self) -> EngineAddress:
        return EngineAddress(f"127.0.0.1:{self.port}")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._scripts[min(self.connections, len(self._scripts)) - 1](reader, writer)


def saying(answer: bytes, *, after: bytes = b"", stay: bool = False) -> Serve:
    """Reads up to `after` (something, when empty), says one thing, and hangs up, or stays and says nothing more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if after:
            await reader.readuntil(after)
        else:
            await reader.read(1)
        writer.write(answer)
        await writer.drain()
        if stay:
            await reader.read()

    return serve


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Reads all and says nothing, until the other side hangs up."""
    while await reader.read(1 << 16):
        pass


async def hanging_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Says nothing and ends."""


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Talks and never ends."""
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()
