"""The SMTP session: lines become commands, commands become replies.

Kept of aiosmtpd: its session and envelope, its handler hooks, its command handlers wherever their answers are ours, its
reset rules. Changed: what reads (see `connection`), what a null sender is, what is refused, and every text.

Only the intake, once called, is never interrupted by what the client does: whether a message was kept must not depend on
its sender's patience.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from typing import Any, Final

from pipeline import metrics, replies
from pipeline.address import AddressError, forward_path, reverse_path
from pipeline.replies import Reply
from workers.receiver.arrival import Arrival
from workers.receiver.incoming import Incoming
from workers.receiver.parameters import mail_options, rcpt_options
from workers.receiver.report import unforeseen
from workers.receiver.session import ReceiverSession

BURST: Final = 100
"""Pipelined commands answered before other connections get their turn."""
TLS_HANDSHAKE: Final = 30.0
"""Seconds."""

_HELO_ARGUMENT: Final = re.compile(r"[!-~]{1,255}")
_METHODS: Final = {
    verb.encode(): f"smtp_{verb}"
    for verb in ("HELO", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "HELP", "QUIT")
}
_WITHOUT_ARGUMENT: Final = frozenset({b"STARTTLS", b"DATA", b"RSET", b"QUIT"})
_LEADS_TO_NOTHING: Final = frozenset({b"RSET", b"NOOP", b"VRFY", b"HELP"})
_NOT_OFFERED: Final = frozenset({b"EXPN", b"AUTH", b"BDAT", b"ETRN", b"TURN", b"SEND", b"SOML", b"SAML"})


class ReceiverProtocol(Arrival):
    async def _handle_client(self) -> None:
        try:
            await self._arrive()
            if not self._ended:
                self._greeted = True
                self._phase(self._common.hello_time)
                self._send(self._common.greeting)
                await self._converse()
        except Exception as error:  # noqa: BLE001 - one connection must not take others with it
            unforeseen(error)
        finally:
            self._end()

    async def _converse(self) -> None:
        answered = 0
        while not self._ended:
            line = self._take_line()
            if line is not None:
                await self._execute(line)
                answered += 1
                if answered % BURST == 0:
                    await self._yield()
            elif self._half_closed:
                return
            else:
                await self._more()
            if self.envelope.mail_from is None:
                if self._common.closing:
                    self._say_and_end(replies.SHUTTING_DOWN)
                elif self._overdue:
                    self._say_and_end(replies.SESSION_OVER)

    async def _execute(self, line: bytes) -> None:
        verb, argument = self._parse(line)
        if isinstance(verb, Reply):
            await self._answer(verb)
            return
        if argument and verb in _WITHOUT_ARGUMENT:
            await self._answer(replies.NO_ARGUMENT_ALLOWED)
            return
        if verb in _LEADS_TO_NOTHING:
            last = await self.guard.wasted(reset=verb == b"RSET")
            if last is not None:
                self._say_and_end(last)
                return
        command: Callable[[str], Any] = getattr(self, _METHODS[verb])
        try:
            await command(argument)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a 4xx with a fixed text
            await self._answer(await self.event_handler.handle_exception(error))
        if self.envelope.in_data:
            self._set_post_data_state()

    async def _answer(self, reply: Reply) -> None:
        """Say it; a refusal may be one too many, and after 421 nothing is said."""
        if 400 <= reply.code != 421:
            self._turned_away(reply)
            reply = await self.guard.refusal(reply)
        if reply.code == 421:
            self._say_and_end(reply)
        else:
            self._send(reply)

    def _parse(self, line: bytes) -> tuple[bytes | Reply, str]:
        """The verb and its argument, or what to say to a line that is no command."""
        if not line:
            return replies.LINE_TOO_LONG, ""
        if line.endswith(b"\r\n"):
            text = line[:-2]
        elif self._common.normalise:
            text = line[:-1]
        else:
            return replies.BAD_LINE_END, ""
        if b"\r" in text or b"\0" in text:
            return replies.BAD_SYNTAX, ""
        word, _, rest = text.partition(b" ")
        verb = word.upper()
        if verb not in _METHODS:
            if b" HTTP/" in text:
                # A browser or a service was made to talk to us, and who made it wrote what comes behind this line.
                return replies.NOT_SMTP, ""
            return (replies.NOT_IMPLEMENTED if verb in _NOT_OFFERED else replies.UNKNOWN_COMMAND), ""
        try:
            return verb, rest.decode().strip(" \t")
        except UnicodeDecodeError:
            return replies.BAD_SYNTAX, ""

    # Commands. NOOP and RSET are aiosmtpd's own, and so are HELO and EHLO once their argument is a name.

    async def smtp_HELO(self, hostname: str) -> None:
        if await self._may_greet(hostname):
            await super().smtp_HELO(hostname)

    async def smtp_EHLO(self, hostname: str) -> None:
        if await self._may_greet(hostname):
            await super().smtp_EHLO(hostname)

    async def _may_greet(self, hostname: str) -> bool:
        if not _HELO_ARGUMENT.fullmatch(hostname):
            await self._answer(replies.HELO_SYNTAX)
            return False
        last = await self.guard.wasted() if self.session.host_name else None
        if last is not None:
            self._say_and_end(last)
            return False
        self._phase_ends = math.inf
        return True

    async def smtp_MAIL(self, arg: str | None) -> None:
        limit = await self.guard.message()
        # Also where the limit is reached the sender is read, to be written down.
        reply = await self._mail(arg or "", limit)
        if reply is replies.SENDER_OK:
            self._phase(self._common.envelope_time)
            self._send(reply)
        else:
            await self._answer(limit or reply)

    async def _mail(self, argument: str, limit: Reply | None) -> Reply:
        if not self.session.host_name:
            return replies.HELO_FIRST
        if self.envelope.mail_from is not None:
            return replies.NESTED_MAIL
        text = self._strip_command_keyword("FROM:", argument)
        if not text or text[0] != "<":
            return replies.MAIL_SYNTAX
        self.envelope.asked_sender = text
        try:
            sender, rest = reverse_path(text)
        except AddressError:
            return replies.BAD_SENDER
        self.envelope.asked_sender = sender
        options = mail_options(rest)
        if isinstance(options, Reply):
            return options
        if not options.smtputf8 and not argument.isascii():
            return replies.NEEDS_SMTPUTF8
        reply: Reply = limit or await self._call_handler_hook("MAIL", sender, options)
        return reply

    async def smtp_RCPT(self, arg: str | None) -> None:
        reply = await self._rcpt(arg or "")
        if reply is replies.RECIPIENT_OK:
            self._send(reply)
            return
        if reply.code >= 400 and reply is not replies.MAIL_FIRST:
            self.envelope.refused = True
        if reply is replies.NO_SUCH_USER:
            self._turned_away(reply)
            await self._unknown()
        else:
            await self._answer(reply)

    async def _unknown(self) -> None:
        """The answer to who tries names out comes later and later in the session, and then there is none."""
        last = await self.guard.unknown()
        if last is not None:
            self._say_and_end(last)
            return
        seconds = self.guard.tarpit()
        if seconds:
            await self.hold_back(seconds)
        self._send(replies.NO_SUCH_USER)

    async def _rcpt(self, argument: str) -> Reply:
        if self.envelope.mail_from is None:
            return replies.MAIL_FIRST
        text = self._strip_command_keyword("TO:", argument)
        if not text or text[0] != "<":
            return replies.RCPT_SYNTAX
        self.envelope.asked_recipient, self.envelope.asked_domain = text, ""
        try:
            recipient, rest = forward_path(text)
        except AddressError:
            return replies.BAD_RECIPIENT
        self.envelope.asked_recipient = str(recipient)
        options = rcpt_options(rest)
        if isinstance(options, Reply):
            return options
        if not self.envelope.smtp_utf8 and not argument.isascii():
            return replies.NEEDS_SMTPUTF8
        reply: Reply = await self.guard.recipient() or await self._call_handler_hook("RCPT", recipient, options)
        return reply

    async def smtp_DATA(self, arg: str) -> None:
        envelope = self.envelope
        if envelope.mail_from is None:
            await self._answer(replies.MAIL_FIRST)
        elif not envelope.recipients:
            await self._answer(replies.NO_VALID_RECIPIENTS if envelope.refused else replies.RCPT_FIRST)
        else:
            envelope.in_data = True
            common = self._common
            envelope.draft = common.drafts.draft()
            limit = min(common.max_size, envelope.max_size)
            incoming = Incoming(envelope.draft, limit, normalise=common.normalise)
            self._send(replies.START_DATA)
            began = time.monotonic()
            if await self._receive(incoming):
                # Many send 8-bit content without a word; what it is counts, for the servers it will be offered to.
                envelope.eight_bit |= incoming.eight_bit
                reply = incoming.refusal or await self._call_handler_hook("DATA")
                if reply.code == 250:
                    self.guard.delivered()
                    metrics.SMTP_ACCEPTED.add()
                    metrics.SMTP_ACCEPTED_BYTES.add(by=incoming.size)
                metrics.SMTP_DATA_SECONDS.observe(time.monotonic() - began)
                await self._answer(reply)

    async def smtp_STARTTLS(self, arg: str) -> None:
        """With the loop's own TLS: aiosmtpd's builds on private parts of asyncio and bypasses uvloop's."""
        if self._secure:
            await self._answer(replies.TLS_ALREADY)
            return
        self._send(replies.READY_FOR_TLS)
        self._flush()
        # What came in the clear behind STARTTLS may be somebody else's (RFC 3207 6): it is never executed.
        self._take_rest()
        self._release()
        self._secure = True
        context = self._common.certificates.context
        try:
            transport = await self.loop.start_tls(
                self.transport, self, context, server_side=True, ssl_handshake_timeout=TLS_HANDSHAKE
            )
        except (OSError, EOFError):
            transport = None
        if transport is None or self._lost:
            metrics.SMTP_TLS_FAILED.add()
            self._end()
            self.connection_lost(None)
            return
        self.transport = transport
        tls = transport.get_extra_info("ssl_object")
        # Nothing said in the clear is remembered (RFC 3207 4.2).
        self.session = ReceiverSession(self.loop, self.session.peer, self.session.limits)
        self.session.ssl = {"name": f"{tls.version()} {tls.cipher()[0]}"}
        metrics.SMTP_TLS.add(tls.version())
        self._set_post_data_state()
        self._phase(self._common.hello_time)

    async def smtp_VRFY(self, arg: str) -> None:
        self._send(replies.CANNOT_VERIFY)

    async def smtp_HELP(self, arg: str) -> None:
        self._send(replies.HELP)

    async def smtp_QUIT(self, arg: str) -> None:
        self._say_and_end(replies.BYE)
