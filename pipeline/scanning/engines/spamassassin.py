"""SpamAssassin: the message goes to spamd (SYMBOLS SPAMC/1.5), and its score and the names of its tests come back.

spamd sees the message with the trace line on top that it will leave with, so that its tests know the client. It takes one message per
connection, and far longer for a large one than that is worth: above a size it is not asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from pipeline.events import Finding
from pipeline.scanning.engine import Mail
from pipeline.scanning.engines.connections import Connection, Connections
from pipeline.scanning.engines.scores import Symbol, opinion, tidy
from pipeline.scanning.faults import NotUnderstood, Unable
from pipeline.settings import Settings
from pipeline.state import Message
from pipeline.trace import received_line

MAX_HEAD: Final = 4096
MAX_SYMBOLS: Final = 64 << 10
PONG: Final = b"PONG"

_STATUS: Final = re.compile(rb"SPAMD/([0-9]{1,3}\.[0-9]{1,3}) ([0-9]{1,3}) ([^\r\n\0]{0,200})")
_SPAM: Final = re.compile(
    rb"(?:True|Yes|False|No)[ \t]*+;[ \t]*+(-?[0-9.]{1,20})[ \t]*+/[ \t]*+(-?[0-9.]{1,20})", re.IGNORECASE
)
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_UNSAFE: Final = re.compile(r"[^\x21-\x7e]")


class Opinion(NamedTuple):
    score: float
    threshold: float
    symbols: tuple[str, ...]


class SpamAssassin:
    name: Final = "spamassassin"

    def __init__(self, settings: Settings, hostname: str) -> None:
        self.version = "unknown"
        """Of the protocol: spamd says no other."""
        self._threshold = settings.spam_threshold
        self._hostname = hostname
        self._largest = int(settings.spamassassin_max_size)
        self._connections = Connections(settings.spamassassin, most=settings.spamassassin_connections)

    async def scan(self, mail: Mail) -> Sequence[Finding]:
        """Raises EngineFault."""
        if len(mail.content) > self._largest:
            return (_unseen(self._largest),)
        top = _return_path(mail.message) + received_line(mail.message, self._hostname)
        content = mail.content

        async def talk(connection: Connection) -> tuple[Opinion, bool]:
            connection.write(b"SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n\r\n%b" % (len(top) + len(content), top))
            await connection.pour(content)
            head = await self._head(connection)
            symbols = await connection.rest(MAX_SYMBOLS)
            return _opinion(head, symbols), False

        return findings(await self._connections.exchange(talk), self._threshold)

    async def ping(self) -> None:
        """Whether it is there. Raises EngineFault."""

        async def talk(connection: Connection) -> tuple[bytes, bool]:
            connection.write(b"PING SPAMC/1.5\r\n\r\n")
            return await connection.until(b"\r\n", MAX_HEAD), False

        said = _STATUS.fullmatch(await self._connections.exchange(talk))
        if said is None or said[3] != PONG:
            raise NotUnderstood("no pong")
        self.version = f"spamd-{said[1].decode('ascii')}"

    async def _head(self, connection: Connection) -> bytes:
        """What it says before the symbols. Raises EngineFault."""
        line = await connection.until(b"\r\n", MAX_HEAD)
        status = _STATUS.fullmatch(line)
        if status is None:
            raise NotUnderstood("no spamd")
        if int(status[2]):
            raise Unable(line.decode("ascii", "replace"))
        return await connection.until(b"\r\n\r\n", MAX_HEAD)

    def close(self) -> None:
        self._connections.close()


def _return_path(message: Message) -> bytes:
    return f"Return-Path: <{_UNSAFE.sub('?', message.sender[:320])}>\r\n".encode("ascii")


def _unseen(most: int) -> Finding:
    return Finding(
        name="SPAMASSASSIN_TOO_LARGE", text=f"larger than spamassassin_max_size ({most >> 10} KiB), so SpamAssassin did not look",
        engine="spamassassin",
    )  # fmt: skip


def _opinion(head: bytes, symbols: bytes) -> Opinion:
    """Raises NotUnderstood."""
    spam = [line[5:].strip() for line in head.split(b"\r\n") if line[:5].lower() == b"spam:"]
    found = _SPAM.fullmatch(spam[0]) if len(spam) == 1 else None
    if found is None:
        raise NotUnderstood("no score")
    try:
        score, threshold = float(found[1]), float(found[2])
    except ValueError:
        raise NotUnderstood("no score") from None
    names = [name.strip() for name in symbols.decode("utf-8", "replace").split(",")]
    return Opinion(score, threshold, tuple(name for name in names if _NAME.fullmatch(name)))


def findings(said: Opinion, threshold: float) -> tuple[Finding, ...]:
    """What SpamAssassin says, on our scale."""
    part = said.score / said.threshold if said.threshold > 0 else 0.0
    words = f"SpamAssassin gives {said.score:g} of {said.threshold:g}"
    return opinion("spamassassin", tidy(words), part, [Symbol(name) for name in said.symbols], threshold)
