"""Compound files (MS-CFB): the container of Office's old documents, of macros, installers and Outlook messages.

A reader of our own, because those that exist read a stream as long as its header says, round and round a looped table: here no
table and no stream is longer than the file.
"""

from __future__ import annotations

import array
import struct
import sys
from typing import Final, NamedTuple

from pipeline.scanning.files.octets import Octets

_HEADER: Final = struct.Struct("<30xHH10xII8xIII")
"""Sizes of sectors, number of table sectors, the directory, where the small sectors' table begins and how long it is, where the list
of table sectors goes on."""
MAX_STREAMS: Final = 5000
_MAX_DEPTH: Final = 30
_CUTOFF: Final = 4096
"""Shorter streams are kept in small sectors. The header says it too, and is not believed (MS-CFB 2.2 fixes it)."""
_END: Final = 0xFFFFFFFA
"""Sector numbers from here on are marks: no sector, end of chain, part of a table."""
_STORAGE, _STREAM, _ROOT = 1, 2, 5


class Entry(NamedTuple):
    path: str
    """Its storages and its name, in lower case, with / between them."""
    start: int
    size: int
    storage: bool
    clsid: bytes


class Compound:
    """`entries` in the order of the directory. What cannot be read is absent."""

    def __init__(self, octets: Octets) -> None:
        self._octets = octets
        self.entries: tuple[Entry, ...] = ()
        self.clsid = b""
        """Of the root: what program it belongs to."""
        head = octets.read(0, 512)
        if len(head) < 512:
            return
        shift, mini_shift, fats, directory, mini_fat, mini_fats, difat = _HEADER.unpack_from(head)
        self._sector = 4096 if shift == 12 else 512
        self._mini = 1 << mini_shift if 4 <= mini_shift <= 9 else 64
        self._total = -(-max(len(octets) - self._sector, 0) // self._sector)
        self._fat = self._table(head, fats, difat)
        self._mini_fat = self._numbers(b"".join(self._chain(mini_fat, min(mini_fats, self._total))))
        self._mini_stream: list[int] = []
        self.entries = self._directory(b"".join(self._chain(directory, MAX_STREAMS * 128 // self._sector + 1)))

    def _at(self, number: int) -> bytes:
        return self._octets.read((number + 1) * self._sector, self._sector)

    @staticmethod
    def _numbers(data: bytes) -> array.array[int]:
        numbers = array.array("I", data[: len(data) & ~3])
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers

    def _table(self, head: bytes, count: int, difat: int) -> array.array[int]:
        """The file allocation table: its sectors are listed in the header, and on from there in sectors of their own."""
        sectors = list(self._numbers(head[76:512]))
        wanted = min(count, self._total)
        steps = 0
        while len(sectors) < wanted and difat < self._total and steps <= self._total // 64:
            more = self._numbers(self._at(difat))
            if not more:
                break
            difat = more[-1]
            sectors += more[:-1]
            steps += 1
        pieces = [self._at(number) for number in sectors[:wanted] if number < self._total]
        return self._numbers(b"".join(pieces))[: self._total + 1]

    def _follow(self, number: int, limit: int) -> list[int]:
        """Sectors of a chain, no more than there are: a loop ends there."""
        chain: list[int] = []
        fat = self._fat
        while number < len(fat) and len(chain) < min(limit, self._total):
            chain.append(number)
            number = fat[number]
        return chain

    def _chain(self, number: int, limit: int) -> list[bytes]:
        return [self._at(sector) for sector in self._follow(number, limit)]

    def _directory(self, data: bytes) -> tuple[Entry, ...]:
        rows = [data[at : at + 128] for at in range(0, len(data) - 127, 128)][:MAX_STREAMS]
        if not rows or rows[0][66] != _ROOT:
            return ()
        self.clsid = rows[0][80:96]
        start, size = struct.unpack_from("<II", rows[0], 116)
        self._mini_stream = self._follow(start, -(-size // self._sector))
        entries: list[Entry] = []
        seen = {0}
        waiting = [(struct.unpack_from("<I", rows[0], 76)[0], "", 0)]
        while waiting:
            index, parent, depth = waiting.pop()
            if index >= len(rows) or index in seen:
                continue
            seen.add(index)
            row = rows[index]
            left, right, child = struct.unpack_from("<III", row, 68)
            waiting += [(right, parent, depth), (left, parent, depth)]
            if row[66] not in (_STORAGE, _STREAM):
                continue
            length = min(max(int.from_bytes(row[64:66], "little") - 2, 0), 62)
            path = parent + row[:length].decode("utf-16-le", "replace").lower()
            start, size = struct.unpack_from("<II", row, 116)
            entries.append(Entry(path, start, size, row[66] == _STORAGE, row[80:96]))
            if row[66] == _STORAGE and depth < _MAX_DEPTH:
                waiting.append((child, path + "/", depth + 1))
        return tuple(entries)

    def read(self, entry: Entry, limit: int) -> bytes:
        """At most `limit` octets of a stream."""
        size = min(entry.size, limit, len(self._octets))
        if entry.size >= _CUTOFF:
            return b"".join(self._chain(entry.start, -(-size // self._sector)))[:size]
        pieces: list[bytes] = []
        number, per = entry.start, self._sector // self._mini
        while number < len(self._mini_fat) and len(pieces) * self._mini < size:
            sector, place = divmod(number, per)
            if sector >= len(self._mini_stream):
                break
            begin = (self._mini_stream[sector] + 1) * self._sector + place * self._mini
            pieces.append(self._octets.read(begin, self._mini))
            number = self._mini_fat[number]
        return b"".join(pieces)[:size]
