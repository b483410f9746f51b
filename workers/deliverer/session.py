"""One SMTP session out: a message's envelope and data over an open connection, an outcome for each recipient.

Where the server offers PIPELINING a transaction is two round trips: RSET if needed, MAIL, every RCPT and DATA in one write
(RFC 2920 3.1), then the message with its dot. Without it, one command at a time.

What may be relied on: before the final dot is sent nothing is decided by a lost connection, a timeout, nonsense or 421:
SessionFailed is raised and the session is unusable. Once the dot was sent every recipient gets an outcome: the server's
reply, or UNKNOWN when no intelligible one came. A session whose protocol state is in doubt is never used again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from pipeline.dane import Record
from pipeline.directory.options import PLAIN, ClientCommand, RouteOptions
from pipeline.events import Attempt, Client
from pipeline.outcome import Outcome, Reply, outcome
from pipeline.outgoing import Outgoing
from pipeline.route import Target
from pipeline.settings import Settings
from pipeline.state import Message, Recipient
from workers.deliverer import commands, identity
from workers.deliverer.opening import Dial, Features, Opened, open_wire
from workers.deliverer.wire import Broken, SessionFailed

__all__ = ["Session", "SessionFailed"]

NO_OTHER_CLIENT: Final = "The server does not take another XCLIENT over this connection."


class Session:
    """Made by `open`. One message at a time; not to be shared between tasks."""

    def __init__(self, dial: Dial, opened: Opened) -> None:
        settings = dial.settings
        self.server = dial.target.server
        self.address = dial.target.address
        self.source = dial.source
        self.tls = opened.tls
        self.software = opened.software
        self.sent = 0
        """Messages begun over this connection."""
        self._wire = opened.wire
        self._features = opened.features
        self._hostname = dial.hostname
        self._client_command = dial.options.client
        self._offered = opened.features
        """To ourselves, before any XCLIENT."""
        self._told = ""
        """The last XCLIENT that the server believed."""
        self._reply_timeout = settings.reply_timeout.seconds
        self._data_timeout = settings.data_timeout.seconds
        self._block_timeout = settings.block_timeout.seconds
        self._dot_timeout = settings.dot_timeout.seconds
        self._dirty = False
        self._stage = ""
        self._started = 0

    @classmethod
    async def open(
        cls,
        target: Target,
        *,
        hostname: str,
        settings: Settings,
        options: RouteOptions = PLAIN,
        source: str = "",
        patience: float = 0.0,
        records: tuple[Record, ...] = (),
    ) -> Session:
        """Connect and greet; what the arguments mean stands at `opening.Dial`. Raises SessionFailed."""
        dial = Dial(
            target=target,
            hostname=hostname,
            settings=settings,
            options=options,
            source=source,
            patience=patience,
            records=records,
        )
        return cls(dial, await open_wire(dial))

    @property
    def offers_smtputf8(self) -> bool:
        return self._features.smtputf8

    @property
    def usable(self) -> bool:
        """Whether another message can be tried. A server that closed while we were idle makes it False by itself."""
        return self._wire.usable

    async def deliver(
        self,
        message: Message,
        recipients: Sequence[Recipient],
        outgoing: Outgoing,
        may_commit: Callable[[], bool],
        domain: str = "",
    ) -> dict[str, Outcome]:
        """Send `message` to `recipients` of it, in one transaction; every address gets its outcome.

        `outgoing`: its octets. `may_commit` is asked once, right before the final dot: False drops the connection without it.
        `domain`: what the message's domain became an alias of. Raises SessionFailed when nothing was decided for anybody.
        """
        self.sent += 1
        try:
            return await self._deliver(message, recipients, outgoing, may_commit, domain)
        except Broken as broken:
            self.abort()
            raise SessionFailed(self._attempt(0, broken.enhanced, broken.words)) from None
        except BaseException:
            self.abort()
            raise

    async def quit(self, timeout: float) -> None:  # noqa: ASYNC109 - the wire keeps the time itself
        """Say goodbye and close; `timeout` in seconds. Never fails."""
        try:
            if self.usable:
                self._wire.send([b"QUIT\r\n"], 1, timeout)
                await self._wire.reply()
        except Broken:
            pass
        finally:
            self._wire.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._wire.abort()

    async def _deliver(
        self,
        message: Message,
        recipients: Sequence[Recipient],
        outgoing: Outgoing,
        may_commit: Callable[[], bool],
        domain: str,
    ) -> dict[str, Outcome]:
        self._begin("mail")
        if self._wire.parting is not None:
            raise SessionFailed(self._reply_attempt(self._wire.parting))
        if self._client_command is not None:
            await self._introduce(message.client)
        smtputf8 = commands.needs_smtputf8(message, recipients, outgoing.content)
        outcomes = self._unsayable(message, recipients, smtputf8=smtputf8)
        recipients = [recipient for recipient in recipients if recipient.address not in outcomes]
        if not recipients:
            return outcomes
        mail = commands.mail_command(message, outgoing.size, self._features, smtputf8=smtputf8)
        rcpts = [commands.rcpt_command(recipient, self._features, domain) for recipient in recipients]
        envelope = self._pipelined if self._features.pipelining else self._stepwise
        mail_reply, rcpt_replies, data_reply = await envelope(mail, rcpts)
        if not mail_reply.positive:
            refused = outcome(self._reply_attempt(mail_reply, "mail"))
            return outcomes | {recipient.address: refused for recipient in recipients}
        accepted = []
        for recipient, reply in zip(recipients, rcpt_replies, strict=True):
            if reply.positive:
                accepted.append(recipient.address)
            else:
                outcomes[recipient.address] = outcome(self._reply_attempt(reply, "rcpt"))
        if data_reply is not None and accepted:
            if data_reply.code == 354:
                result = await self._message(outgoing, may_commit)
            else:
                result = self._no_data(data_reply)
            outcomes.update(dict.fromkeys(accepted, result))
        return outcomes

    async def _introduce(self, client: Client | None) -> None:
        """Tell a server that offers to be told who sent the message to us. One that then refuses is not insisted with."""
        xclient = self._client_command is ClientCommand.XCLIENT
        offered = self._offered.xclient if xclient else self._offered.xforward
        said = identity.command("XCLIENT" if xclient else "XFORWARD", client, offered)
        if said in ("", self._told) or (client is None and not self._told):
            return
        if self._told and not self._features.xclient:
            # Postfix offers it to whom it trusts, and it believes to talk to that client now: the next one needs a new connection.
            raise SessionFailed(self._attempt(0, "4.5.0", NO_OTHER_CLIENT, stage="ehlo"))
        if self._dirty:
            self._dirty = False
            self._wire.send([b"RSET\r\n"], 1, self._reply_timeout)
            await self._reset_reply()
        reply = await self._say(said)
        if not xclient:
            return
        if reply.positive:
            self._told = said
            hello = await self._say(f"EHLO {self._hostname}")
            if not hello.positive:
                raise SessionFailed(self._reply_attempt(hello, "ehlo"))
            self._features = Features.of(identity.keywords(hello.text.split("\n")))
        elif self._told:
            # It would be taken for mail of the client before.
            raise SessionFailed(self._attempt(0, "4.5.0", NO_OTHER_CLIENT, stage="ehlo"))
        self._begin("mail")

    def _unsayable(self, message: Message, recipients: Sequence[Recipient], *, smtputf8: bool) -> dict[str, Outcome]:
        """Recipients that we refuse ourselves, in words that say so."""
        if smtputf8 and not self._features.smtputf8:
            words = "5.6.7 (said by this gateway) The message has a non-ASCII address or header, and the server does not offer SMTPUTF8"
            ours = outcome(self._attempt(553, "5.6.7", f"553 {words}"))
            return {recipient.address: ours for recipient in recipients}
        if not commands.sayable(message.sender):
            ours = outcome(self._attempt(553, "5.1.7", "553 5.1.7 (said by this gateway) The sender is not an address"))
            return {recipient.address: ours for recipient in recipients}
        unsayable = [r.address for r in recipients if not r.address or not commands.sayable(r.address)]
        if not unsayable:
            return {}
        self._stage = "rcpt"
        ours = outcome(self._attempt(553, "5.1.3", "553 5.1.3 (said by this gateway) The recipient is not an address"))
        self._stage = "mail"
        return dict.fromkeys(unsayable, ours)

    async def _pipelined(self, mail: str, rcpts: list[str]) -> tuple[Reply, list[Reply], Reply | None]:
        """The envelope in one write. The last reply is DATA's, None when there is nothing to send data for."""
        dirty, self._dirty = self._dirty, True
        said = ["RSET", mail, *rcpts, "DATA"] if dirty else [mail, *rcpts, "DATA"]
        self._wire.send([commands.lines(said)], len(said), self._reply_timeout)
        if dirty:
            await self._reset_reply()
        mail_reply = await self._reply()
        self._stage = "rcpt"
        rcpt_replies = [await self._reply() for _ in rcpts]
        self._stage = "data"
        self._wire.allow(self._data_timeout)
        data_reply = await self._reply()
        if mail_reply.positive and any(reply.positive for reply in rcpt_replies):
            return mail_reply, rcpt_replies, data_reply
        if data_reply.code == 354:
            await self._lone_dot()
        return mail_reply, rcpt_replies, None

    async def _lone_dot(self) -> None:
        """The server takes data though it took no recipient: end it at once (RFC 2920 3.1)."""
        try:
            self._wire.send([b".\r\n"], 1, self._reply_timeout)
            await self._wire.reply()
        except Broken:
            # All recipients have their answer already; only the session is lost.
            self.abort()

    async def _stepwise(self, mail: str, rcpts: list[str]) -> tuple[Reply, list[Reply], Reply | None]:
        """The envelope one command at a time."""
        if self._dirty:
            self._wire.send([b"RSET\r\n"], 1, self._reply_timeout)
            await self._reset_reply()
        self._dirty = True
        mail_reply = await self._say(mail)
        if not mail_reply.positive:
            return mail_reply, [], None
        self._begin("rcpt")
        rcpt_replies = [await self._say(rcpt) for rcpt in rcpts]
        if not any(reply.positive for reply in rcpt_replies):
            return mail_reply, rcpt_replies, None
        self._begin("data")
        return mail_reply, rcpt_replies, await self._say("DATA", self._data_timeout)

    async def _message(self, outgoing: Outgoing, may_commit: Callable[[], bool]) -> Outcome:
        """The message and its dot; the outcome for all recipients that were accepted."""
        self._begin("data")
        replies, pending = 1, b""
        for piece in commands.stuffed(outgoing.pieces()):
            if pending:
                self._wire.send([pending], replies, self._block_timeout)
                replies = 0
                await self._wire.drain(self._block_timeout)
                if self._wire.answered:
                    return await self._interrupted()
            pending = piece
        if not may_commit():
            self.abort()
            raise SessionFailed(self._attempt(0, "4.3.0", "Not sent: this worker no longer holds the message."))
        self._begin("dot")
        self._wire.send([pending, commands.ending(outgoing)], replies, self._dot_timeout)
        try:
            reply = await self._wire.reply()
        except Broken as broken:
            self.abort()
            return outcome(self._attempt(0, broken.enhanced, broken.words, unknown=True))
        self._dirty = not reply.positive
        if reply.code == 421:
            self.abort()
        return outcome(self._reply_attempt(reply))

    def _no_data(self, reply: Reply) -> Outcome:
        """The outcome when DATA was not answered with 354."""
        if reply.code < 400:
            # Neither yes nor no: whether the server now takes commands or data nobody knows.
            self.abort()
        return outcome(self._reply_attempt(reply, "data"))

    async def _interrupted(self) -> Outcome:
        """The server answered in the middle of the data: a refusal counts, and the rest need not be sent."""
        reply = await self._reply()
        self.abort()
        if reply.code < 400:
            words = "The server answered before the message was complete: " + reply.text
            raise SessionFailed(self._attempt(0, "4.5.0", words))
        return outcome(self._reply_attempt(reply))

    async def _say(self, command: str, timeout: float = 0.0) -> Reply:  # noqa: ASYNC109 - the wire keeps the time itself
        self._wire.send([commands.lines([command])], 1, timeout or self._reply_timeout)
        return await self._reply()

    async def _reply(self) -> Reply:
        """The next reply; 421 means that the server closes, whatever it was asked (RFC 5321 3.8)."""
        reply = await self._wire.reply()
        if reply.code == 421:
            raise SessionFailed(self._reply_attempt(reply))
        return reply

    async def _reset_reply(self) -> None:
        reply = await self._reply()
        if not reply.positive:
            raise SessionFailed(self._reply_attempt(reply))

    def _begin(self, stage: str) -> None:
        self._stage = stage
        self._started = time.monotonic_ns()

    def _reply_attempt(self, reply: Reply, stage: str = "") -> Attempt:
        return self._attempt(reply.code, reply.enhanced, reply.text, stage=stage)

    def _attempt(self, code: int, enhanced: str, words: str, *, stage: str = "", unknown: bool = False) -> Attempt:
        return Attempt(
            server=self.server,
            address=self.address,
            tls=self.tls,
            stage=stage or self._stage,
            code=code,
            enhanced=enhanced,
            reply=words,
            took=time.monotonic_ns() - self._started,
            unknown=unknown,
            dsn=self._features.dsn,
            software="" if 200 <= code < 300 else self.software,
            source=self.source,
        )
