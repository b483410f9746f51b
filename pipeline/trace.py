"""The trace line that says how a message came to us (RFC 5321 4.4, RFC 3848).

Whatever the client chose, its HELO name and the address it named, is reduced to characters that cannot end the line, the
comment or the angle brackets it stands in.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from pipeline.state import Message
from pipeline.units import SECOND

_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_NOT_IN_COMMENT: Final = re.compile(r"[^A-Za-z0-9._ -]")
_MAX_NAME: Final = 255
_MAILBOX: Final = re.compile(
    r'(?:[^\x00-\x20\x7f-\x9f<>()"\\,;:]+|"(?:[^\x00-\x1f\x7f-\x9f"\\]|\\[ -~])*")@[\w.:\[\]-]+'
)


def received_line(message: Message, hostname: str) -> bytes:
    """The Received field to put on top of `message`, folded, with its CRLF. `hostname`: our own name.

    ASCII; UTF-8 only where the message itself needs SMTPUTF8. The recipient is named only when there is one, so that
    nobody learns of a blind copy; of several only the domain is, by which a loop is found.
    """
    parts = [f"Received: {_from(message)}by {_name(hostname)}{_with(message)}", f"id {message.id}"]
    parts.append(_for(message))
    parts[-1] += ";"
    parts.append(date(message.received_at))
    return ("\r\n\t".join(_folded(parts)) + "\r\n").encode("utf-8")


def _for(message: Message) -> str:
    if len(message.recipients) == 1:
        address = message.recipients[0].address
        if len(address) <= _MAX_NAME and _MAILBOX.fullmatch(address) and (message.smtputf8 or address.isascii()):
            return f"for <{address}>"
    return f"(to {len(message.recipients)} at {_name(message.domain)})"


def date(at: int) -> str:
    """`at`, ns since the epoch, as RFC 5322 3.3 writes it, in UTC."""
    return _date(at // SECOND)


@functools.lru_cache(16)
def _date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def _from(message: Message) -> str:
    client = message.client
    if client is None:
        return ""
    literal = f"IPv6:{client.address}" if ":" in client.address else client.address
    return f"from {_name(client.helo) or 'unknown'} ([{_name(literal)}])\r\n\t"


def _with(message: Message) -> str:
    client = message.client
    if client is None:
        return ""
    version, _, cipher = _NOT_IN_COMMENT.sub("?", client.tls).partition(" ")
    using = f"\r\n\t(using {version} with cipher {cipher})" if client.tls else ""
    return f" with {_name(client.protocol)}{using}"


@functools.lru_cache(1024)
def _name(text: str) -> str:
    return _NOT_IN_NAME.sub("?", text[:_MAX_NAME])


def _folded(parts: list[str]) -> list[str]:
    """Join what fits into 78 characters on a line (RFC 5322 2.1.1)."""
    lines = [parts[0]]
    for part in parts[1:]:
        last = lines[-1].rpartition("\n")[2]
        if len(last) + 1 + len(part) <= 76:
            lines[-1] += " " + part
        else:
            lines.append(part)
    return lines
