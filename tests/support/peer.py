"""A scripted SMTP server: it does what its script says in each phase, and records what it was sent, byte for byte.

    async with Peer({"rcpt": [b"250 ok", b"550 5.1.1 who?"], "dot": Do(after="close")}) as peer:
        ...  # dial peer.port
    assert peer.transactions[0].message == b"..."

A script maps a phase (greeting, ehlo, helo, starttls, auth, xclient, xforward, mail, rcpt, data, dot, rset, quit, early) to one answer for every
time, or to a list with one answer for each time, after which the usual answers are given.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
from collections.abc import Mapping, Sequence
from typing import cast

from tests.support.listening import Listening

USUAL = {
    "greeting": b"220 peer.example ESMTP",
    "helo": b"250 peer.example",
    "starttls": b"220 2.0.0 go ahead",
    "auth": b"235 2.7.0 welcome",
    "xclient": b"220 peer.example ESMTP",
    "xforward": b"250 2.0.0 ok",
    "mail": b"250 2.1.0 sender ok",
    "rcpt": b"250 2.1.5 recipient ok",
    "data": b"354 go ahead",
    "dot": b"250 2.0.0 queued as 1",
    "rset": b"250 2.0.0 reset",
    "quit": b"221 2.0.0 bye",
}


@dataclasses.dataclass
class Do:
    """`reply` (None: the usual one; empty: none), after `wait` is set, then `after`: go on, close, reset, or stall."""

    reply: bytes | None = None
    wait: asyncio.Event | None = None
    after: str = "go on"
    bytewise: bool = False


Answer = bytes | Do


@dataclasses.dataclass
class Transaction:
    mail: bytes
    rcpts: list[bytes] = dataclasses.field(default_factory=list)
    wire: bytes = b""
    """What followed DATA, with doubled dots, with the final dot."""
    answer: bytes = b""
    """What was said to the final dot."""

    @property
    def message(self) -> bytes:
        """The message as RFC 5321 4.5.2 reads it: independent of the code under test."""
        assert self.wire == b".\r\n" or self.wire.endswith(b"\r\n.\r\n")
        lines = self.wire.removesuffix(b".\r\n").split(b"\r\n")
        return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


class _Over(Exception):
    """The script ended the connection."""


class Peer(Listening):
    def __init__(
        self,
        script: Mapping[str, Answer | Sequence[Answer]] | None = None,
        *,
        features: Sequence[str] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 50000000", "DSN", "ENHANCEDSTATUSCODES"),
        tls: ssl.SSLContext | None = None,
        broken_tls: bool = False,
        host: str = "127.0.0.1",
        early_after: int = 0,
    ) -> None:
        super().__init__()
        self.script = dict(script or {})
        self.features = list(features)
        self.tls = tls
        self.broken_tls = broken_tls
        self.host = host
        self.early_after = early_after
        """With `early` in the script: octets of data after which it answers without waiting for the dot."""
        self.encrypted = 0
        self.clients: list[str] = []
        """The address that each connection came from."""
        self.said: list[bytes] = []
        """Every command, of all connections, without its line end."""
        self.transactions: list[Transaction] = []
        """Those that came to a final dot."""
        self.unfinished = 0
        """Messages of which no final dot came."""
        self.impatient = 0
        """Commands that came before the previous one was answered."""
        self.changed = asyncio.Condition()
        self._used: dict[str, int] = {}

    async def until(self, condition: object, within: float = 5.0) -> None:
        """Wait until `condition()` holds, looking again whenever something happened here."""
        assert callable(condition)
        async with asyncio.timeout(within), self.changed:
            await self.changed.wait_for(condition)

    async def _happened(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.append(writer.get_extra_info("peername")[0])
        await self._happened()
        try:
            with contextlib.suppress(_Over, ssl.SSLError):
                await self._converse(reader, writer)
        finally:
            await self._happened()

    def _next(self, phase: str) -> Answer:
        answers = self.script.get(phase)
        nth = self._used.get(phase, 0)
        self._used[phase] = nth + 1
        if answers is None:
            return Do()
        if isinstance(answers, bytes | Do):
            return answers
        return answers[nth] if nth < len(answers) else Do()

    async def _answer(self, phase: str, writer: asyncio.StreamWriter, usual: bytes = b"") -> bytes:
        do = self._next(phase)
        if isinstance(do, bytes):
            do = Do(do)
        if do.wait is not None:
            await do.wait.wait()
        reply = (usual or USUAL[phase]) if do.reply is None else do.reply
        if reply:
            out = reply if reply.endswith(b"\n") else reply + b"\r\n"
            for piece in [out[i : i + 1] for i in range(len(out))] if do.bytewise else [out]:
                writer.write(piece)
                await writer.drain()
                if do.bytewise:
                    await asyncio.sleep(0)
        if do.after == "stall":
            await self.ends.wait()
        if do.after == "reset":
            writer.transport.abort()
        if do.after != "go on":
            raise _Over
        return reply

    def _greeting(self, encrypted: bool) -> bytes:
        features = [*self.features, *(["STARTTLS"] if (self.tls or self.broken_tls) and not encrypted else [])]
        lines = [b"peer.example", *(feature.encode() for feature in features)]
        return b"\r\n".join(b"250" + (b"-" if i < len(lines) - 1 else b" ") + line for i, line in enumerate(lines))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        encrypted = False
        transaction: Transaction | None = None
        good = 0
        await self._answer("greeting", writer)
        while line := await reader.readline():
            command = line.rstrip(b"\r\n")
            self.said.append(command)
            await self._happened()
            verb = command.split(b" ")[0].upper()
            if reader._buffer and verb in (b"MAIL", b"RCPT", b"RSET"):
                self.impatient += 1
            if verb == b"EHLO":
                await self._answer("ehlo", writer, self._greeting(encrypted))
            elif verb == b"HELO":
                await self._answer("helo", writer)
            elif verb == b"STARTTLS":
                if (await self._answer("starttls", writer)).startswith(b"220"):
                    encrypted = await self._encrypt(writer)
            elif verb == b"AUTH":
                await self._authenticate(reader, writer)
            elif verb in (b"XCLIENT", b"XFORWARD"):
                await self._answer(verb.decode().lower(), writer)
            elif verb == b"MAIL":
                reply = await self._answer("mail", writer)
                transaction = Transaction(command) if reply.startswith(b"2") else None
                good = 0
            elif verb == b"RCPT":
                reply = await self._answer("rcpt", writer, b"" if transaction else b"503 5.5.1 MAIL first")
                if transaction and reply.startswith(b"2"):
                    transaction.rcpts.append(command)
                    good += 1
            elif verb == b"DATA":
                reply = await self._answer("data", writer, b"" if good else b"503 5.5.1 no valid recipients")
                if reply.startswith(b"354"):
                    await self._data(reader, writer, transaction or Transaction(b""))
                transaction, good = None, 0
            elif verb == b"RSET":
                transaction, good = None, 0
                await self._answer("rset", writer)
            elif verb == b"QUIT":
                await self._answer("quit", writer)
                return
            else:
                writer.write(b"500 5.5.1 what?\r\n")

    async def _authenticate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await self._answer("auth", writer)).startswith(b"334"):
            self.said.append((await reader.readline()).rstrip(b"\r\n"))

    async def _encrypt(self, writer: asyncio.StreamWriter) -> bool:
        if self.broken_tls:
            writer.write(b"this is not TLS at all, whatever I said\r\n")
            await writer.drain()
            raise _Over
        assert self.tls is not None
        await writer.start_tls(self.tls)
        self.encrypted += 1
        return True

    async def _data(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, transaction: Transaction) -> None:
        if self.early_after:
            await reader.readexactly(self.early_after)
            # The buffer of the reader is larger than the message: only a paused transport makes the client wait.
            transport = cast(asyncio.Transport, writer.transport)
            transport.pause_reading()
            await self._answer("early", writer, b"552 5.3.4 too big")
            transport.resume_reading()
        try:
            transaction.wire = await reader.readexactly(3)
            if transaction.wire != b".\r\n":
                transaction.wire += await reader.readuntil(b"\r\n.\r\n")
        except asyncio.IncompleteReadError:
            self.unfinished += 1
            await self._happened()
            raise
        self.transactions.append(transaction)
        await self._happened()
        transaction.answer = await self._answer("dot", writer)
