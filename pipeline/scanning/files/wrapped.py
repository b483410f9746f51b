"""Files within mail that are no MIME parts: winmail.dat (MS-OXTNEF), uuencode (POSIX), yEnc; and within documents: OLE packages."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Final

from pipeline.scanning.files.listing import MAX_NAME, Listing, Member
from pipeline.scanning.files.octets import Octets

MAX_WRAPPED: Final = 100
"""Files in one part."""
_MAX_ATTRIBUTES: Final = 20_000
_TITLE, _DATA, _PROPERTIES = 0x8010, 0x800F, 0x9005
_LONG_NAME: Final = re.compile(rb"[\x1e\x1f]\x00\x07\x37\x01\x00\x00\x00")
"""PidTagAttachLongFilename, as one string: behind it its length and its octets."""
_UU: Final = re.compile(rb"(?:\A|\n)begin(?:-base64)? [0-7]{3,4} ([^\r\n]{1,300})\r?\n")
_YENC: Final = re.compile(rb"(?:\A|\n)=ybegin [^\r\n]{0,200}?\bname=([^\r\n]{1,300})")
UU_PEEK: Final = 200
"""Lines of uuencoded octets that are undone: 9,000 octets, enough to say what they are."""


def read_tnef(octets: Octets) -> Listing:
    """Attributes one behind the other: level, id, length, octets, checksum. A title, its data and its properties are a file."""
    members: list[Member] = []
    name, data = "", octets.window(0, 0)
    at = 6
    for _ in range(_MAX_ATTRIBUTES):
        if at + 11 > len(octets) or len(members) >= 2 * MAX_WRAPPED:
            break
        head = octets.read(at, 9)
        length = int.from_bytes(head[5:9], "little")
        begin = at + 9
        kind = int.from_bytes(head[1:3], "little")
        if kind == _TITLE:
            name = _text(octets.read(begin, min(length, MAX_NAME)))
            members.append(Member(name, data))
        elif kind == _DATA:
            data = octets.window(begin, begin + length)
            members.append(Member(name, data))
        elif kind == _PROPERTIES:
            long_name = _long_name(octets.read(begin, min(length, 64 << 10)))
            if long_name:
                members.append(Member(long_name, data))
        at = begin + length + 2
    return Listing(tuple(members), cut=len(members) >= 2 * MAX_WRAPPED)


def _long_name(properties: bytes) -> str:
    match = _LONG_NAME.search(properties)
    if match is None:
        return ""
    at = match.end()
    length = min(int.from_bytes(properties[at : at + 4], "little"), 2 * MAX_NAME)
    value = properties[at + 4 : at + 4 + length]
    if match[0][0] == 0x1F:
        return value.decode("utf-16-le", "replace").partition("\0")[0]
    return _text(value)


def _text(octets: bytes) -> str:
    return octets.partition(b"\0")[0].decode("cp1252", "replace")


def written_in(text: bytes) -> Iterator[Member]:
    """Files that stand in a text: their names, and the beginning of what is uuencoded."""
    if b"begin" in text:
        for number, match in enumerate(_UU.finditer(text)):
            if number == MAX_WRAPPED:
                return
            base64 = b"-base64 " in match[0]
            yield Member(_decoded(match[1]), Octets(_uu(text[match.end() : match.end() + 64 * UU_PEEK], base64=base64)))
    if b"=ybegin" in text:
        for number, match in enumerate(_YENC.finditer(text)):
            if number == MAX_WRAPPED:
                return
            yield Member(_decoded(match[1]))


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "replace").strip()


def _uu(lines: bytes, *, base64: bool) -> bytes:
    out: list[bytes] = []
    for line in lines.splitlines()[:UU_PEEK]:
        if line in (b"end", b"`", b""):
            break
        try:
            out.append(binascii.a2b_base64(line) if base64 else binascii.a2b_uu(line))
        except binascii.Error:
            break
    return b"".join(out)


def read_package(stream: bytes) -> Member | None:
    """An OLE package's Ole10Native stream: label, path, and the file as it was put in."""
    at = 6
    label, _, rest = stream[at : at + MAX_NAME].partition(b"\0")
    path = rest.partition(b"\0")[0]
    if not label and not path:
        return None
    at += len(label) + len(path) + 2 + 4
    temporary = int.from_bytes(stream[at : at + 4], "little")
    at += 4 + temporary
    size = int.from_bytes(stream[at : at + 4], "little")
    name = max((label, path), key=lambda one: b"." in one[-20:])
    return Member(_text(name), Octets(stream[at + 4 : at + 4 + size]))
