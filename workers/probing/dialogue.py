"""One connection of a delivery test: lines both ways, each written down with its moment. Knows lines, time and TLS, no SMTP beyond that.

The deliverer's own wire is made for speed and keeps no line; here the lines are the product. Invariants: every wait ends within the time
that was given for it; at most MAX_UNREAD octets are held, and at most MAX_LINES lines are read for one reply; a reply that nobody asked
for ends the conversation, since none after it can be trusted to belong to its command. Nothing here raises because of what a server does.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final, cast

from pipeline.outcome import CUT, MAX_LINES, MAX_TEXT, bounded, neutralise, nonsense, parse_reply, well_formed
from pipeline.probing.model import Answer, Source, Step

MAX_LINE: Final = 16 << 10
"""Octets of one line; RFC 5321 4.5.3.1.5 allows 512."""
MAX_UNREAD: Final = 64 << 10
"""Octets that lie here before the server is made to wait."""
SHOWN: Final = 1000
"""Characters of a line in the transcript."""
NO_WAY: Final = frozenset({errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""Errors that say that this machine cannot even begin to reach an address."""
CLOSED: Final = "The server closed the connection."


class _Broken(Exception):
    """`words`: why nothing more will come."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


def explain(error: BaseException) -> str:
    """An error of the system or of OpenSSL in a few printable words."""
    if isinstance(error, ssl.SSLError):
        text = error.reason or str(error)
        return neutralise(text.replace("_", " ").lower()[:SHOWN].encode("utf-8", "replace"))
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return neutralise((str(error) or type(error).__name__)[:SHOWN].encode("utf-8", "replace"))


def within(seconds: float) -> str:
    return f"within {max(seconds, 0.0):.3g} seconds"


class Dialogue(asyncio.Protocol):
    """`hear` is told each line as it comes and goes: who, and what, safe to show."""

    def __init__(self, hear: Callable[[str, str], None]) -> None:
        self._hear = hear
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()
        self._ended = ""
        """Why the other side says no more; what it said before may still lie here."""
        self._more = asyncio.Event()
        self.over = False
        """Nothing more can be asked."""
        self.late = False
        """A reply did not come in time; otherwise, when none came, the server ended the connection or talked nonsense."""
        self.stray = ""
        """What was said without having been asked for."""

    # Beginning and end

    async def open(self, address: str, port: int, source: Source, seconds: float) -> tuple[Answer, bool]:
        """Connect. The answer has a text when that failed; and whether this machine has no way there at all."""
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        local = (source.address, 0) if source.address else None
        start = time.monotonic_ns()
        words, no_way = "", False
        try:
            async with asyncio.timeout(seconds):
                await loop.create_connection(lambda: self, address, port, family=family, local_addr=local)
        except TimeoutError:
            words = f"no answer {within(seconds)}"
        except OSError as error:
            words, no_way = explain(error), error.errno in NO_WAY
        self.over = bool(words)
        return Answer(Step.CONNECT, "", 0, "", words, time.monotonic_ns() - start), no_way

    def close(self) -> None:
        """At once. May be called at any time, any number of times."""
        self.over = True
        if self._transport is not None:
            self._transport.abort()

    # Talking

    async def ask(self, step: Step, command: str, seconds: float, *, shown: str = "") -> Answer:
        """Send a line and read the reply to it. `shown` in place of the command, where that is not to be shown."""
        return await self.give(step, command.encode("utf-8") + b"\r\n", shown or command, seconds)

    async def give(self, step: Step, data: bytes, shown: str, seconds: float) -> Answer:
        """Send octets, which are shown as one line, and read the reply to them."""
        assert data.count(b"\n") == 1 or step is Step.DOT, "one command is one line"
        if not self.over and self._unread:
            self._speaks_unasked()
        if self.over or self._transport is None:
            return Answer(step, shown, 0, "", self._ended or CLOSED, 0)
        self._hear("us", shown)
        self._transport.write(data)
        return await self.hear_reply(step, seconds, command=shown)

    async def hear_reply(self, step: Step, seconds: float, *, command: str = "") -> Answer:
        """Read a reply, without a command for the greeting. Never raises for what the server does."""
        start = time.monotonic_ns()
        lines: list[bytes] = []
        try:
            async with asyncio.timeout(seconds):
                await self._read(lines)
        except _Broken as broken:
            return self._unanswered(step, command, broken.words, lines, start)
        except TimeoutError:
            self.late = True
            return self._unanswered(step, command, f"The server did not answer {within(seconds)}.", lines, start)
        reply = parse_reply(lines)
        if reply.code == 421:
            self.over = True  # RFC 5321 3.8: the server closes the connection
        return Answer(step, command, reply.code, reply.enhanced, reply.text, time.monotonic_ns() - start)

    async def _read(self, lines: list[bytes]) -> None:
        """Put the lines of one reply into `lines`, as they come. Raises _Broken when they make none."""
        while not lines or lines[-1][3:4] == b"-":
            line = await self._line()
            self._hear("them", _shown(line))
            lines.append(line[:MAX_TEXT])
            if not well_formed(line) or len(lines) > MAX_LINES:
                raise _Broken(nonsense(lines))

    def _unanswered(self, step: Step, command: str, words: str, lines: list[bytes], start: int) -> Answer:
        self.close()
        self._hear("note", words.partition("\n")[0])
        if lines and "\n" not in words:
            words += " It had begun to say:\n" + bounded(lines)
        return Answer(step, command, 0, "", words[:MAX_TEXT], time.monotonic_ns() - start)

    def _speaks_unasked(self) -> None:
        """Whatever lies here is no reply to what is about to be sent."""
        line, _, _ = bytes(self._unread).partition(b"\n")
        self.stray = _shown(line.removesuffix(b"\r"))
        self._hear("them", self.stray)
        self._hear("note", "The server spoke without having been asked.")
        self._ended = self._ended or "The server spoke without having been asked: " + self.stray
        self.close()

    # Encryption

    async def secure(self, context: ssl.SSLContext, host: str, seconds: float) -> ssl.SSLObject:
        """The handshake after STARTTLS was accepted. Raises OSError (ssl.SSLError is one), TimeoutError; then this is over."""
        assert self._transport is not None
        if self._unread:
            # RFC 3207 4.2: what was said before the handshake is nobody's word.
            self._speaks_unasked()
            raise ConnectionAbortedError(self._ended)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                secured = await loop.start_tls(
                    self._transport, self, context, server_hostname=host, ssl_handshake_timeout=seconds + 1
                )
        except BaseException:
            self.close()
            raise
        if secured is None:  # how asyncio says that the connection was gone by then
            self.close()
            raise ConnectionResetError(errno.ECONNRESET, CLOSED)
        self._transport = secured
        return cast(ssl.SSLObject, secured.get_extra_info("ssl_object"))

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if len(self._unread) >= MAX_UNREAD and self._transport is not None:
            self._transport.pause_reading()
        self._more.set()

    def eof_received(self) -> bool:
        self._ended = self._ended or CLOSED
        self._more.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = self._ended or (f"The connection was lost: {explain(exc)}." if exc else CLOSED)
        self._more.set()

    # Inside

    async def _line(self) -> bytes:
        """The next line without its end."""
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > MAX_LINE:
                raise _Broken(nonsense([bytes(self._unread[:SHOWN])]))
            if self._ended:
                raise _Broken(self._ended)
            self._more.clear()
            await self._more.wait()
        line = bytes(self._unread[:end]).removesuffix(b"\r")
        del self._unread[: end + 1]
        self._go_on_reading()
        return line

    def _go_on_reading(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or len(self._unread) >= MAX_UNREAD:
            return
        if not transport.is_reading():
            transport.resume_reading()


def _shown(line: bytes) -> str:
    text = neutralise(line[:SHOWN])
    return text[: SHOWN - len(CUT)] + CUT if len(line) > SHOWN or len(text) > SHOWN else text
