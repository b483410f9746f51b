"""ClamAV: the octets of a message go to clamd (INSTREAM), over sessions that are kept (IDSESSION), and a name comes back or none.

The message is written in pieces as it lies, from memory or from its file. One that is larger than clamd takes (StreamMaxLength) is not
a fault: a finding says that it was not looked at.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Final

from pipeline.bodies import Buffer
from pipeline.events import Finding
from pipeline.scanning.engine import Mail
from pipeline.scanning.engines.connections import CHUNK, Connection, Connections
from pipeline.scanning.engines.scores import clamav_finding, tidy
from pipeline.scanning.faults import NotUnderstood, Unable
from pipeline.settings import Settings

MAX_REPLY: Final = 2000
SMALL: Final = 16 << 10
TOO_LARGE: Final = "INSTREAM size limit exceeded. ERROR"
UNSEEN: Final = Finding(
    name="CLAMAV_TOO_LARGE", text="too large for ClamAV (its StreamMaxLength), which did not look at it", kind="content",
    engine="clamav",
)  # fmt: skip

_REPLY: Final = re.compile(rb"(?:([0-9]{1,9}): )?(.*)", re.DOTALL)
_VERSION: Final = re.compile(r"ClamAV ([0-9A-Za-z.+~-]{1,40})(?:/([0-9]{1,9}))?")
_END: Final = b"\0\0\0\0"


class ClamAV:
    name: Final = "clamav"

    def __init__(self, settings: Settings) -> None:
        self.version = "unknown"
        """And of its database, once it has said so."""
        self._threshold = settings.spam_threshold
        self._connections = Connections(settings.clamav, most=settings.clamav_connections)

    async def scan(self, mail: Mail) -> Sequence[Finding]:
        """Raises EngineFault."""
        content = mail.content

        async def talk(connection: Connection) -> tuple[str, bool]:
            return await _ask(connection, b"zINSTREAM\0", content)

        said = await self._connections.exchange(talk)
        if said == TOO_LARGE:
            return (UNSEEN,)
        if said == "stream: OK":
            return ()
        if said.startswith("stream: ") and said.endswith(" FOUND"):
            return (clamav_finding(said[len("stream: ") : -len(" FOUND")], self._threshold),)
        if said.endswith(" ERROR"):
            raise Unable(said)
        raise NotUnderstood(said)

    async def ping(self) -> None:
        """Whether it is there; and its version. Raises EngineFault."""

        async def talk(connection: Connection) -> tuple[str, bool]:
            return await _ask(connection, b"zVERSION\0")

        found = _VERSION.match(said := await self._connections.exchange(talk))
        if found is None:
            raise NotUnderstood(said)
        self.version = found[1] + (f"-{found[2]}" if found[2] else "")

    def close(self) -> None:
        self._connections.close()


async def _ask(connection: Connection, command: bytes, content: Buffer | None = None) -> tuple[str, bool]:
    """One command of a session; and whether the session goes on. Raises NotUnderstood, Broken."""
    if not connection.asked:
        command = b"zIDSESSION\0" + command
    connection.asked += 1
    if content is None:
        connection.write(command)
    elif len(content) <= SMALL:
        connection.write(command + _framed(content[:]) + _END)
    else:
        connection.write(command)
        await _pour(connection, content)
    reply = _REPLY.fullmatch(await connection.until(b"\0", MAX_REPLY))
    if reply is None or (reply[1] is not None and int(reply[1]) != connection.asked):
        raise NotUnderstood("the answer to another question")
    said = tidy(reply[2].decode("utf-8", "replace"), MAX_REPLY)
    # It ends the session with a message that is too large, and after a fault nobody knows what it still reads.
    return said, reply[1] is not None and not said.endswith(" ERROR")


def _framed(piece: bytes) -> bytes:
    return struct.pack(">I", len(piece)) + piece if piece else b""


async def _pour(connection: Connection, content: Buffer) -> None:
    for at in range(0, len(content), CHUNK):
        if at:
            await connection.drain()
            if connection.spoken:  # it has heard enough
                return
        piece = content[at : at + CHUNK]
        connection.write(struct.pack(">I", len(piece)))
        connection.write(piece)
    connection.write(_END)
