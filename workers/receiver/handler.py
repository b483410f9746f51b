"""What is answered: the hooks that the session calls, one per command that decides something.

A hook changes the transaction only when its reply is a 2xx. The rules:

- Recipients are the listed addresses of our domains, everybody at a domain that accepts all, and the postmaster, at any of
  our domains or bare (RFC 5321 4.5.1), the bare one for the domain that was added first. A mailbox named twice, by an alias of
  its domain too, is kept once.
- No room: 452 at MAIL, before the client has sent anything. No store: 451. Anything unforeseen: 451 and a fixed text.
- 250 to the dot after the intake has returned, with the ids under which the message can be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from pipeline import replies
from pipeline.address import Address
from pipeline.bodies import Draft
from pipeline.directory import Domain
from pipeline.events import RecipientSpec
from pipeline.faults import StoreAwayError, StoreFullError
from pipeline.intake import Envelope
from pipeline.replies import Reply
from workers.receiver.hops import received_lines
from workers.receiver.parameters import MailOptions, RcptOptions
from workers.receiver.report import unforeseen
from workers.receiver.session import ReceiverSession, Transaction

POSTMASTER: Final = "postmaster"


class Directory(Protocol):
    """Who we accept mail for (`pipeline.directory.Directory`)."""

    def domains(self) -> Mapping[str, Domain]: ...
    def home(self, name: str) -> Domain | None: ...
    async def find_home(self, name: str) -> Domain | None: ...
    async def accepts(self, key: str, domain: Domain) -> bool: ...


class Intake(Protocol):
    """Where a message becomes ours (`pipeline.intake.Intake`)."""

    async def accept(self, envelope: Envelope, draft: Draft) -> tuple[str, ...]: ...


class Pressure(Protocol):
    """Whether there is room for more mail."""

    @property
    def reason(self) -> str | None:
        """Why not; None while there is room."""


class Handler:
    def __init__(
        self,
        directory: Directory,
        intake: Intake,
        pressure: Pressure,
        *,
        hostname: str,
        max_size: int,
        max_recipients: int,
        max_received: int,
    ) -> None:
        self._directory = directory
        self._intake = intake
        self._pressure = pressure
        self._hello = replies.hello(hostname)
        self._max_size = max_size
        self._max_recipients = max_recipients
        self._max_received = max_received

    async def handle_HELO(self, server: Any, session: ReceiverSession, envelope: Transaction, hostname: str) -> Reply:
        session.greeted(hostname)
        return self._hello

    async def handle_EHLO(
        self, server: Any, session: ReceiverSession, envelope: Transaction, hostname: str, responses: list[str]
    ) -> list[str]:
        """The lines of aiosmtpd (SIZE, 8BITMIME, SMTPUTF8, HELP) with what the session can do besides."""
        session.greeted(hostname)
        ours = ["250-PIPELINING", "250-ENHANCEDSTATUSCODES"]
        if not session.ssl:
            ours.append("250-STARTTLS")
        if session.limits:
            ours.append(f"250-{session.limits}")
        return [*responses[:-1], *ours, responses[-1]]

    async def handle_NOOP(self, server: Any, session: ReceiverSession, envelope: Transaction, arg: str) -> Reply:
        return replies.OK

    async def handle_RSET(self, server: Any, session: ReceiverSession, envelope: Transaction) -> Reply:
        return replies.OK

    async def handle_MAIL(
        self, server: Any, session: ReceiverSession, envelope: Transaction, sender: str, options: MailOptions
    ) -> Reply:
        if options.size > self._max_size:
            return replies.TOO_BIG
        if self._pressure.reason is not None:
            return replies.STORE_FULL
        envelope.mail_from = sender
        envelope.eight_bit = options.eight_bit
        envelope.smtp_utf8 = options.smtputf8
        envelope.ret = options.ret
        envelope.envid = options.envid
        return replies.SENDER_OK

    async def handle_RCPT(
        self, server: Any, session: ReceiverSession, envelope: Transaction, recipient: Address, options: RcptOptions
    ) -> Reply:
        place = await self._place(recipient)
        if isinstance(place, Reply):
            envelope.refused = True
            return place
        key = (recipient.key, place.name)
        if key not in envelope.recipients:
            if len(envelope.recipients) >= self._max_recipients:
                return replies.TOO_MANY_RECIPIENTS
            envelope.recipients[key] = RecipientSpec(
                address=f"{recipient.local}@{place.name}",
                notify=options.notify,
                orcpt=options.orcpt,
                original=str(recipient) if recipient.domain not in ("", place.name) else "",
            )
        return replies.RECIPIENT_OK

    async def _place(self, recipient: Address) -> Domain | Reply:
        """The domain of ours that takes mail for `recipient`, or the refusal. Raises StoreAwayError."""
        if not recipient.domain:
            # A gateway without a domain is being set up: the postmaster's mail may wait.
            return self._first_domain() or replies.TROUBLE
        domain = self._directory.home(recipient.domain) or await self._directory.find_home(recipient.domain)
        if domain is None:
            return replies.RELAY_DENIED
        key = recipient.key
        if domain.catch_all or key == POSTMASTER or await self._directory.accepts(key, domain):
            return domain
        return replies.NO_SUCH_USER

    def _first_domain(self) -> Domain | None:
        """The one that was added first: it is most likely the operator's own."""
        ours = [domain for domain in self._directory.domains().values() if not domain.alias_of]
        return min(ours, key=lambda domain: (domain.created_at, domain.name), default=None)

    async def handle_DATA(self, server: Any, session: ReceiverSession, envelope: Transaction) -> Reply:
        draft = envelope.draft
        assert draft is not None
        assert envelope.mail_from is not None
        if received_lines(draft.head()) > self._max_received:
            draft.discard()
            return replies.MAIL_LOOP
        accepted = Envelope(
            sender=envelope.mail_from,
            recipients=tuple(envelope.recipients.values()),
            client=session.client(smtputf8=envelope.smtp_utf8),
            eight_bit=envelope.eight_bit,
            smtputf8=envelope.smtp_utf8,
            envid=envelope.envid,
            ret=envelope.ret,
        )
        return replies.accepted(await self._intake.accept(accepted, draft))

    async def handle_exception(self, error: Exception) -> Reply:
        """Called by the session for what a command raised."""
        if isinstance(error, StoreFullError):
            return replies.STORE_FULL
        if not isinstance(error, StoreAwayError):
            unforeseen(error)
        return replies.TROUBLE
