"""Macros: VBA's source out of its streams (MS-OVBA 2.4.1), Excel 4.0's sheets (MS-XLS 2.4.28), and which of them run by themselves."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_SOURCE: Final = 1 << 20
"""Characters of source that are looked at, of all modules of a project."""
_CHUNK: Final = 4096
# "Attribute VB_Name", with which every module's source begins, as compression leaves it: eight letters, a flag octet, one more.
_ATTRIBUTE: Final = b"\0Attribut\0e"

_AUTOMATIC: Final = re.compile(
    rb"(?i)\bsub\s++(auto_?(?:open|exec|close|exit|new|activate)|document_?(?:open|new|close|beforeclose|beforesave|contentcontrolonenter)"
    rb"|newdocument|app_documentopen|workbook_(?:open|activate|beforeclose|beforeprint|deactivate|newsheet|sheetactivate|windowactivate)"
    rb"|worksheet_(?:activate|calculate|change|selectionchange)|presentation(?:open|close)|slideshowbegin|onslideshowpagechange"
    rb"|[a-z0-9]{1,40}+_(?:layout|resize|painted|painting|gotfocus|mousemove|mousehover|beforenavigate2|navigatecomplete2|documentcomplete)"
    rb")\b"
)
_NAMES: Final = re.compile(
    rb"(?i)(?<![a-z])(auto_?open|autoexec|auto_?close|document_?open|document_close|workbook_open|workbook_activate|workbook_beforeclose)(?![a-z])"
)
"""The same in compiled code, whose source has been taken out: names stand there as they are."""
_ACTS: Final = re.compile(
    rb"(?i)\b(shell(?:execute\w?)?|createobject|getobject|urldownloadtofile\w?|wscript|powershell|cmd(?:\.exe)?|mshta|regsvr32|rundll32"
    rb"|certutil|bitsadmin|xmlhttp|winhttp\w*|adodb|environ|callbyname|virtualalloc\w*|createthread|declare\s++(?:ptrsafe\s++)?(?:sub|function))\b"
)


class Macro(NamedTuple):
    automatic: str
    """What makes it run: the name of the procedure; empty when nothing does."""
    acts: str
    """A word of its source that reaches out of the document; empty when there is none."""


def decompressed(data: bytes, at: int, limit: int = MAX_SOURCE) -> bytes:
    """The compressed container at `at`; as far as it goes, when it is damaged."""
    out = bytearray()
    if data[at : at + 1] != b"\x01":
        return b""
    at += 1
    while at + 2 <= len(data) and len(out) < limit:
        header = int.from_bytes(data[at : at + 2], "little")
        end = min(at + (header & 0x0FFF) + 3, len(data))
        if header >> 12 & 7 != 3:
            break
        if header & 0x8000:
            _chunk(data[at + 2 : end], out)
        else:
            out += data[at + 2 : min(at + 2 + _CHUNK, len(data))]
        at = end
    return bytes(out[:limit])


def _chunk(data: bytes, out: bytearray) -> None:
    begin, at = len(out), 0
    while at < len(data) and len(out) - begin < _CHUNK:
        flags = data[at]
        at += 1
        if not flags:
            # Eight letters at once: most of a source.
            out += data[at : at + 8]
            at += 8
            continue
        for bit in range(8):
            if at >= len(data):
                return
            if not flags >> bit & 1:
                out.append(data[at])
                at += 1
                continue
            if not _copy(int.from_bytes(data[at : at + 2], "little"), out, begin):
                return
            at += 2


def _copy(token: int, out: bytearray, begin: int) -> bool:
    """A token says how far back and how long, in bits whose number grows with what stands in the chunk already."""
    done = len(out) - begin
    bits = max((done - 1).bit_length(), 4) if done > 0 else 4
    length = (token & (0xFFFF >> bits)) + 3
    offset = (token >> (16 - bits)) + 1
    if offset > done:
        return False
    piece = bytes(out[len(out) - offset : len(out) - offset + length])
    # A copy may reach into itself, which repeats it.
    out += piece if len(piece) == length else (piece * (length // len(piece) + 1))[:length]
    return True


def sources(stream: bytes, limit: int) -> Iterator[bytes]:
    """Of a module's stream: what stands behind its compiled form."""
    at = stream.find(_ATTRIBUTE)
    if at >= 3:
        yield decompressed(stream, at - 3, limit)


def macro_of(streams: dict[str, bytes]) -> Macro:
    """Of a project: the streams of its VBA storage by name."""
    automatic = acts = ""
    left = MAX_SOURCE
    for stream in streams.values():
        for source in sources(stream, left):
            left -= len(source)
            automatic = automatic or _first(_AUTOMATIC, source)
            acts = acts or _first(_ACTS, source)
    if not automatic:
        compiled = (stream for name, stream in streams.items() if name.rpartition("/")[2] in ("_vba_project", "dir"))
        automatic = next((found for stream in compiled if (found := _first(_NAMES, stream))), "")
    return Macro(automatic, acts)


def _first(pattern: re.Pattern[bytes], data: bytes) -> str:
    match = pattern.search(data)
    return match[1].decode("latin-1") if match else ""


class Sheets(NamedTuple):
    """What a binary workbook says of itself."""

    macro_sheets: int = 0
    automatic: bool = False
    encrypted: bool = False


_BOF, _BOUNDSHEET, _NAME, _FILEPASS = 0x0809, 0x0085, 0x0018, 0x002F
_MAX_RECORDS: Final = 200_000
_BUILT_IN: Final = 0x20
_AUTO_OPEN: Final = frozenset({1, 2, 10, 11})
"""Auto_Open, Auto_Close, Auto_Activate, Auto_Deactivate (MS-XLS 2.5.114)."""


def sheets_of(workbook: bytes) -> Sheets:
    macro_sheets, automatic, encrypted = 0, False, False
    name_at = 15
    at = 0
    for _ in range(_MAX_RECORDS):
        if at + 4 > len(workbook):
            break
        kind, length = struct.unpack_from("<HH", workbook, at)
        body = at + 4
        if kind == _BOF:
            name_at = 14 if workbook[body : body + 2] == b"\0\x05" else 15
        elif kind == _BOUNDSHEET and length >= 6:
            macro_sheets += workbook[body + 5 : body + 6] == b"\x01"
        elif kind == _NAME and length >= 16:
            flags = int.from_bytes(workbook[body : body + 2], "little")
            # Before Excel 97 the name had no octet of flags in front of it.
            code = workbook[body + name_at] if body + name_at < len(workbook) and flags & _BUILT_IN else -1
            automatic = automatic or code in _AUTO_OPEN
        elif kind == _FILEPASS:
            encrypted = True
        at = body + length
    return Sheets(macro_sheets, automatic=automatic, encrypted=encrypted)
