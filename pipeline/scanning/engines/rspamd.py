"""Rspamd: the message and its envelope by HTTP (POST /checkv2), and its score and symbols back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from pipeline.events import Finding
from pipeline.scanning.engine import Mail
from pipeline.scanning.engines.connections import Connection, Connections
from pipeline.scanning.engines.http import Answer, ask, request
from pipeline.scanning.engines.scores import Symbol, opinion, rspamd_part, tidy
from pipeline.scanning.faults import EngineFault, NotUnderstood, Unable
from pipeline.settings import Settings
from pipeline.sources import secrets

MAX_RECIPIENTS: Final = 50
"""Named to it; one message may have thousands, and its fields have a limit."""
TAGS: Final = 0.4
"""Of its threshold for rejecting, where it begins to mark messages: as it comes (6 of 15). Newer ones say it themselves."""
SKIPPED: Final = Finding(name="RSPAMD_SKIPPED", text="Rspamd is set up not to look at such messages", engine="rspamd")

_SERVER: Final = re.compile(rb"rspamd/([0-9A-Za-z.~-]{1,40})")


class _Symbol(msgspec.Struct):
    score: float = 0.0
    description: str = ""
    options: list[Any] = []


class _Reply(msgspec.Struct):
    score: float
    required_score: float
    action: str = ""
    is_skipped: bool = False
    symbols: dict[str, _Symbol] = {}
    thresholds: dict[str, float | None] = {}


_decode: Final = msgspec.json.Decoder(_Reply).decode


class Rspamd:
    name: Final = "rspamd"

    def __init__(self, settings: Settings, hostname: str) -> None:
        """Raises ConfigurationError (a password's file that cannot be read)."""
        self.version = "unknown"
        self._threshold = settings.spam_threshold
        self._host = str(settings.rspamd.host)
        self._hostname = hostname
        self._secret = secrets.read(settings.rspamd_password_file, "")
        self._connections = Connections(settings.rspamd, most=settings.rspamd_connections)

    async def scan(self, mail: Mail) -> Sequence[Finding]:
        """Raises EngineFault."""
        content = mail.content
        head = request("POST", "/checkv2", self._host, self._fields(mail), len(content))
        answer = await self._ask(head, mail)
        return findings(_read(answer), self._threshold)

    async def ping(self) -> None:
        """Whether it is there; and its version. Raises EngineFault."""
        answer = await self._ask(request("GET", "/ping", self._host, self._password(), 0), None)
        if answer.body.strip() != b"pong":
            raise NotUnderstood("no pong")

    async def _ask(self, head: bytes, mail: Mail | None) -> Answer:
        async def talk(connection: Connection) -> tuple[Answer, bool]:
            return await ask(connection, head, mail.content if mail is not None else b"")

        answer = await self._connections.exchange(talk)
        server = _SERVER.match(answer.fields.get(b"server", b""))
        if server is not None:
            self.version = server[1].decode("ascii")
        if answer.status in (401, 403):
            raise EngineFault("does not let us in", f"HTTP {answer.status}; see rspamd_password_file")
        if answer.status != 200:
            raise Unable(f"HTTP {answer.status} {answer.body[:200].decode('utf-8', 'replace')}")
        return answer

    def _password(self) -> list[tuple[str, str]]:
        return [("Password", self._secret.reveal())] if self._secret is not None else []

    def _fields(self, mail: Mail) -> Iterator[tuple[str, str]]:
        """The envelope. Fields with nothing in them are not sent."""
        message = mail.message
        yield "Queue-Id", message.id
        yield "From", message.sender or "<>"
        for recipient in message.recipients[:MAX_RECIPIENTS]:
            yield "Rcpt", recipient.address
        yield "MTA-Name", self._hostname
        client = message.client
        if client is not None:
            yield "IP", client.address
            yield "Helo", client.helo
            if client.tls:
                version, _, cipher = client.tls.partition(" ")
                yield "TLS-Version", version
                yield "TLS-Cipher", cipher
        yield "Hostname", mail.authentication.client_name
        yield from self._password()

    def close(self) -> None:
        self._connections.close()


def _read(answer: Answer) -> _Reply:
    """Raises NotUnderstood."""
    try:
        return _decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:  # octets of the message that it repeats, in no encoding
        return _decode(answer.body.decode("utf-8", "replace"))
    except msgspec.DecodeError as error:
        raise NotUnderstood(str(error)) from None


def findings(reply: _Reply, threshold: float) -> tuple[Finding, ...]:
    """What Rspamd says, on our scale."""
    if reply.is_skipped and not reply.score:  # with a score it is one that it knows without looking, such as GTUBE
        return (SKIPPED,)
    tags = reply.thresholds.get("add header") or reply.thresholds.get("rewrite subject")
    part = rspamd_part(reply.score, tags or reply.required_score * TAGS, reply.action)
    symbols = [
        Symbol(name, symbol.score, _words(symbol))
        for name, symbol in reply.symbols.items()
        if symbol.score  # the others say what a message is like, and are many
    ]
    said = f"Rspamd gives {reply.score:g} of {reply.required_score:g} ({tidy(reply.action, 20) or 'no action'})"
    return opinion("rspamd", said, part, symbols, threshold)


def _words(symbol: _Symbol) -> str:
    options = ", ".join(str(option)[:60] for option in symbol.options[:3])
    about = f"{symbol.description} ({options})" if options and symbol.description else symbol.description or options
    return f"{symbol.score:+g}" + (f": {about}" if about else "")
