"""What we say to a server: the commands of one envelope, and the message as it goes over the wire. Pure.

Nothing that a stranger chose can end a command early: an address that is not a mailbox in shape, or a parameter that is
not plain printable ASCII, is never written. The message goes out as it is: only the dots that SMTP wants doubled are
doubled (RFC 5321 4.5.2), and a missing last CRLF is added. Of a large message no more than a chunk is in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pipeline.bodies import Buffer
from pipeline.outgoing import Outgoing
from pipeline.state import Message, Recipient
from workers.deliverer.opening import Features

MAX_HEADER: Final = 64 << 10
"""Octets of a message that are looked at as its header."""
MAX_ORCPT: Final = 160
"""Characters of an address that become an ORCPT: three times as many are within RFC 3461 5.4's 500."""

# A mailbox in shape: an atom-like or a quoted local part, then perhaps a domain. Stricter grammar is the receiver's
# business; here it only matters that the closing bracket of the path is ours.
_MAILBOX: Final = re.compile(
    r'(?:[^\x00-\x20\x7f-\x9f\u2028\u2029<>"\\@]+|"(?:[^\x00-\x1f\x7f-\x9f\u2028\u2029"\\]|\\[ -~])*")'
    r'(?:@[^\x00-\x20\x7f-\x9f\u2028\u2029<>"\\@]+)?'
)
_XTEXT: Final = re.compile(r"[!-~]{1,100}")
_ORCPT: Final = re.compile(r"[!-~]{1,500}")
_NOT_XTEXT: Final = re.compile(r"[^!-*,-<>-~]")
"""What is written as +HH in xtext (RFC 3461 4)."""
_NOTIFY: Final = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}", re.IGNORECASE)


def sayable(address: str) -> bool:
    """Whether an address can be written between the brackets of a command. The null sender can."""
    return not address or _MAILBOX.fullmatch(address) is not None


def needs_smtputf8(message: Message, recipients: Iterable[Recipient], content: Buffer) -> bool:
    """Whether this message cannot go to a server without SMTPUTF8 (RFC 6531 3.4): an address or the header is not ASCII.

    A client may ask for SMTPUTF8 and then not need it; such a message can go anywhere.
    """
    if not message.sender.isascii() or not all(recipient.address.isascii() for recipient in recipients):
        return True
    if not message.smtputf8:
        return False
    end = content.find(b"\r\n\r\n", 0, MAX_HEADER)
    return not content[: end if end >= 0 else MAX_HEADER].isascii()


def mail_command(message: Message, size: int, features: Features, *, smtputf8: bool) -> str:
    """MAIL with what the server offers (RFC 1870, 6152, 6531, 3461). `size`: octets of the message, dots not doubled.

    BODY=8BITMIME is dropped for a server that does not offer it: the message goes as it is. Converting it would alter
    what was signed, refusing it would lose mail that all servers of today take.
    """
    command = f"MAIL FROM:<{message.sender}>"
    if features.size:
        command += f" SIZE={size}"
    if features.eight_bit and (message.eight_bit or smtputf8):
        command += " BODY=8BITMIME"
    if smtputf8:
        command += " SMTPUTF8"
    if features.dsn:
        if message.ret.upper() in ("FULL", "HDRS"):
            command += f" RET={message.ret.upper()}"
        if _XTEXT.fullmatch(message.envid):
            command += f" ENVID={message.envid}"
    return command


def rcpt_command(recipient: Recipient, features: Features, domain: str = "") -> str:
    """RCPT, with NOTIFY and ORCPT as they were given to us when the server offers DSN (RFC 3461 5.1).

    `domain`: what the recipient's own became an alias of. A recipient that is not named as the sender named it keeps
    that name as ORCPT, unless the sender gave one (RFC 3461 5.2.1).
    """
    address = f"{recipient.address.rpartition('@')[0]}@{domain}" if domain else recipient.address
    command = f"RCPT TO:<{address}>"
    if features.dsn:
        if _NOTIFY.fullmatch(recipient.notify):
            command += f" NOTIFY={recipient.notify.upper()}"
        named = recipient.original or recipient.address
        if ";" in recipient.orcpt and _ORCPT.fullmatch(recipient.orcpt):
            command += f" ORCPT={recipient.orcpt}"
        elif named != address and named.isascii() and len(named) < MAX_ORCPT:
            command += f" ORCPT=rfc822;{_NOT_XTEXT.sub(lambda found: f'+{ord(found[0]):02X}', named)}"
    return command


def lines(commands: Sequence[str]) -> bytes:
    return "\r\n".join([*commands, ""]).encode("utf-8", "backslashreplace")


def ending(outgoing: Outgoing) -> bytes:
    """What closes a message: the final dot, behind the CRLF that the message should have ended with."""
    return b".\r\n" if outgoing.ends_a_line else b"\r\n.\r\n"


def stuffed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Double the dot that begins a line (RFC 5321 4.5.2), wherever the chunks were cut."""
    tail = b"\r\n"
    for chunk in chunks:
        # Looking for the dot alone is 30 times as fast, and most of a large message is base64, which has none.
        out = chunk.replace(b"\r\n.", b"\r\n..") if b"." in chunk else chunk
        if tail == b"\r\n" and chunk.startswith(b"."):
            out = b"." + out
        elif tail.endswith(b"\r") and chunk.startswith(b"\n."):
            out = b"\n." + out[1:]
        tail = chunk[-2:] if len(chunk) > 1 else (tail + chunk)[-2:]
        yield out
