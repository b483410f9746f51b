"""What is answered: the hooks that the session calls, one per command that decides something.

A hook changes the transaction only when its reply is a 2xx. The rules:

- Who is a recipient is decided in `recipients.py`.
- No room, or too much to do: 452 at MAIL, before the client has sent anything, after answers that came later and later. No store: 451. Anything unforeseen: 451 and a fixed text.
- What goes round is refused (RFC 5321 6.3), and the domain through whose server it does is held.
- 250 to the dot after the intake has returned, with the ids under which the message can be asked for.
"""

from __future__ import annotations

import itertools
from typing import Any, Final, Protocol

from pipeline import metrics, replies
from pipeline.address import Address
from pipeline.bodies import Draft
from pipeline.brake import Brake
from pipeline.faults import StoreAwayError, StoreFullError
from pipeline.intake import Envelope
from pipeline.replies import Reply
from workers.receiver.hops import looping, received_lines
from workers.receiver.parameters import MailOptions, RcptOptions
from workers.receiver.recipients import Recipients
from workers.receiver.report import unforeseen
from workers.receiver.session import ReceiverSession, Transaction

HELD: Final = 10
"""Domains that one message that goes round may put on hold."""


class Intake(Protocol):
    """Where a message becomes ours (`pipeline.intake.Intake`)."""

    async def accept(self, envelope: Envelope, draft: Draft) -> tuple[str, ...]: ...


class Pressure(Protocol):
    """Whether there is room for more mail."""

    @property
    def reason(self) -> str | None:
        """Why not; None while there is room."""

    @property
    def brake(self) -> Brake:
        """How much receivers slow down, as more comes than can be handled."""


class Loops(Protocol):
    """What becomes of a domain through whose server mail goes round (`loops.Loops`)."""

    async def found(self, domain: str, client: str, recipient: str) -> bool: ...


class Handler:
    def __init__(
        self,
        recipients: Recipients,
        intake: Intake,
        pressure: Pressure,
        loops: Loops,
        *,
        hostname: str,
        max_size: int,
        max_received: int,
    ) -> None:
        self._recipients = recipients
        self._intake = intake
        self._pressure = pressure
        self._loops = loops
        self._hostname = hostname
        self._hello = replies.hello(hostname)
        self._max_size = max_size
        self._max_received = max_received

    async def handle_HELO(self, server: Any, session: ReceiverSession, envelope: Transaction, hostname: str) -> Reply:
        session.greeted(hostname)
        return self._hello

    async def handle_EHLO(
        self, server: Any, session: ReceiverSession, envelope: Transaction, hostname: str, responses: list[str]
    ) -> list[str]:
        """The lines of aiosmtpd (SIZE, 8BITMIME, SMTPUTF8, HELP) with what the session can do besides."""
        session.greeted(hostname)
        ours = ["250-PIPELINING", "250-ENHANCEDSTATUSCODES", "250-DSN"]
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
        brake = self._pressure.brake
        if brake.closed:
            return replies.OVERLOADED
        if brake.delay:
            metrics.SMTP_BRAKED.add()
            await server.hold_back(brake.delay)
        envelope.mail_from = sender
        envelope.size = options.size
        envelope.eight_bit = options.eight_bit
        envelope.smtp_utf8 = options.smtputf8
        envelope.ret = options.ret
        envelope.envid = options.envid
        return replies.SENDER_OK

    async def handle_RCPT(
        self, server: Any, session: ReceiverSession, envelope: Transaction, recipient: Address, options: RcptOptions
    ) -> Reply:
        return await self._recipients.add(session, envelope, recipient, options, stranger=server.guard.limited)

    async def handle_DATA(self, server: Any, session: ReceiverSession, envelope: Transaction) -> Reply:
        draft = envelope.draft
        assert draft is not None
        assert envelope.mail_from is not None
        loop = await self._loop(draft.head(), session, envelope)
        if loop is not None:
            draft.discard()
            return loop
        accepted = Envelope(
            sender=envelope.mail_from,
            recipients=tuple(envelope.recipients.values()),
            client=session.client(smtputf8=envelope.smtp_utf8),
            eight_bit=envelope.eight_bit,
            smtputf8=envelope.smtp_utf8,
            envid=envelope.envid,
            ret=envelope.ret,
            greylisted=envelope.greylisted,
        )
        return replies.accepted(await self._intake.accept(accepted, draft))

    async def _loop(self, head: bytes, session: ReceiverSession, envelope: Transaction) -> Reply | None:
        """The refusal of a message that goes round, after its domains were seen to."""
        addresses = [recipient.address for recipient in envelope.recipients.values()]
        round_again = looping(head, self._hostname, addresses)
        reply = replies.MAIL_LOOP
        if not round_again:
            if received_lines(head) <= self._max_received:
                return None
            # Too long a way is a loop through us if it led by here at all.
            round_again = looping(head, self._hostname, addresses, passes=1)
            reply = replies.HOPS_EXCEEDED
        domains = {address.rpartition("@")[2]: address for address in round_again}
        for domain, address in itertools.islice(domains.items(), HELD):
            await self._loops.found(domain, session.address, address)
        return reply

    async def handle_exception(self, error: Exception) -> Reply:
        """Called by the session for what a command raised."""
        if isinstance(error, StoreFullError):
            return replies.STORE_FULL
        if not isinstance(error, StoreAwayError):
            unforeseen(error)
        return replies.TROUBLE
