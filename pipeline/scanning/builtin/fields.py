"""What is odd in what the fields say: the subject, the date as it is written, the form of the Message-ID, whom it is for.

Each of them is met in honest mail now and then, so each weighs little. How often, in a public collection of mail, and why the
scores are as they are: docs/lists.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pipeline.events import Finding
from pipeline.mime import Header
from pipeline.scanning.engine import Mail

MANY: Final = 20
"""Addresses in To and Cc."""

_UNDISCLOSED: Final = Finding(name="TO_UNDISCLOSED", score=0.8, text="To names nobody (undisclosed recipients)")
_EMPTY: Final = Finding(name="SUBJECT_EMPTY", score=0.4, text="an empty Subject")
_CAPITALS: Final = Finding(name="SUBJECT_CAPITALS", score=1.2, text="a Subject all in capitals")
_SYMBOLS: Final = Finding(name="SUBJECT_SYMBOLS", score=1.0, text="a Subject with many odd characters")
_SHOUTS: Final = Finding(name="SUBJECT_EXCLAIMS", score=0.8, text="a Subject with several exclamation marks")
_GAP: Final = Finding(name="SUBJECT_GAP", score=1.8, text="something far behind the end of the Subject, out of sight")
_ENCODED: Final = Finding(name="SUBJECT_ENCODED", score=0.2, text="a Subject encoded without need (RFC 2047 5)")
_EIGHT_BIT: Final = Finding(
    name="HEADER_8BIT", score=0.5, text="8-bit characters in a field, not encoded (RFC 5322 2.2)"
)
_FORM: Final = Finding(
    name="MESSAGE_ID_FORM", score=0.8, text="a Message-ID not in the form <left@right> (RFC 5322 3.6.4)"
)
_ZONE: Final = Finding(name="DATE_ZONE_IMPOSSIBLE", score=2.0, text="a Date in a time zone that does not exist")
_NO_ZONE: Final = Finding(name="DATE_ZONE_MISSING", score=1.0, text="a Date without a time zone (RFC 5322 3.3)")
_TO_MANY: Final = Finding(name="TO_MANY", score=0.8, text=f"{MANY} or more addresses in To and Cc")
_BASE64: Final = Finding(
    name="TEXT_BASE64", score=0.5, text="plain ASCII text in base64, as if to hide it (RFC 2045 6)"
)

_PREFIX: Final = re.compile(r"(?:(?:re|fwd?|aw|wg|sv|antw)\s*+:|\[[^\]]*+\])\s*+", re.IGNORECASE)
_ODD: Final = frozenset("!$*%#~^|<>={}\\_+@")
_MESSAGE_ID: Final = re.compile(rb"\s*+<[^<>\s@]++@[^<>\s]++>\s*+(?:\([^()]*+\)\s*+)?")
_OFFSET: Final = re.compile(rb":\d\d\s*+([+-])(\d\d)(\d\d)\b")
_TIME: Final = re.compile(rb"\d{1,2}:\d\d(?::\d\d)?\s*+(\S?)")
_MINUTES: Final = (b"00", b"15", b"30", b"45")


def fields(mail: Mail) -> list[Finding]:
    header = mail.header
    index = header.index
    found = list(_subject(header)) if b"subject" in index else []
    if b"date" in index:
        found += _date(header.value(b"date"))
    if b"@" in header.value(b"message-id") and _MESSAGE_ID.fullmatch(header.value(b"message-id")) is None:
        found.append(_FORM)
    found += _addressees(header)
    if not mail.message.smtputf8 and any(
        not value.isascii() for name in (b"from", b"to", b"subject") for value in index.get(name, ())
    ):
        found.append(_EIGHT_BIT)
    if _is_wrapped(mail):
        found.append(_BASE64)
    return found


def _subject(header: Header) -> Iterator[Finding]:
    subject = header.subject
    if not subject.strip():
        yield _EMPTY
        return
    own = _PREFIX.sub("", subject)
    letters = [one for one in own if one.isalpha()]
    if len(letters) >= 12 and "".join(letters).isupper():
        yield _CAPITALS
    if len(own) >= 8 and sum(one in _ODD for one in own) > 0.15 * len(own):
        yield _SYMBOLS
    if own.count("!") >= 2:
        yield _SHOUTS
    if "     " in subject.strip():
        yield _GAP
    raw = header.value(b"subject")
    # ISO-2022 is 7-bit by nature, and has to be encoded.
    if b"=?" in raw and subject.isascii() and b"iso-2022" not in raw.lower():
        yield _ENCODED


def _date(value: bytes) -> Iterator[Finding]:
    offset = _OFFSET.search(value)
    if offset is not None:
        # From -12:00 to +14:00 there are zones.
        if int(offset[2]) > (14 if offset[1] == b"+" else 12) or offset[3] not in _MINUTES:
            yield _ZONE
        return
    time = _TIME.search(value)
    if time is not None and not time[1]:
        yield _NO_ZONE


def _addressees(header: Header) -> Iterator[Finding]:
    if b"undisclosed" in header.value(b"to")[:200].lower():
        yield _UNDISCLOSED
    if header.value(b"to").count(b"@") + header.value(b"cc").count(b"@") >= MANY:
        yield _TO_MANY


def _is_wrapped(mail: Mail) -> bool:
    """A text that is shown and needs no encoding, in base64."""
    for part in mail.parts:
        if part.encoding == "base64" and part.content_type in ("text/plain", "text/html") and not part.attached:
            head = part.head
            # ISO-2022 is ASCII to the eye of a program, and long lines need an encoding as well.
            return bool(head) and head.isascii() and b"\x1b" not in head and max(map(len, head.split(b"\n"))) < 998
    return False
