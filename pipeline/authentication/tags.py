"""Tag lists (RFC 6376 3.2, RFC 8616 3): the grammar that signatures, seals and key records share."""

from __future__ import annotations

import binascii
import re
from typing import Final, NamedTuple

MAX_TAGS: Final = 50
"""DKIM knows 13 tags and ARC 3 more; a list of 50 is no signature."""

_FWS: Final = b" \t\r\n"
_TAG: Final = re.compile(rb"[ \t\r\n]*+([A-Za-z][A-Za-z0-9_]*+)[ \t\r\n]*+=([^;]*+)(?:;[ \t\r\n]*+|\Z)")
# VALCHAR and FWS; RFC 8616 adds all that is not ASCII.
_FOREIGN: Final = re.compile(rb"[^\t\n\r -~\x80-\xff]")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]")
_HEX: Final = re.compile(rb"=([0-9A-F]{2})")


class Malformed(ValueError):
    """Not what the grammar allows. The text says what is wrong and quotes nothing."""


class Tag(NamedTuple):
    value: bytes
    """Without the white space around it."""
    start: int
    end: int
    """Where the value is in the text, with the white space around it."""


def parse(text: bytes) -> dict[bytes, Tag]:
    """The tags of a list by name; names are case-sensitive, and none may be there twice. Raises Malformed."""
    if _FOREIGN.search(text):
        raise Malformed("a control character in the tag list")
    found: dict[bytes, Tag] = {}
    at = 0
    while at < len(text):
        match = _TAG.match(text, at)
        if match is None:
            raise Malformed("not a list of tags")
        name = match[1]
        if name in found:
            raise Malformed("a tag that is there twice")
        if len(found) == MAX_TAGS:
            raise Malformed("more tags than are looked at")
        found[name] = Tag(match[2].strip(_FWS), match.start(2), match.end(2))
        at = match.end()
    return found


def base64_value(value: bytes) -> bytes:
    """The octets of a base64string (RFC 6376 2.10): white space may be anywhere in it. Raises Malformed.

    Padding may be missing, as it is in some key records; its presence changes nothing that is signed.
    """
    digits = value.translate(None, _FWS).rstrip(b"=")
    if not digits or len(digits) % 4 == 1 or _NOT_BASE64.search(digits):
        raise Malformed("not base64")
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def number(value: bytes) -> int:
    """A decimal number of at most 76 digits (RFC 6376 3.5). Raises Malformed."""
    if not value.isdigit() or len(value) > 76:
        raise Malformed("not a number")
    return int(value)


def listed(value: bytes) -> list[bytes]:
    """The parts of a colon-separated list, in lower case. Empty ones are passed over: they name nothing."""
    return [part for part in (part.strip(_FWS) for part in value.lower().split(b":")) if part]


def quoted_printable(value: bytes, limit: int) -> str:
    """The text of a dkim-quoted-printable (RFC 6376 2.11) of at most `limit` octets: UTF-8, printable. Raises Malformed."""
    if len(value) > limit:
        raise Malformed("too long")
    octets = _HEX.sub(lambda match: bytes((int(match[1], 16),)), value.translate(None, _FWS))
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    if not text.isprintable():
        raise Malformed("not printable")
    return text
