"""The customer's own mail server, as small as it can be: it takes what it gets, and remembers it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session

from pipeline.faults import ConfigurationError
from pipeline.units import Endpoint

NAME: Final = "mail.customer.test"
KEPT: Final = 100
"""Messages remembered: a demo may run for days."""


class Arrived(msgspec.Struct, frozen=True):
    sender: str
    recipients: tuple[str, ...]
    content: bytes


class CustomerServer:
    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._arrived: list[Arrived] = []
        self._news = asyncio.Condition()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - the library's name
        arrived = Arrived(envelope.mail_from or "", tuple(envelope.rcpt_tos), bytes(envelope.original_content or b""))
        async with self._news:
            self._arrived = [*self._arrived[-KEPT:], arrived]
            self._news.notify_all()
        return f"250 2.0.0 {NAME} has it, thank you"

    async def arrival(self, message_id: str, within: float) -> Arrived | None:
        """The message that the gateway forwarded under this id (it stands in the Received line on top)."""

        def found() -> Arrived | None:
            wanted = message_id.encode()
            return next((one for one in self._arrived if wanted in one.content[:1000]), None)

        async with self._news:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._news.wait_for(lambda: found() is not None)
        return found()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Raises ConfigurationError when the port is in use."""
        loop = asyncio.get_running_loop()

        def session() -> Any:
            return SMTP(
                self, hostname=NAME, ident="a customer", loop=loop, enable_SMTPUTF8=True, data_size_limit=64 << 20
            )

        try:
            server = await loop.create_server(session, self.endpoint.host or "127.0.0.1", self.endpoint.port)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {self.endpoint}: {error.strerror}",
                remedy="Name another port with --customer HOST:PORT.",
            ) from None
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()
