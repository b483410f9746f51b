"""7z, the names in it (7zFormat.txt of the LZMA SDK): they stand at the end, and are mostly packed themselves.

Packed names are unpacked here when they are packed with LZMA or LZMA2, which is what all programs do; the rest is left as it is.
"""

from __future__ import annotations

import lzma
import struct
from typing import Any, Final

from pipeline.scanning.files.listing import MAX_ENTRIES, MAX_NAME, Listing, Member, bomb_of
from pipeline.scanning.files.octets import Octets

MAX_HEADER: Final = 4 << 20
"""Octets of the names, unpacked: 20,000 of them with 100 letters each."""
_START: Final = struct.Struct("<12xQQ")
_AES: Final = b"\x06\xf1\x07\x01"
_LZMA: Final = b"\x03\x01\x01"
_LZMA2: Final = b"\x21"
_COPY: Final = b"\0"
(
    _END, _HEADER, _ARCHIVE_PROPERTIES, _ADDITIONAL, _MAIN, _FILES, _PACK, _UNPACK, _SUBSTREAMS, _SIZE, _CRC, _FOLDER, _CODERS_SIZE,
    _STREAMS,
) = range(14)  # fmt: skip
_NAMES, _ENCODED = 0x11, 0x17
_MAX_FOLDERS: Final = 20_000
_MAX_CODERS: Final = 8
_MAX_STREAMS: Final = 4
_MAX_PROPERTIES: Final = 1000


class _DamagedError(ValueError):
    pass


class _Folder:
    def __init__(self) -> None:
        self.coders: list[tuple[bytes, bytes]] = []
        """Method and its properties."""
        self.outputs = 0
        self.sizes: list[int] = []
        self.crc = False

    @property
    def encrypted(self) -> bool:
        return any(method == _AES for method, _ in self.coders)


class _Streams:
    def __init__(self) -> None:
        self.position = 0
        self.packed: list[int] = []
        self.folders: list[_Folder] = []


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        piece = self.data[self.at : self.at + length]
        if length < 0 or len(piece) < length:
            raise _DamagedError
        self.at += length
        return piece

    def octet(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """The first octet's leading ones say how many octets follow; its other bits are the highest."""
        first, mask, value = self.octet(), 0x80, 0
        for index in range(8):
            if not first & mask:
                return value | (first & (mask - 1)) << (8 * index)
            value |= self.octet() << (8 * index)
            mask >>= 1
        return value

    def count(self, limit: int) -> int:
        value = self.number()
        if value > limit:
            raise _DamagedError
        return value

    def digests(self, count: int) -> list[bool]:
        """Which of `count` have a checksum; the checksums are passed over."""
        if self.octet():
            defined = [True] * count
        else:
            bits = self.take((count + 7) // 8)
            defined = [bool(bits[index // 8] & 0x80 >> index % 8) for index in range(count)]
        self.take(4 * sum(defined))
        return defined


def read_7z(octets: Octets) -> Listing:
    head = octets.read(0, 32)
    if len(head) < 32:
        return Listing(hidden=True)
    offset, size = _START.unpack_from(head)
    try:
        return _listed(octets, octets.read(32 + offset, min(size, MAX_HEADER)))
    except (_DamagedError, lzma.LZMAError, MemoryError):
        return Listing(hidden=True)


def _listed(octets: Octets, header: bytes) -> Listing:
    for _ in range(4):  # a packed header may hold a packed header
        reader = _Reader(header)
        kind = reader.octet()
        if kind == _HEADER:
            return _files(reader, len(octets))
        if kind != _ENCODED:
            break
        streams = _streams(reader)
        if not streams.folders or not streams.packed:
            break
        folder = streams.folders[0]
        if folder.encrypted:
            return Listing(encrypted=True, hidden=True)
        packed = octets.read(32 + streams.position, min(streams.packed[0], MAX_HEADER))
        header = _undone(folder, packed)
    return Listing(hidden=True)


def _undone(folder: _Folder, packed: bytes) -> bytes:
    size = folder.sizes[0] if folder.sizes else 0
    if len(folder.coders) != 1 or not 0 < size <= MAX_HEADER:
        raise _DamagedError
    method, properties = folder.coders[0]
    if method == _COPY:
        return packed[:size]
    # A dictionary larger than what comes out would be memory for nothing.
    chosen: dict[str, Any] = {"dict_size": max(size, 4096)}
    if method == _LZMA and len(properties) == 5 and properties[0] < 225:
        position, rest = divmod(properties[0], 45)
        chosen |= {"id": lzma.FILTER_LZMA1, "pb": position, "lp": rest // 9, "lc": rest % 9}
        if rest // 9 + rest % 9 > 4:
            raise _DamagedError
    elif method == _LZMA2:
        chosen["id"] = lzma.FILTER_LZMA2
    else:
        raise _DamagedError
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chosen]).decompress(packed, size)


def _streams(reader: _Reader) -> _Streams:
    streams = _Streams()
    while True:
        kind = reader.octet()
        if kind == _END:
            return streams
        if kind == _PACK:
            _pack_info(reader, streams)
        elif kind == _UNPACK:
            _unpack_info(reader, streams)
        elif kind == _SUBSTREAMS:
            _substreams(reader, streams)
        else:
            raise _DamagedError


def _pack_info(reader: _Reader, streams: _Streams) -> None:
    streams.position = reader.number()
    count = reader.count(_MAX_STREAMS * _MAX_FOLDERS)
    while (kind := reader.octet()) != _END:
        if kind == _SIZE:
            streams.packed = [reader.number() for _ in range(count)]
        elif kind == _CRC:
            reader.digests(count)
        else:
            raise _DamagedError


def _unpack_info(reader: _Reader, streams: _Streams) -> None:
    if reader.octet() != _FOLDER:
        raise _DamagedError
    count = reader.count(_MAX_FOLDERS)
    if reader.octet():
        raise _DamagedError
    streams.folders = [_folder(reader) for _ in range(count)]
    while (kind := reader.octet()) != _END:
        if kind == _CODERS_SIZE:
            for folder in streams.folders:
                folder.sizes = [reader.number() for _ in range(folder.outputs)]
        elif kind == _CRC:
            for folder, defined in zip(streams.folders, reader.digests(count), strict=True):
                folder.crc = defined
        else:
            raise _DamagedError


def _folder(reader: _Reader) -> _Folder:
    folder = _Folder()
    inputs = 0
    for _ in range(reader.count(_MAX_CODERS)):
        flags = reader.octet()
        method = reader.take(flags & 0x0F)
        ins, outs = (reader.count(_MAX_STREAMS), reader.count(_MAX_STREAMS)) if flags & 0x10 else (1, 1)
        folder.coders.append((method, reader.take(reader.number()) if flags & 0x20 else b""))
        inputs += ins
        folder.outputs += outs
    for _ in range(folder.outputs - 1):
        reader.number()
        reader.number()
    packed = inputs - (folder.outputs - 1)
    if packed > 1:
        for _ in range(packed):
            reader.number()
    return folder


def _substreams(reader: _Reader, streams: _Streams) -> None:
    counts = [1] * len(streams.folders)
    kind = reader.octet()
    if kind == _STREAMS:
        counts = [reader.count(MAX_ENTRIES) for _ in streams.folders]
        kind = reader.octet()
    if sum(counts) > MAX_ENTRIES:
        raise _DamagedError
    if kind == _SIZE:
        for count in counts:
            for _ in range(count - 1):
                reader.number()
        kind = reader.octet()
    if kind == _CRC:
        unknown = sum(
            0 if count == 1 and folder.crc else count for count, folder in zip(counts, streams.folders, strict=True)
        )
        reader.digests(unknown)
        kind = reader.octet()
    if kind != _END:
        raise _DamagedError


def _files(reader: _Reader, size: int) -> Listing:
    kind = reader.octet()
    streams = _Streams()
    if kind == _ARCHIVE_PROPERTIES:
        for _ in range(_MAX_PROPERTIES):
            if not reader.number():
                break
            reader.take(reader.number())
        kind = reader.octet()
    if kind == _ADDITIONAL:
        _streams(reader)
        kind = reader.octet()
    if kind == _MAIN:
        streams = _streams(reader)
        kind = reader.octet()
    if kind != _FILES:
        return Listing()
    names: list[str] = []
    cut = reader.number() > MAX_ENTRIES
    for _ in range(_MAX_PROPERTIES):
        property_ = reader.octet()
        if not property_:
            break
        data = reader.take(reader.number())
        if property_ == _NAMES and data[:1] == b"\0":
            names = data[1:].decode("utf-16-le", "replace").split("\0", MAX_ENTRIES)
    return Listing(
        tuple([Member(name[: 4 * MAX_NAME]) for name in names[:MAX_ENTRIES] if name]),
        encrypted=any(folder.encrypted for folder in streams.folders),
        cut=cut,
        bomb=bomb_of(sum(folder.sizes[-1] for folder in streams.folders if folder.sizes), size),
    )
