"""One conversation with one directory server: encrypt, bind, search. Bounded in memory and time, and ended by cancelling it.

Invariants: nothing is sent before the connection is as encrypted as the definition demands; nothing that came in the clear is
read as if it had come encrypted; a search that does not end with success raises; an answer is taken only for the question that
was asked last.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Final, NamedTuple, cast

from pipeline.sources.dialling import resolve, unreachable, untrusted
from pipeline.sources.faults import GarbledError, LimitedError, SlowError, SourceError, UnreachableError, shown
from pipeline.sources.ldap import messages
from pipeline.sources.ldap.answers import SUCCESS, fault
from pipeline.sources.ldap.messages import MAX_MESSAGE, Found, MalformedError, Reference, Result
from pipeline.sources.secrets import Secret
from pipeline.units import Network

MAX_WAITING: Final = 256 << 10
"""Octets that may wait to be read, beside a message that is larger, before the server is made to pause."""


class Server(NamedTuple):
    """Where to connect, and how."""

    name: str
    """As it is written in the definition, for messages."""
    host: str
    port: int
    tls: bool
    """From the first octet (ldaps)."""


class _Channel(asyncio.Protocol):
    """Octets in, with back pressure. A stream of asyncio's own would keep what came in the clear across `start_tls`."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.closed = False
        self.transport: asyncio.Transport | None = None
        self._arrived = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by class

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._arrived.set()
        if len(self.buffer) > MAX_WAITING and self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> None:
        self.closed = True
        self._arrived.set()

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed = True
        self._arrived.set()

    async def more(self) -> None:
        """Until something came that was not there before, or the end."""
        assert self.transport is not None
        self._arrived.clear()
        if not self.closed:
            self.transport.resume_reading()
            await self._arrived.wait()


class Connection:
    """Made by `connected`. Every method raises SourceError."""

    def __init__(self, server: Server, channel: _Channel, seconds: float) -> None:
        self.server = server
        self._channel = channel
        self._seconds = seconds
        self._number = 0
        self._bound = False

    async def starttls(self, trust: ssl.SSLContext) -> None:
        self._send(messages.starttls_request(self._next()))
        result = await self._result()
        if result.code != SUCCESS:
            raise fault(result, self.server.name, doing="starttls")
        channel = self._channel
        if channel.buffer:
            raise GarbledError(f"{self.server.name} went on in the clear after it had agreed to encrypt")
        loop = asyncio.get_running_loop()
        assert channel.transport is not None
        with _handshake(self.server):
            channel.transport = await loop.start_tls(
                channel.transport,
                channel,
                trust,
                server_hostname=self.server.host,
                ssl_handshake_timeout=self._seconds,
            )
        if channel.transport is None:
            raise UnreachableError(f"{self.server.name} closed the connection")

    async def bind(self, dn: str, secret: Secret | None) -> None:
        """With an empty name anonymously."""
        self._send(messages.bind_request(self._next(), dn, secret.reveal() if secret is not None else ""))
        result = await self._result()
        if result.code != SUCCESS:
            raise fault(result, self.server.name, doing="bind")
        self._bound = bool(dn)

    async def look(self, base: str, attributes: Sequence[str], *, sync: bool = False) -> tuple[Found | None, Result]:
        """One entry by its name, if there is one that we may see, and how the search ended: success or not."""
        self._send(messages.search_request(self._next(), base, "base", "(objectClass=*)", attributes, sync=sync))
        found = None
        while True:
            answer = await self._answer()
            if isinstance(answer, Result):
                return found, answer
            if isinstance(answer, Found):
                found = answer

    async def search(
        self, base: str, scope: str, condition: str, attributes: Sequence[str], page: tuple[int, bytes]
    ) -> AsyncGenerator[Found | Reference | Result, None]:
        """Entries and references as they come, and at last the result, which is a success."""
        self._send(messages.search_request(self._next(), base, scope, condition, attributes, page=page))
        while True:
            answer = await self._answer()
            if not isinstance(answer, Result):
                yield answer
            elif answer.code == SUCCESS:
                yield answer
                return
            else:
                raise fault(answer, self.server.name, doing="search", base=base, bound=self._bound)

    def close(self, *, politely: bool) -> None:
        """At once: nothing is worth waiting for. `politely`: telling the server first (RFC 4511 4.3)."""
        transport = self._channel.transport
        if transport is not None:
            if politely and not transport.is_closing():
                transport.write(messages.unbind_request(self._next()))
            transport.abort()

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _send(self, request: bytes) -> None:
        assert self._channel.transport is not None
        self._channel.transport.write(request)

    async def _result(self) -> Result:
        answer = await self._answer()
        if not isinstance(answer, Result):
            raise GarbledError(f"{self.server.name} sent an entry that was not asked for")
        return answer

    async def _answer(self) -> messages.Answer:
        """The next one, to the last question."""
        while True:
            message = await self._message()
            try:
                number, answer = messages.read(message)
            except MalformedError as error:
                raise self._garbled(error) from None
            if number == 0:
                # A notice of disconnection (RFC 4511 4.4.1) says why, and is the last that comes.
                words = answer.words if isinstance(answer, Result) else b""
                raise UnreachableError(f"{self.server.name} ended the connection: {shown(words) or 'no reason given'}")
            if number != self._number:
                raise GarbledError(f"{self.server.name} answered something that was not asked")
            if answer is not None:
                return answer

    async def _message(self) -> bytes:
        buffer = self._channel.buffer
        while True:
            try:
                size = messages.size(buffer)
            except MalformedError as error:
                raise self._garbled(error) from None
            if size > MAX_MESSAGE:
                raise LimitedError(
                    f"{self.server.name} sends an entry of {size:,} octets; at most {MAX_MESSAGE:,} are read",
                    remedy="Leave the entry out with a filter.",
                )
            if size and len(buffer) >= size:
                message = bytes(buffer[:size])
                del buffer[:size]
                return message
            if self._channel.closed:
                raise UnreachableError(f"{self.server.name} closed the connection before it had answered")
            try:
                async with asyncio.timeout(self._seconds):
                    await self._channel.more()
            except TimeoutError:
                raise SlowError(f"{self.server.name} was silent for {self._seconds:g} s") from None

    def _garbled(self, error: MalformedError) -> GarbledError:
        return GarbledError(
            f"{self.server.name} does not speak LDAP: {error}", remedy="Check the port, and ldap:// against ldaps://."
        )


@contextlib.asynccontextmanager
async def connected(
    server: Server, trust: ssl.SSLContext, allowed: Sequence[Network], seconds: float
) -> AsyncIterator[Connection]:
    """A connection to the first of the server's addresses that takes one; closed at the end. Raises SourceError."""
    channel = await _dial(server, trust if server.tls else None, allowed, seconds)
    connection = Connection(server, channel, seconds)
    try:
        yield connection
    except BaseException:
        connection.close(politely=False)
        raise
    else:
        connection.close(politely=True)


async def _dial(server: Server, trust: ssl.SSLContext | None, allowed: Sequence[Network], seconds: float) -> _Channel:
    loop = asyncio.get_running_loop()
    failed: SourceError | None = None
    for address in await resolve(server.host, server.port, allowed, seconds):
        try:
            with _handshake(server):
                async with asyncio.timeout(seconds):
                    hostname = server.host if trust is not None else None
                    _, channel = await loop.create_connection(
                        _Channel, address, server.port, ssl=trust, server_hostname=hostname
                    )
                return channel
        except SourceError as error:
            failed = error
    assert failed is not None
    raise failed


@contextlib.contextmanager
def _handshake(server: Server) -> Iterator[None]:
    """Turn what connecting and encrypting raise into SourceError."""
    try:
        yield
    except ssl.SSLError as error:
        raise untrusted(error, server.name) from None
    except TimeoutError:
        raise SlowError(f"{server.name} did not answer in time") from None
    except OSError as error:
        raise unreachable(error, server.name) from None
