"""One address of one server: what is said there, in the order in which it is said.

A visit is up to three connections: when the certificate cannot be verified the server is asked once more without that, and when there is
no TLS at all, once more in the clear, as the deliverer does. The first reply that does not come ends it: whatever follows would only wait.
Nothing of it touches the queue, the log or the schedule.
"""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Callable
from typing import Final

import msgspec

from pipeline import diagnosis
from pipeline.probing.certificate import read
from pipeline.probing.message import compose, subject
from pipeline.probing.model import Answer, Line, Login, Plan, Quick, Source, Step, Tls, Visit
from pipeline.probing.replies import features
from pipeline.route import Target
from workers.probing.dialogue import Dialogue, explain, within
from workers.probing.identity import HIDDEN, MECHANISMS, hidden, words_of
from workers.probing.patience import Patience, Share, TimeUp

_NO_EHLO: Final = frozenset({500, 501, 502, 503, 504, 550, 554})
"""Answers to EHLO after which HELO is tried (RFC 5321 3.2)."""

MAX_LINES: Final = 500
"""Lines of one visit that are written down; an ordinary one has about eighty."""


class _Over(Exception):
    """On this connection nothing more is to be said."""


class Visitor:
    """`hear` is told each line of the transcript at once. `moment` gives ns since the test began, `now` ns since 1970."""

    def __init__(
        self,
        plan: Plan,
        target: Target,
        source: Source,
        *,
        patience: Patience,
        moment: Callable[[], int],
        login: Login | None = None,
        hear: Callable[[Line], None] = lambda _: None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._plan = plan
        self.target = target
        self.source = source
        self._patience = patience
        self._moment = moment
        self._login = login
        self._tell = hear
        self._now = now
        self._share = Share(0)
        self._dialogue = Dialogue(self._hear)
        self._answers: list[Answer] = []
        self._lines: list[Line] = []
        self._tls: Tls | None = None
        self._software = ""
        self._stray = ""
        self._no_way = False
        self._connections = 0
        self._complete = False
        self.quick: Quick | None = None
        self.sent = False

    def visit(self) -> Visit:
        """What is known until now."""
        return Visit(
            server=self.target.server,
            host=self.target.host,
            address=self.target.address,
            port=self.target.port,
            source=self.source,
            answers=tuple(self._answers),
            tls=self._tls,
            software=self._software,
            no_way=self._no_way,
            stray=self._stray,
            connections=self._connections,
            quick=self.quick,
            sent=self.sent,
            complete=self._complete,
            transcript=tuple(self._lines),
        )

    @property
    def works(self) -> bool:
        return self.visit().works

    async def run(self, share: Share, *, send: bool = False) -> None:
        """`send`: the plan's message is to be given to this server, when it takes the recipient."""
        self._share = share
        try:
            await self._begin()
            wanted = "STARTTLS" in self._offered() and not self._plan.plain
            if wanted and not await self._encrypt():
                await self._begin()
            await self._log_in()
            await self._mail()
            if send and self.works:
                await self._send()
            await self._say(Step.QUIT, "QUIT", self._patience.quit)
        except TimeUp:
            self.note("The time for this address is over.")
            return
        except _Over:
            pass
        finally:
            self._leave()
        self._complete = True

    def note(self, text: str) -> None:
        self._hear("note", text)

    # Beginning

    async def _begin(self) -> None:
        """Connect, hear the greeting, say EHLO. Raises _Over when it does not come to that."""
        self._leave()
        self._dialogue = Dialogue(self._hear)
        self._connections += 1
        target = self.target
        self.note(f"connecting to {target.address} port {target.port}")
        opened, self._no_way = await self._dialogue.open(
            target.address, target.port, self.source, self._share.at_most(self._patience.connect)
        )
        self._answers.append(opened)
        self.note(opened.text or "connected")
        if opened.text:
            raise _Over
        greeting = await self._dialogue.hear_reply(Step.GREETING, self._share.at_most(self._patience.greeting))
        self._answers.append(greeting)
        if not self._software:
            self._software = diagnosis.read().software_of(greeting.text)
            if self._software:
                self.note(f"by its greeting this is {self._software}")
        if greeting.code != 220:
            raise _Over
        await self._hello()

    async def _hello(self) -> None:
        name = self.source.ehlo or self._plan.hostname
        said = await self._say(Step.EHLO, f"EHLO {name}")
        if said.code in _NO_EHLO:
            said = await self._say(Step.HELO, f"HELO {name}")
        if not said.positive:
            raise _Over

    def _offered(self) -> dict[str, str]:
        ehlo = self.visit().answer(Step.EHLO)
        return dict(features(ehlo.text)) if ehlo is not None and ehlo.positive else {}

    def _leave(self) -> None:
        self._stray = self._stray or self._dialogue.stray
        self._dialogue.close()

    # Encryption

    async def _encrypt(self) -> bool:
        """Whether there is a connection to go on with; else the next one goes on in the clear."""
        if (await self._say(Step.STARTTLS, "STARTTLS")).code != 220:
            return True
        secured = await self._handshake(verified=True)
        if secured is None:
            self.note("once more, whoever vouches for the certificate")
            await self._begin()
            if "STARTTLS" not in self._offered() or (await self._say(Step.STARTTLS, "STARTTLS")).code != 220:
                return True
            secured = await self._handshake(verified=False)
        if secured:
            secured = await self._hello_within()
        if not secured:
            self.note("once more, without encryption")
        return bool(secured)

    async def _handshake(self, *, verified: bool) -> bool | None:
        """Whether the connection is encrypted now; None when it is only that nobody vouches for the certificate."""
        seconds = self._share.at_most(self._patience.handshake)
        untrusted = self._tls.untrusted if self._tls is not None else ""
        start = time.monotonic_ns()
        words = ""
        try:
            secured = await self._dialogue.secure(self._context(verified=verified), self.target.host, seconds)
        except ssl.SSLCertVerificationError as error:
            words = explain(error) if not error.verify_message else error.verify_message
            self._tls = Tls(untrusted=words, failed=words)
            self.note(f"the certificate cannot be verified: {words}")
            return None if verified else False
        except TimeoutError:
            words = f"no handshake {within(seconds)}"
        except (OSError, ValueError) as error:
            words = explain(error)
        else:
            version, cipher = secured.version() or "", (secured.cipher() or ("",))[0]
            certificate = read(secured.getpeercert(binary_form=True) or b"")
            self._tls = Tls(version=version, cipher=cipher, certificate=certificate, untrusted=untrusted)
            self.note(f"encrypted: {version}, {cipher}")
        if words:
            self._tls = Tls(untrusted=untrusted, failed=words)
            self.note(f"no encryption: {words}")
        self._answers.append(Answer(Step.HANDSHAKE, "", 0, "", words, time.monotonic_ns() - start))
        return not words

    def _context(self, *, verified: bool) -> ssl.SSLContext:
        """Raises OSError when the file with the authorities cannot be read."""
        return context(verified=verified, ca_file=self._plan.ca_file if verified else "")

    async def _hello_within(self) -> bool:
        """The first words within TLS. In TLS 1.3 our part of the handshake ends before the server has judged it."""
        try:
            await self._hello()
        except _Over:
            last = self._answers[-1]
            if not last.silent:
                raise
            self._answers.pop()
            self._tls = Tls(failed=last.text.partition("\n")[0])
            return False
        return True

    # Identity

    async def _log_in(self) -> None:
        """With user and password, where there are any (RFC 4954). Neither is ever shown."""
        if self._login is None:
            return
        encrypted = self._tls is not None and bool(self._tls.version)
        mechanisms = self._offered().get("AUTH", "").upper().split()
        mechanism = next((known for known in MECHANISMS if known in mechanisms), "")
        why = ""
        if not encrypted and not self._login.in_clear:
            why = "The password is not sent without encryption."
        elif not mechanism:
            why = f"The server offers none of {', '.join(MECHANISMS)}."
        if why:
            self.note(why)
            self._answers.append(Answer(Step.AUTH, "", 0, "", why, 0))
            return
        first, further = words_of(mechanism, self._login)
        said = await self._say(Step.AUTH, first, shown=f"AUTH {mechanism} {HIDDEN}")
        for word in further:
            if said.code != 334:
                return
            said = await self._say(Step.AUTH, word, shown=HIDDEN)

    # Mail

    async def _mail(self) -> None:
        """No DATA: nothing is delivered."""
        plan = self._plan
        sender = await self._say(Step.MAIL, f"MAIL FROM:<{plan.sender}>{self._international()}")
        if not sender.positive and not (await self._say(Step.BOUNCE, "MAIL FROM:<>")).positive:
            await self._say(Step.RSET, "RSET")
            return
        known = await self._say(Step.KNOWN, f"RCPT TO:<{plan.known}>")
        await self._say(Step.RANDOM, f"RCPT TO:<{plan.random}>")
        if plan.known != plan.postmaster:
            await self._say(Step.POSTMASTER, f"RCPT TO:<{plan.postmaster}>")
        await self._say(Step.RSET, "RSET")
        if sender.positive:
            bounce = await self._say(Step.BOUNCE, f"MAIL FROM:<>{self._international()}")
            if bounce.positive and known.positive:
                await self._say(Step.BOUNCE_RCPT, f"RCPT TO:<{plan.known}>")
            await self._say(Step.RSET, "RSET")

    async def _send(self) -> None:
        plan = self._plan
        if not (await self._say(Step.SEND_MAIL, f"MAIL FROM:<{plan.sender}>{self._international()}")).positive:
            return
        if not (await self._say(Step.SEND_RCPT, f"RCPT TO:<{plan.known}>")).positive:
            return
        if (await self._say(Step.DATA, "DATA")).code != 354:
            return
        message = compose(plan, self._now())
        shown = f"({len(message)} octets of message, subject: {subject(plan)}, and the final dot)"
        self.sent = True
        seconds = self._share.at_most(self._patience.dot)
        answer = await self._dialogue.give(Step.DOT, message + b".\r\n", shown, seconds)
        self._take(answer)

    def _international(self) -> str:
        """RFC 6531 3.4: an address outside ASCII needs to be announced. To who does not offer it, it is said all the same: its refusal
        is what mail would get.
        """
        return "" if self._plan.known.isascii() else " SMTPUTF8"

    # Talking

    async def _say(self, step: Step, command: str, seconds: float = 0.0, *, shown: str = "") -> Answer:
        """Raises _Over when no reply came, or it is the last one (421); TimeUp."""
        share = self._share.at_most(seconds or self._patience.reply)
        return self._take(await self._dialogue.ask(step, command, share, shown=shown))

    def _take(self, answer: Answer) -> Answer:
        self._answers.append(msgspec.structs.replace(answer, text=self._hidden(answer.text)))
        if answer.silent or (self._dialogue.over and answer.step is not Step.QUIT):
            raise _Over
        return answer

    def _hidden(self, text: str) -> str:
        """Some servers repeat what they do not understand, and that may be a password."""
        return text if self._login is None else hidden(text, self._login)

    def _hear(self, who: str, text: str) -> None:
        if len(self._lines) > MAX_LINES:
            return
        if len(self._lines) == MAX_LINES:
            who, text = "note", "The server talks too much: what follows is left out."
        line = Line(self._moment(), who, self._hidden(text))
        self._lines.append(line)
        self._tell(line)


@functools.lru_cache(4)
def context(*, verified: bool, ca_file: str = "") -> ssl.SSLContext:
    """TLS as a client, TLS 1.2 and later. `verified`: an authority (of `ca_file`, else one that the system knows) has to vouch for the
    certificate; whether its name fits is looked at apart, so that both can be told.
    """
    made = ssl.create_default_context(cafile=ca_file or None) if verified else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    return made
