"""ZIP (APPNOTE 4.3.7, 4.3.12, 4.3.14 to 4.3.16).

For the names both kinds of header are taken wherever they stand: programs differ in whether they trust the local headers or the
central directory, some find an archive behind other octets, and an archive stored within the archive shows its names too. The
central directory that a program would use says how large all would be.
"""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple

from pipeline.scanning.files.listing import MAX_ENTRIES, MAX_NAME, Listing, Member, bomb_of
from pipeline.scanning.files.octets import Octets

# Signature, version needed below 10.0, flags, method below 100: enough to tell a header from octets that look like one by chance.
_HEADER: Final = re.compile(rb"PK(?:\x03\x04|\x01\x02[\x00-\xff]{2})[\x00-\x63][\x00-\xff]{3}[\x00-\x63]\x00")
_LOCAL: Final = struct.Struct("<6xHH8xI4xHH")
"""Flags, method, packed size, length of the name and of the extra field; behind it the name. 30 octets."""
_CENTRAL: Final = struct.Struct("<8xHH8xIIHHH12x")
"""Flags, method, packed and unpacked size, lengths of name, extra field and comment. 46 octets."""
_CENTRAL_FLAGS: Final = struct.Struct("<8xH18xH16x")
_END: Final = struct.Struct("<4x6xHIIH")
_END_SIZE: Final = 22
_END64_SIZE: Final = 56 + 20
_ENCRYPTED: Final = 0x0001
_DESCRIPTOR: Final = 0x0008
_UTF8: Final = 0x0800
_METHODS: Final = {0: "stored", 8: "deflate", 12: "bzip2"}
_UNKNOWN: Final = 0xFFFFFFFF
_MAX_TRIES: Final = 3 * MAX_ENTRIES
"""What looks like a header is tried so often, whether it is one or not."""
_OVERLAP: Final = 2
"""Packed octets of all entries to the octets that there are, from which on they share them."""


class _Found(NamedTuple):
    member: Member
    encrypted: bool


def read_zip(octets: Octets) -> Listing:
    """Each entry of a regular archive appears twice, once with its octets."""
    members: list[Member] = []
    encrypted = cut = False
    for number, (at, match) in enumerate(octets.finditer(_HEADER)):
        if number == _MAX_TRIES:
            cut = True
            break
        found = _local(octets, at) if match[0][2] == 3 else _central(octets, at)
        if found is not None:
            members.append(found.member)
            encrypted = encrypted or found.encrypted
            if len(members) == MAX_ENTRIES:
                cut = True
                break
    return Listing(tuple(members), encrypted=encrypted, cut=cut, bomb=_bomb(octets))


def _local(octets: Octets, at: int) -> _Found | None:
    header = octets.read(at, _LOCAL.size)
    if len(header) < _LOCAL.size:
        return None
    flags, method, packed, length, extra = _LOCAL.unpack(header)
    name = _name(octets.read(at + _LOCAL.size, min(length, MAX_NAME + 1)), length, flags)
    if name is None:
        return None
    if flags & _ENCRYPTED:
        return _Found(Member(name), encrypted=True)
    begin = at + _LOCAL.size + length + extra
    # With a data descriptor the size stands behind the octets, and with ZIP64 elsewhere: the packed stream knows its end.
    open_end = packed == _UNKNOWN or (packed == 0 and flags & _DESCRIPTOR)
    known = _METHODS.get(method)
    window = octets.window(begin, None if open_end else begin + packed) if known else None
    return _Found(Member(name, window, known or "stored"), encrypted=False)


def _central(octets: Octets, at: int) -> _Found | None:
    header = octets.read(at, _CENTRAL_FLAGS.size)
    if len(header) < _CENTRAL_FLAGS.size:
        return None
    flags, length = _CENTRAL_FLAGS.unpack(header)
    name = _name(octets.read(at + _CENTRAL_FLAGS.size, min(length, MAX_NAME + 1)), length, flags)
    return None if name is None else _Found(Member(name), encrypted=bool(flags & _ENCRYPTED))


def _name(name: bytes, length: int, flags: int) -> str | None:
    if not 0 < length <= MAX_NAME or len(name) < length:
        return None
    if flags & _UTF8 or name.isascii():
        return name.decode("utf-8", "replace")
    return name.decode("cp437")


def _bomb(octets: Octets) -> str:
    """By the central directory: files that share their octets (Fifield's bomb), or unpack to what no file does."""
    end = octets.rfind(b"PK\x05\x06", len(octets) - _END_SIZE - 0xFFFF)
    if end < 0 or len(octets) - end < _END_SIZE:
        return ""
    _, size, _, _ = _END.unpack(octets.read(end, _END_SIZE))
    at = end - size if size <= end else octets.find(b"PK\x01\x02")
    if octets.read(at, 4) != b"PK\x01\x02":
        at -= _END64_SIZE
    packed = unpacked = 0
    for _ in range(MAX_ENTRIES):
        header = octets.read(at, 46)
        if len(header) < 46 or header[:4] != b"PK\x01\x02":
            break
        _, _, in_, out, name, extra, comment = _CENTRAL.unpack(header)
        if _UNKNOWN in (in_, out):
            in_, out = _zip64(octets.read(at + 46 + name, extra), in_, out)
        packed += in_
        unpacked += out
        at += 46 + name + extra + comment
    if packed > _OVERLAP * len(octets):
        return f"{len(octets):,} octets whose files share them and unpack to {unpacked:,}"
    return bomb_of(unpacked, len(octets))


def _zip64(extra: bytes, packed: int, unpacked: int) -> tuple[int, int]:
    """APPNOTE 4.5.3: the sizes that did not fit, in the order unpacked, packed."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = [int.from_bytes(extra[i : i + 8], "little") for i in range(at + 4, at + 4 + length - 7, 8)]
            if unpacked == _UNKNOWN and values:
                unpacked = values.pop(0)
            if packed == _UNKNOWN and values:
                packed = values.pop(0)
            break
        at += 4 + length
    return packed, unpacked
