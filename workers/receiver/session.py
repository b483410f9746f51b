"""What is remembered of a connection and of a transaction: aiosmtpd's Session and Envelope with what we need besides."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

from aiosmtpd.smtp import Envelope, Session

from pipeline.bodies import Draft
from pipeline.events import Client, RecipientSpec

if TYPE_CHECKING:
    from pipeline.authentication.spf import Result

_MAPPED: Final = "::ffff:"


class ReceiverSession(Session):
    """One connection, or what follows STARTTLS on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: object, limits: str = "") -> None:
        super().__init__(loop)
        self.peer: Any = peer
        """Address and port of the client: the other end of the connection, or whom that one speaks for."""
        self.limits = limits
        """As EHLO announces them (RFC 9422); empty: not at all."""
        self.reverse: tuple[str, str] | None = None
        """What the DNS says of the client's name (`authentication.reverse`); None until somebody asks."""
        self._client: Client | None = None

    @property
    def address(self) -> str:
        """Of the client, a mapped one as IPv4; empty when there is none."""
        host = self.peer[0] if isinstance(self.peer, tuple) else ""
        return str(host).partition("%")[0].removeprefix(_MAPPED)

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
        port = self.peer[1] if isinstance(self.peer, tuple) else 0
        protocol = "SMTP"
        if self.extended_smtp:
            protocol = f"{prefix or 'E'}SMTP{'S' if self.ssl else ''}"
        return Client(
            address=self.address,
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
        self.size = 0
        """Octets that were announced; 0: none were."""
        self.max_size = math.inf
        """Octets that the domains of the recipients take."""
        self.eight_bit = False
        self.ret = ""
        self.envid = ""
        self.spf: Result | None = None
        """Of the sender; None until somebody asks."""
        self.greylisted: dict[str, int] = {}
        """Domain -> when the client was first told to come again (ns)."""
        self.draft: Draft | None = None
        # What a refusal is written down with: of what was asked last, as the client wrote it.
        self.asked_sender = ""
        self.asked_recipient = ""
        self.asked_domain = ""
        """The home of the recipient's domain; empty when it is none of ours."""
        self.in_data = False
        self.note = ""
