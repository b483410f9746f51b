"""RAR, the names in it: the block headers of RAR 1.5 to 4 and of RAR 5 (rarlab.com/technote.htm). Nothing is unpacked."""

from __future__ import annotations

import struct
from typing import Final

from pipeline.scanning.files.listing import MAX_ENTRIES, MAX_NAME, Listing, Member, bomb_of
from pipeline.scanning.files.octets import Octets

_MAX_HEADER: Final = 64 << 10

# RAR 4
_BLOCK: Final = struct.Struct("<2xBHH")
_FILE: Final = struct.Struct("<II1x4x4x1xBH4x")
"""Packed and unpacked size, method, length of the name; behind the 7 octets that all blocks have."""
_MAIN4, _FILE4, _END4 = 0x73, 0x74, 0x7B
_NAMES_ENCRYPTED: Final = 0x0080
_FILE_ENCRYPTED: Final = 0x0004
_LARGE: Final = 0x0100
_UNICODE: Final = 0x0200
_MORE: Final = 0x8000
_STORED4: Final = 0x30

# RAR 5
_FILE5, _ENCRYPTION5, _END5 = 2, 4, 5
_EXTRA5, _DATA5, _TIME5, _CRC5 = 0x01, 0x02, 0x02, 0x04
_FILE_ENCRYPTION5: Final = 1


def read_rar4(octets: Octets) -> Listing:
    members: list[Member] = []
    encrypted = False
    unpacked_total = 0
    at = 7
    for _ in range(MAX_ENTRIES):
        head = octets.read(at, _BLOCK.size)
        if len(head) < _BLOCK.size:
            break
        kind, flags, size = _BLOCK.unpack(head)
        if size < _BLOCK.size or kind == _END4:
            break
        block = octets.read(at, size)
        data = 0
        if kind == _MAIN4 and flags & _NAMES_ENCRYPTED:
            return Listing(encrypted=True, hidden=True)
        if kind == _FILE4 and len(block) >= _BLOCK.size + _FILE.size:
            data, unpacked, method, length = _FILE.unpack_from(block, _BLOCK.size)
            name_at = _BLOCK.size + _FILE.size
            if flags & _LARGE and len(block) >= name_at + 8:
                high = struct.unpack_from("<II", block, name_at)
                data, unpacked, name_at = data | high[0] << 32, unpacked | high[1] << 32, name_at + 8
            begin = at + size
            locked = bool(flags & _FILE_ENCRYPTED)
            readable = method == _STORED4 and not locked
            name = _name4(block[name_at : name_at + min(length, MAX_NAME)], unicode=bool(flags & _UNICODE))
            members.append(Member(name, octets.window(begin, begin + data) if readable else None))
            encrypted = encrypted or locked
            unpacked_total += unpacked
        elif flags & _MORE and len(block) >= _BLOCK.size + 4:
            data = int.from_bytes(block[_BLOCK.size : _BLOCK.size + 4], "little")
        at += size + data
    else:
        return Listing(tuple(members), encrypted=encrypted, cut=True)
    return Listing(tuple(members), encrypted=encrypted, bomb=bomb_of(unpacked_total, len(octets)))


def _name4(octets: bytes, *, unicode: bool) -> str:
    """RAR writes the name in the system's code page and, behind a NUL, what to change to make it Unicode: the endings are the same."""
    plain, _, packed = octets.partition(b"\0")
    if unicode and not packed and not plain.isascii():
        return plain.decode("utf-8", "replace")
    return plain.decode("latin-1")


class _Numbers:
    """RAR 5's numbers: seven bits to the octet, the lowest first."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at
        self.failed = False

    def next(self) -> int:
        value = shift = 0
        while self.at < len(self.data) and shift < 70:
            octet = self.data[self.at]
            self.at += 1
            value |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                return value
        self.failed = True
        return 0


def read_rar5(octets: Octets) -> Listing:
    members: list[Member] = []
    encrypted = False
    unpacked_total = 0
    at = 8
    for _ in range(MAX_ENTRIES):
        lead = _Numbers(octets.read(at + 4, 10))
        size = lead.next()
        if lead.failed or not 0 < size <= _MAX_HEADER:
            break
        body_at = at + 4 + lead.at
        block = octets.read(body_at, size)
        numbers = _Numbers(block)
        kind, flags = numbers.next(), numbers.next()
        extra = numbers.next() if flags & _EXTRA5 else 0
        data = numbers.next() if flags & _DATA5 else 0
        if numbers.failed or kind == _END5:
            break
        if kind == _ENCRYPTION5:
            return Listing(tuple(members), encrypted=True, hidden=True)
        begin = body_at + size
        if kind == _FILE5:
            member, unpacked = _file5(numbers, octets.window(begin, begin + data))
            locked = _is_encrypted5(block[max(len(block) - extra, 0) :] if extra else b"")
            members.append(member._replace(octets=None) if locked else member)
            encrypted = encrypted or locked
            unpacked_total += unpacked
        at = begin + data
    else:
        return Listing(tuple(members), encrypted=encrypted, cut=True)
    return Listing(tuple(members), encrypted=encrypted, bomb=bomb_of(unpacked_total, len(octets)))


def _file5(numbers: _Numbers, data: Octets) -> tuple[Member, int]:
    file_flags, unpacked = numbers.next(), numbers.next()
    numbers.next()
    numbers.at += (4 if file_flags & _TIME5 else 0) + (4 if file_flags & _CRC5 else 0)
    method = numbers.next() >> 7 & 7
    numbers.next()
    length = min(numbers.next(), MAX_NAME)
    name = numbers.data[numbers.at : numbers.at + length].decode("utf-8", "replace")
    return Member(name, data if method == 0 else None), unpacked


def _is_encrypted5(extra: bytes) -> bool:
    numbers = _Numbers(extra)
    for _ in range(50):
        size = numbers.next()
        begin = numbers.at
        kind = numbers.next()
        if numbers.failed:
            return False
        if kind == _FILE_ENCRYPTION5:
            return True
        numbers.at = begin + size
    return False
