"""What is remembered of a connection and of a transaction: aiosmtpd's Session and Envelope with what we need besides."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiosmtpd.smtp import Envelope, Session

from pipeline.bodies import Draft
from pipeline.events import Client, RecipientSpec

_MAPPED: Final = "::ffff:"


class ReceiverSession(Session):
    """One connection, or what follows STARTTLS on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: object) -> None:
        super().__init__(loop)
        self.peer: Any = peer
        self._client: Client | None = None

    def client(self, *, smtputf8: bool) -> Client:
        """Who is speaking, and how (RFC 3848, RFC 6531 3.7.3)."""
        if self._client is None:
            self._client = self._describe("")
        return self._describe("UTF8") if smtputf8 else self._client

    def greeted(self, hostname: str) -> None:
        """HELO or EHLO was said."""
        self.host_name = hostname
        self._client = None

    def _describe(self, prefix: str) -> Client:
        host, port = self.peer[:2] if isinstance(self.peer, tuple) else ("", 0)
        protocol = "SMTP"
        if self.extended_smtp:
            protocol = f"{prefix or 'E'}SMTP{'S' if self.ssl else ''}"
        return Client(
            address=host.partition("%")[0].removeprefix(_MAPPED),
            port=port,
            helo=self.host_name or "",
            protocol=protocol,
            tls=self.ssl["name"] if self.ssl else "",
        )


class Transaction(Envelope):
    """From MAIL to the reply to the dot. `mail_from` is None before MAIL, and "" for the null sender."""

    def __init__(self) -> None:
        super().__init__()
        self.recipients: dict[tuple[str, str], RecipientSpec] = {}
        """By what makes two addresses the same mailbox."""
        self.refused = False
        """A recipient was refused."""
        self.eight_bit = False
        self.ret = ""
        self.envid = ""
        self.draft: Draft | None = None
