"""Cabinets (MS-CAB) and ISO 9660 images with Joliet: the names in them. Nothing is unpacked; what is stored can be looked into."""

from __future__ import annotations

import struct
from typing import Final

from pipeline.scanning.files.listing import MAX_ENTRIES, MAX_NAME, Listing, Member
from pipeline.scanning.files.octets import Octets

_CABINET: Final = struct.Struct("<16xI6xHH")
"""Where the files' entries begin, how many folders and files there are."""
_SECTOR: Final = 2048
_FIRST_DESCRIPTOR: Final = 16
_MAX_DESCRIPTORS: Final = 32
_MAX_DIRECTORIES: Final = 8 << 20
"""Octets of all directories of a tree; they may be made to overlap."""
_PRIMARY, _SUPPLEMENTARY, _LAST = 1, 2, 255
_DIRECTORY: Final = 2


def read_cab(octets: Octets) -> Listing:
    head = octets.read(0, _CABINET.size)
    if len(head) < _CABINET.size:
        return Listing(hidden=True)
    at, _, count = _CABINET.unpack(head)
    members: list[Member] = []
    for _ in range(min(count, MAX_ENTRIES)):
        entry = octets.read(at + 16, 4 * 256)
        name, found, _ = entry.partition(b"\0")
        if not found or not name:
            break
        is_utf8 = octets.read(at + 14, 1) >= b"\x80"
        members.append(Member(name.decode("utf-8" if is_utf8 else "latin-1", "replace")))
        at += 16 + len(name) + 1
    return Listing(tuple(members), cut=count > MAX_ENTRIES)


def read_iso(octets: Octets) -> Listing:
    """Of each of its two trees: Windows shows Joliet's, others the plain one."""
    members: list[Member] = []
    for number in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + _MAX_DESCRIPTORS):
        descriptor = octets.read(number * _SECTOR, 190)
        if len(descriptor) < 190 or descriptor[1:6] != b"CD001" or descriptor[0] == _LAST:
            break
        if descriptor[0] in (_PRIMARY, _SUPPLEMENTARY):
            _tree(octets, descriptor[156:190], members, wide=descriptor[0] == _SUPPLEMENTARY)
    return Listing(tuple(members), cut=len(members) >= MAX_ENTRIES)


def _tree(octets: Octets, root: bytes, members: list[Member], *, wide: bool) -> None:
    waiting = [_extent(root)]
    seen: set[int] = set()
    left = _MAX_DIRECTORIES
    while waiting and left > 0 and len(members) < MAX_ENTRIES:
        begin, size = waiting.pop()
        if begin in seen:
            continue
        seen.add(begin)
        directory = octets.read(begin, min(size, left))
        left -= len(directory)
        for record in _records(directory):
            if len(members) >= MAX_ENTRIES:
                return
            name = record[33 : 33 + record[32]]
            if name in (b"\0", b"\x01"):
                continue
            start, length = _extent(record)
            if record[25] & _DIRECTORY:
                waiting.append((start, length))
            else:
                text = name.decode("utf-16-be" if wide else "latin-1", "replace").partition(";")[0]
                members.append(Member(text[:MAX_NAME], octets.window(start, start + length)))


def _records(directory: bytes) -> list[bytes]:
    """A record does not cross a sector; what is left of one is zero."""
    found: list[bytes] = []
    at = 0
    while at < len(directory):
        length = directory[at]
        if length < 34:
            at = (at // _SECTOR + 1) * _SECTOR
            continue
        found.append(directory[at : at + length])
        at += length
    return [record for record in found if len(record) >= 34]


def _extent(record: bytes) -> tuple[int, int]:
    return int.from_bytes(record[2:6], "little") * _SECTOR, int.from_bytes(record[10:14], "little")
