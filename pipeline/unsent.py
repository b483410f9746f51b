"""Why a sender is not told what became of a message: pure.

A bounce goes to whoever the envelope names, which anybody can write there. So it is sent only where it does good: to a person, who
did send the message and wants to know. Machines and lists would answer it, or take the wrong step (RFC 3834 2, RFC 5321 4.5.5);
somebody whose address was forged would get it instead of the forger (RFC 7489 10.3: such mail must not be bounced).

What a sender is not told, the recipient's postmaster finds in the quarantine; so when in doubt nothing is sent. No bounce therefore
where SPF says `fail`, where it says `softfail` and DMARC does not clear the message, where DMARC says `fail` whatever SPF says, and
of what was not judged clean. Authentication that could not be judged, or that a domain does not have, is no reason.
"""

from __future__ import annotations

import re
from typing import Final

from pipeline.state import Message, Recipient

MAX_HEADER: Final = 64 << 10
"""Octets of a header that are looked at."""

TOO_MANY: Final = "too many bounces to that sender or domain in this hour"

_NOT_BAD: Final = ("", "clean", "bulk")
"""What bulk mail is, its header says: a list or none."""
_DAEMONS: Final = frozenset({"mailer-daemon", "listserv", "majordomo"})
_LIST_SENDER: Final = re.compile(r"owner-.+|.+-(?:owner|request|bounces)(?:\+.*)?", re.DOTALL)
"""Whom lists send as: RFC 2142 6, RFC 3834 2, and Mailman's VERP."""
_LIST_FIELD: Final = re.compile(rb"^(?:list-[a-z-]+|mailing-list|x-mailing-list)[ \t]*+:", re.IGNORECASE | re.MULTILINE)
_BULK: Final = (b"bulk", b"list", b"junk")


def unsent(message: Message, recipient: Recipient, header: bytes) -> str:
    """Why no bounce is to be sent for this recipient; empty when one is. `header`: the beginning of the message.

    Who asked for none gets none (RFC 3461 4.1).
    """
    return unasked(recipient) or unreturned(message, header)


def unasked(recipient: Recipient) -> str:
    """What the sender's own wish says of one recipient."""
    notify = {word.strip() for word in recipient.notify.upper().split(",") if word.strip()}
    return "sender asked for none (NOTIFY)" if notify and "FAILURE" not in notify else ""


def unreturned(message: Message, header: bytes) -> str:
    """What the message says, for all its recipients."""
    return unwanted(message, header, suppressed=(b"ndr", b"all"))


def unwarned(message: Message, header: bytes) -> str:
    """Why no word is to be sent of a delay or of a delivery; empty when one is, should it be wanted."""
    return unwanted(message, header, suppressed=(b"dr", b"all"))


def unwanted(message: Message, header: bytes, *, suppressed: tuple[bytes, ...]) -> str:
    """Why nothing is to be sent to this sender. `suppressed`: words of X-Auto-Response-Suppress (MS-OXCMAIL 2.2.3.2.14)."""
    return _of_sender(message) or _of_authentication(message) or _of_header(header_only(header), suppressed)


def _of_sender(message: Message) -> str:
    if message.origin == "bounce" or not message.sender:
        return "null sender"
    if message.origin == "release":
        return "it was released from the quarantine"
    local = message.sender.rpartition("@")[0].casefold()
    if local in _DAEMONS:
        return "sender is a mailer daemon"
    return "sender is a list" if _LIST_SENDER.fullmatch(local) else ""


def _of_authentication(message: Message) -> str:
    if message.verdict not in _NOT_BAD:
        return f"message was judged to be {message.verdict}"
    results = {found.method: found.result for found in message.auth if found.method in ("spf", "dmarc")}
    dmarc, spf = results.get("dmarc"), results.get("spf")
    if dmarc == "fail":
        return "sender failed authentication (DMARC)"
    if spf == "fail" or (spf == "softfail" and dmarc != "pass"):
        return f"sender failed authentication (SPF {spf})"
    return ""


def _of_header(header: bytes, suppressed: tuple[bytes, ...]) -> str:
    if _word(header, b"auto-submitted") not in (b"", b"no"):
        return "message is automatic (Auto-Submitted)"
    if _word(header, b"precedence") in _BULK:
        return "message is bulk mail (Precedence)"
    if _LIST_FIELD.search(header):
        return "message is from a list"
    words = {word.strip() for word in _value(header, b"x-auto-response-suppress").lower().split(b",")}
    return "message asks for none (X-Auto-Response-Suppress)" if words.intersection(suppressed) else ""


def header_only(header: bytes) -> bytes:
    """The header block of what begins with one, at most MAX_HEADER of it, whole lines."""
    end = header.find(b"\r\n\r\n", 0, MAX_HEADER)
    if header.startswith(b"\r\n"):
        return b""
    if end >= 0:
        return header[: end + 2]
    cut = header[:MAX_HEADER]
    return cut if len(header) <= MAX_HEADER and cut.endswith(b"\r\n") else cut[: cut.rfind(b"\n") + 1]


def _value(header: bytes, field: bytes) -> bytes:
    """What a field says, folds and all, at most 1,000 octets; empty without the field."""
    match = re.search(
        rb"^" + field + rb"[ \t]*+:((?:[^\r\n]|\r?\n(?=[ \t])){0,1000})", header, re.IGNORECASE | re.MULTILINE
    )
    return match[1] if match else b""


def _word(header: bytes, field: bytes) -> bytes:
    """The first word of a field, lower case; empty without the field."""
    match = re.match(rb"\s*+([^\s;(]*+)", _value(header, field))
    assert match is not None
    return match[1].lower()
