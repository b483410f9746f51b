"""What a header should have and has not, has twice, or claims falsely.

Each oddity weighs little: scripts leave out the date, old programs write strange ones, and people forward mail. Only several
together reach a threshold. RFC 5322 3.6 says which fields there must be and how often.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pipeline.events import Finding
from pipeline.mime import Flaw, Header, Mailbox
from pipeline.scanning.engine import Mail
from pipeline.units import SECOND

_DAY: Final = 86400 * SECOND
FUTURE: Final = 2 * _DAY
"""A wrong time zone is no more than one day off."""
PAST: Final = 30 * _DAY
"""Queues hold a message for a week; forwarded ones may be older."""

_MISSING: Final = {
    b"from": Finding(name="FROM_MISSING", score=1.0, text="no From field"),
    b"date": Finding(name="DATE_MISSING", score=0.5, text="no Date field"),
    b"message-id": Finding(name="MESSAGE_ID_MISSING", score=0.5, text="no Message-ID field"),
    b"subject": Finding(name="SUBJECT_MISSING", score=0.2, text="no Subject field"),
}
_SINGLE: Final = {
    b"from": 2.0, b"sender": 1.0, b"subject": 1.5, b"date": 1.0, b"message-id": 1.0, b"to": 0.5, b"cc": 0.5,
    b"reply-to": 1.0, b"in-reply-to": 0.2, b"references": 0.2,
}  # fmt: skip
"""Fields of which there may be one, and what each kind adds when there are more."""

_STRUCTURE: Final = {
    Flaw.DEEP: Finding(name="MIME_TOO_DEEP", score=10.0, text=Flaw.DEEP, kind="content"),
    Flaw.MANY: Finding(name="MIME_TOO_MANY", score=10.0, text=Flaw.MANY, kind="content"),
    Flaw.UNTERMINATED: Finding(name="MIME_UNTERMINATED", score=0.2, text=Flaw.UNTERMINATED),
    Flaw.NO_BOUNDARY: Finding(name="MIME_NO_BOUNDARY", score=1.5, text=Flaw.NO_BOUNDARY),
    Flaw.REUSED: Finding(name="MIME_BOUNDARY_REUSED", score=1.0, text=Flaw.REUSED),
    # Nobody does this by mistake: one program is shown another message than the next.
    Flaw.AMBIGUOUS: Finding(name="MIME_AMBIGUOUS", score=5.0, text=Flaw.AMBIGUOUS),
    Flaw.ENCODED: Finding(name="MIME_ENCODED", score=0.5, text=Flaw.ENCODED),
}

_MALFORMED: Final = Finding(name="HEADER_MALFORMED", score=1.0, text="a header line that is no field, or holds a NUL")
_CUT: Final = Finding(name="HEADER_TOO_LONG", score=3.0, text="more header fields than are looked at")
_NO_ADDRESS: Final = Finding(name="FROM_NO_ADDRESS", score=1.5, text="From holds no address")
_NO_AT: Final = Finding(name="MESSAGE_ID_INVALID", score=0.5, text="Message-ID without @")
_BAD_DATE: Final = Finding(name="DATE_INVALID", score=1.0, text="a Date that cannot be read")
_FUTURE: Final = Finding(name="DATE_FUTURE", score=1.5, text="Date is more than 2 days in the future")
_PAST: Final = Finding(name="DATE_PAST", score=0.5, text="Date is more than 30 days in the past")
_OUR_NAME: Final = Finding(
    name="TRACE_OURS", score=1.5, text="a Received field claims to be from this gateway", kind="spoof"
)

_ADDRESS_IN_TEXT: Final = re.compile(r"[\w.+-]{1,64}@((?:[\w-]{1,63}\.){1,8}[a-zA-Z]{2,24})(?![\w@])")


class Headers:
    def __init__(self, hostname: str) -> None:
        """`hostname`: our own name, as it stands behind `by` in the Received fields that we write."""
        self._hostname = hostname.lower().encode("utf-8", "replace")
        self._by = re.compile(rb"\bby[ \t\r\n]+" + re.escape(self._hostname) + rb"\.?(?=[\s;(]|\Z)", re.IGNORECASE)

    def look(self, mail: Mail) -> list[Finding]:
        header = mail.header
        index = header.index
        findings = [finding for name, finding in _MISSING.items() if name not in index]
        if len(index) < len(header.fields):
            findings += _repeated(header)
        if b"from" in index:
            findings += _authors(header)
        if b"date" in index:
            findings += _dated(header, mail.message.received_at)
        if b"message-id" in index and b"@" not in index[b"message-id"][0]:
            findings.append(_NO_AT)
        if self._is_traced(index.get(b"received", ())):
            findings.append(_OUR_NAME)
        if header.malformed:
            findings.append(_MALFORMED)
        if header.cut:
            findings.append(_CUT)
        if mail.flaws:
            findings += [_STRUCTURE[flaw] for flaw in Flaw if flaw in mail.flaws]
        return findings

    def _is_traced(self, received: Sequence[bytes]) -> bool:
        # The plain search spares most messages the other one.
        name = self._hostname
        return bool(name) and any(name in value.lower() and self._by.search(value) for value in received)


def _repeated(header: Header) -> list[Finding]:
    return [
        Finding(name="HEADER_REPEATED", score=_SINGLE[name], text=f"{len(values)} {name.decode().title()} fields")
        for name, values in header.index.items()
        if len(values) > 1 and name in _SINGLE
    ]


def _authors(header: Header) -> list[Finding]:
    authors = header.authors
    findings = [] if any("@" in author.address for author in authors) else [_NO_ADDRESS]
    claimed = [other for author in authors if "@" in author.display and (other := _claimed(author))]
    if claimed:
        text = f"the sender's name shows an address at {claimed[0]}, which is not where it is from"
        findings.append(Finding(name="FROM_NAME_ADDRESS", score=2.0, text=text, kind="phishing"))
    return findings


def _claimed(author: Mailbox) -> str:
    """The domain of an address in the display name that is not the sender's own domain, nor above or below it."""
    own = "." + author.address.rpartition("@")[2].lower()
    for match in _ADDRESS_IN_TEXT.finditer(author.display):
        domain = "." + match[1].lower()
        if not own.endswith(domain) and not domain.endswith(own):
            return domain[1:]
    return ""


def _dated(header: Header, now: int) -> list[Finding]:
    date = header.date
    if date is None:
        return [_BAD_DATE]
    if date > now + FUTURE:
        return [_FUTURE]
    return [_PAST] if date < now - PAST else []
