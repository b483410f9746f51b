"""Mail that we write to people who run us or their mail: a report that they asked for, an alert. Pure.

It has the null sender, so that its end is nobody's second message (RFC 5321 4.5.5), and says that a machine wrote it (RFC 3834 5). It
goes the way of all mail: it is received, though from nobody (`origin`), queued, tried again, and shown with what became of it. What
is in it may be the words of strangers: they are encoded, never trusted.

A step that says why it is written puts it into the outbox (`workers/ownmail.py`), so it is written exactly as often as the step happens.
"""

from __future__ import annotations

import re
from email.headerregistry import Address as Mailbox
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final

import msgspec

from pipeline.events import Received, RecipientSpec
from pipeline.ids import derived_id, partition_for
from pipeline.text import printable
from pipeline.trace import date

REPORT: Final = "report"
ALERT: Final = "alert"
ORIGINS: Final = (REPORT, ALERT)
MAX_SUBJECT: Final = 200
LINE: Final = 76


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """Of the file; any language (RFC 2231)."""
    kind: str
    """`text/csv`, `application/gzip`: the content is taken as it is."""
    content: bytes


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    to: str
    """An address as `address.parse` allows it, its domain in A-labels."""
    subject: str
    text: str
    html: str = ""
    """The same for mail programs that show it; empty: there is the text only."""
    attachments: tuple[Attachment, ...] = ()
    language: str = "en"


def compose(letter: Letter, *, hostname: str, now: int, message_id: str) -> bytes:
    """The message as bytes, CRLF line ends, ASCII unless the address is not. `message_id`: the id under which it lives."""
    host = _token(hostname) or "localhost"
    message = EmailMessage(policy=SMTP)
    message["Date"] = date(now)
    message["From"] = Mailbox("Gatepost", "gatepost", host)
    message["Subject"] = " ".join(printable(letter.subject).split())[:MAX_SUBJECT]
    message["Message-ID"] = f"<{_token(message_id)}@{host}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_lines(letter.text), cte="quoted-printable")
    message["Content-Language"] = _token(letter.language)
    if letter.html:
        message.add_alternative(_lines(letter.html), subtype="html", cte="quoted-printable")
    for attachment in letter.attachments:
        kind, _, subtype = attachment.kind.partition("/")
        message.add_attachment(attachment.content, maintype=kind, subtype=subtype, filename=printable(attachment.name))
    # Neither quoted-printable nor base64 can have "=_" in it.
    for number, part in enumerate(part for part in message.walk() if part.is_multipart()):
        part.set_boundary(f"=_{_token(message_id)}_{number}")
    # An address is text as it stands (RFC 5322 3.4.1): the library would unquote what it folds, and decode what looks encoded.
    return b"To: " + letter.to.encode() + b"\r\n" + message.as_bytes()


def id_of(to: str, partitions: int, at: int, cause: str) -> str:
    """Derived from what it is written for, so that whoever writes it, it is one message. `at`: a moment that all agree on (ns)."""
    return derived_id(at, partition_for(to.rpartition("@")[2].lower(), partitions), f"{cause}\n{to}")


def received(to: str, *, origin: str, size: int, now: int, lifetime: int, cause: str = "") -> Received:
    """Its first event. `cause`: what it is written for, where that has an id."""
    utf8 = not to.isascii()
    return Received(
        at=now, domain=to.rpartition("@")[2].lower(), sender="", recipients=(RecipientSpec(address=to),), size=size,
        expires=now + lifetime, origin=origin, cause=cause, eight_bit=utf8, smtputf8=utf8,
    )  # fmt: skip


def _lines(text: str) -> str:
    """Lines that end in one way, of what can be shown."""
    return printable(text.replace("\r\n", "\n").replace("\r", "\n"), keep="\n\t")


def _token(text: str) -> str:
    """A name of ours in a place where only letters, digits and a little else can stand."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)
