"""Mail in and mail out: Postfix's smtp-source and smtp-sink for load, a client and a server of our own for one lone message."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import time
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Final, Self, cast

from bench.systems import LOAD_DOMAIN, LONE_DOMAIN, BenchError, free_port, program, wait_for

SESSIONS: Final = 20
CHUNK: Final = 256 << 10
PATIENCE: Final = 120
"""Seconds to wait for a reply or an arrival."""


class Sink:
    """smtp-sink, counting what arrives.

    Its `-c` writes a counter at each message, which goes to a file: reading the end of that costs nothing, while dumping messages
    or a sink in Python would be the bottleneck.
    """

    def __init__(self, directory: Path, name: str, port: int = 0) -> None:
        self.port = port or free_port()
        self._counter = directory / f"{name}.count"
        as_user = ["-u", "root"] if os.geteuid() == 0 else []
        with self._counter.open("wb") as output:
            self._process = subprocess.Popen(
                [program("smtp-sink"), *as_user, "-c", f"127.0.0.1:{self.port}", "1024"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def count(self) -> int:
        """Messages so far, each counted when its final dot has come."""
        if self._process.poll() is not None:
            raise BenchError(f"smtp-sink ended: {self._tail()}")
        found: list[str] = re.findall(r"mesg=(\d+)", self._tail())
        return int(found[-1]) if found else 0

    def _tail(self) -> str:
        with self._counter.open("rb") as counter:
            counter.seek(max(0, self._counter.stat().st_size - 200))
            return counter.read().decode("ascii", "replace")

    def __enter__(self) -> Self:
        try:
            wait_for(self._listens, "smtp-sink to listen")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)


def blast(port: int, sink: Sink, count: int, size: int, *, reuse: bool) -> tuple[float, float]:
    """Send `count` messages of `size` octets in 20 sessions: (seconds until all were accepted, until all were at the sink).

    Raises BenchError when one is refused, or not all of them arrive.
    """
    target = sink.count + count
    arguments = ["-s", str(SESSIONS), "-m", str(count), "-l", str(size), *(["-d"] if reuse else [])]
    addresses = ["-f", "sender@client.example", "-t", f"user@{LOAD_DOMAIN}", "-M", "client.example"]
    began = time.perf_counter()
    source = subprocess.Popen(
        [program("smtp-source"), *arguments, *addresses, f"127.0.0.1:{port}"], stderr=subprocess.PIPE, text=True
    )
    accepted = arrived = 0.0

    def done() -> bool:
        nonlocal accepted, arrived
        if not accepted and source.poll() is not None:
            accepted = time.perf_counter() - began
            if source.returncode:
                raise BenchError(f"smtp-source: {source.stderr.read() if source.stderr else ''}")
        if not arrived and sink.count >= target:
            arrived = time.perf_counter() - began
        return bool(accepted and arrived)

    try:
        wait_for(done, f"{count} messages at the sink", seconds=300)
    finally:
        source.kill()
        source.communicate()
    return accepted, arrived


END: Final = b"\r\n.\r\n"


class LoneServer(asyncio.Protocol):
    """A customer's server that takes everything, notes when a message's final dot has come, and keeps nothing of it."""

    def __init__(self, arrivals: asyncio.Queue[float]) -> None:
        self._arrivals = arrivals
        self._in_data = False
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(b"220 lone.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._pending += data
        if self._in_data:
            end = self._pending.find(END)
            if end < 0:
                self._pending = self._pending[-len(END) :]
                return
            self._arrivals.put_nowait(time.perf_counter())
            self._in_data = False
            self._pending = self._pending[end + len(END) :]
            self._transport.write(b"250 2.0.0 kept\r\n")
        self._commands()

    def _commands(self) -> None:
        replies = []
        while not self._in_data and b"\r\n" in self._pending:
            line, _, self._pending = self._pending.partition(b"\r\n")
            match line[:4].upper():
                case b"EHLO":
                    replies.append(b"250-lone.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
                case b"DATA":
                    replies.append(b"354 go on\r\n")
                    self._in_data = True
                case b"QUIT":
                    replies.append(b"221 2.0.0 bye\r\n")
                case _:
                    replies.append(b"250 2.0.0 ok\r\n")
        self._transport.write(b"".join(replies))


class Lone:
    """Sends one message at a time and says when it was sent and when it had arrived."""

    def __init__(self) -> None:
        self._arrivals: asyncio.Queue[float] = asyncio.Queue()
        self.port = 0

    @property
    def waiting(self) -> int:
        """Arrivals nobody has asked for yet."""
        return self._arrivals.qsize()

    async def listen(self) -> asyncio.Server:
        server = await asyncio.get_running_loop().create_server(lambda: LoneServer(self._arrivals), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def send(self, port: int, size: int) -> tuple[float, float]:
        """(seconds from the connection to the arrival, from the final dot to the arrival) of a message of `size` octets."""
        head = f"From: <sender@client.example>\r\nTo: <user@{LONE_DOMAIN}>\r\nSubject: one\r\nDate: {formatdate()}\r\n"
        lines, rest = divmod(size, 78)
        message = f"{head}Message-ID: {make_msgid(domain='client.example')}\r\n\r\n".encode()
        message += (b"x" * 76 + b"\r\n") * lines + b"x" * rest + b"\r\n"
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await _expect(reader, b"220")
            commands = (
                "EHLO client.example",
                "MAIL FROM:<sender@client.example>",
                f"RCPT TO:<user@{LONE_DOMAIN}>",
                "DATA",
            )
            for command, reply in zip(commands, (b"250", b"250", b"250", b"354"), strict=True):
                writer.write(f"{command}\r\n".encode())
                await _expect(reader, reply)
            for start in range(0, len(message), CHUNK):
                writer.write(message[start : start + CHUNK])
                await writer.drain()
            dot = time.perf_counter()
            writer.write(b".\r\n")
            await _expect(reader, b"250")
            try:
                async with asyncio.timeout(PATIENCE):
                    arrived = await self._arrivals.get()
            except TimeoutError:
                raise BenchError(f"a lone message did not arrive within {PATIENCE} s") from None
            writer.write(b"QUIT\r\n")
            await _expect(reader, b"221")
        finally:
            writer.close()
        return arrived - began, arrived - dot


async def _expect(reader: asyncio.StreamReader, code: bytes) -> None:
    async with asyncio.timeout(PATIENCE):
        while (line := await reader.readline())[3:4] == b"-":
            pass
    if not line.startswith(code):
        raise BenchError(f"expected {code.decode()}, got {line!r}")
