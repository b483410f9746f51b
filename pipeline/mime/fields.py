"""Values with a grammar of their own: dates and mailboxes (RFC 5322 3.3, 3.4), read with tolerance, in linear time."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final, NamedTuple

from pipeline.mime.words import decode_words, plain

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), start=1
    )
}
_DATE: Final = re.compile(
    rb"(?:[A-Za-z]{2,9}[.,\s]{1,3})?(\d{1,2})[\s-]{1,5}([A-Za-z]{3})[a-z]{0,6}[.\s-]{1,5}(\d{2,4})[\s,]{1,5}"
    rb"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?(?:\s{0,5}([+-]\d\d)(\d\d)|\s{1,5}\(?([A-Za-z]{1,5}))?"
)
# RFC 5322 4.3. Every other name says nothing and counts as UTC.
_ZONES: Final = {b"edt": -4, b"est": -5, b"cdt": -5, b"cst": -6, b"mdt": -6, b"mst": -7, b"pdt": -7, b"pst": -8}
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

MAX_MAILBOXES: Final = 50
_MAX_VALUE: Final = 16 << 10
_SIMPLE: Final = re.compile(rb'"?([^"<>(),:;@\\]*+)"?\s*+<([^<>\s"(),:;]++)>')
_TOKEN: Final = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*"?|\([^()\\]*+(?:\\.[^()\\]*+)*\)?|<[^<>]*+>?|[,;]|[^"(<,;]++', re.DOTALL
)
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)


def date_of(value: bytes) -> int | None:
    """An unfolded date-time (RFC 5322 3.3, and the obsolete forms of 4.3) in ns since the epoch; None when it is none."""
    match = _DATE.match(value)
    if match is None:
        return None
    day, month, year, hour, minute, second, zone_hours, zone_minutes, zone = match.groups()
    number = int(year)
    if len(year) < 4:
        number += 2000 if number < 50 else 1900
    try:
        local = dt.datetime(
            number, _MONTHS.get(month.lower(), 0), int(day), int(hour), int(minute), min(int(second or 0), 59), tzinfo=dt.UTC
        )  # fmt: skip
    except ValueError:
        return None
    if zone_hours is not None:
        offset = (abs(int(zone_hours)) * 60 + int(zone_minutes)) * (-60 if zone_hours[:1] == b"-" else 60)
    else:
        offset = _ZONES.get((zone or b"").lower(), 0) * 3600
    since = local - _EPOCH
    return (since.days * 86400 + since.seconds - offset) * 1_000_000_000


class Mailbox(NamedTuple):
    display: str
    """Decoded, fit to be shown."""
    address: str
    """Empty when there is none."""


def mailboxes(value: bytes) -> list[Mailbox]:
    """Those of an unfolded address list, at most 50. Comments count as display names, groups are opened."""
    simple = _SIMPLE.fullmatch(value)
    if simple is not None:
        return [_mailbox(simple[1], simple[2])]
    found: list[Mailbox] = []
    words: list[bytes] = []
    comments: list[bytes] = []
    address: bytes | None = None
    for token in (*_TOKEN.findall(value[:_MAX_VALUE]), b","):
        kind = token[:1]
        if kind in (b",", b";"):
            if words or comments or address is not None:
                found.append(_compose(words, comments, address))
            if len(found) == MAX_MAILBOXES:
                break
            words, comments, address = [], [], None
        elif kind == b"<":
            address = token.strip(b"<> \t") if address is None else address
        elif kind == b"(":
            comments.append(_ESCAPE.sub(rb"\1", token.strip(b"()")))
        elif kind == b'"':
            words.append(_ESCAPE.sub(rb"\1", token[1:-1] if token.endswith(b'"') else token[1:]))
        elif token.strip():
            words.append(token.strip())
    return found


def _compose(words: list[bytes], comments: list[bytes], address: bytes | None) -> Mailbox:
    if address is not None:
        return _mailbox(b" ".join(words or comments), address.rpartition(b":")[2])
    text = b"".join(words)
    if b"@" in text:
        return _mailbox(b" ".join(comments), text.rpartition(b":")[2])
    return _mailbox(b" ".join((*words, *comments)), b"")


def _mailbox(display: bytes, address: bytes) -> Mailbox:
    return Mailbox(plain(decode_words(display.strip()), 500), plain(decode_words(address), 500))
