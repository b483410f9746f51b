"""What a file is, by its first octets. A table of the dangerous and the common kinds.

The name and the declared type are a stranger's words; the octets decide what a program does with the file. A dictionary of the
first two octets makes the look-up take the same short time however long the table is: general libraries for this take a third
of a millisecond for each file, and this one a microsecond.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Kind(NamedTuple):
    name: str
    group: str
    """program, shortcut, help, disk, script: what runs. archive, document, image, audio, video, font, page, mail, text: what does not."""
    text: str
    """What it is called in a report."""


def _kind(name: str, group: str, text: str) -> Kind:
    return Kind(name, group, text)


PE: Final = _kind("pe", "program", "a Windows program")
JAVA: Final = _kind("java", "program", "a Java program")
ANDROID: Final = _kind("android", "program", "an Android program")
ISO: Final = _kind("iso", "disk", "a disk image")
UDF: Final = _kind("udf", "disk", "a disk image")
VHD: Final = _kind("vhd", "disk", "a disk image")
HTA: Final = _kind("hta", "script", "an HTML application")
SVG: Final = _kind("svg", "image", "a drawing")
HTML: Final = _kind("html", "page", "a page")
ZIP: Final = _kind("zip", "archive", "a ZIP archive")
GZIP: Final = _kind("gzip", "archive", "a gzip file")
BZIP2: Final = _kind("bzip2", "archive", "a bzip2 file")
XZ: Final = _kind("xz", "archive", "an xz file")
TAR: Final = _kind("tar", "archive", "a tar archive")
SEVENZIP: Final = _kind("7z", "archive", "a 7z archive")
RAR4: Final = _kind("rar4", "archive", "a RAR archive")
RAR5: Final = _kind("rar5", "archive", "a RAR archive")
CAB: Final = _kind("cab", "archive", "a cabinet")
ACE: Final = _kind("ace", "archive", "an ACE archive")
ARJ: Final = _kind("arj", "archive", "an ARJ archive")
LZH: Final = _kind("lzh", "archive", "an LZH archive")
OLE: Final = _kind("ole", "document", "an OLE document")
RTF: Final = _kind("rtf", "document", "an RTF document")
PDF: Final = _kind("pdf", "document", "a PDF")
ONENOTE: Final = _kind("onenote", "document", "a OneNote section")
TNEF: Final = _kind("tnef", "mail", "a TNEF attachment")

OBSOLETE: Final = frozenset({"ace", "arj", "lzh"})
"""Archives that nobody makes any more, and that few scanners can open."""

_ELF: Final = _kind("elf", "program", "a Linux program")
_MACHO: Final = _kind("macho", "program", "a macOS program")
_PREFIXES: Final[tuple[tuple[bytes, Kind], ...]] = (
    (b"\x7fELF", _ELF),
    (b"\xfe\xed\xfa\xce", _MACHO),
    (b"\xfe\xed\xfa\xcf", _MACHO),
    (b"\xce\xfa\xed\xfe", _MACHO),
    (b"\xcf\xfa\xed\xfe", _MACHO),
    (b"dex\n03", ANDROID),
    (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46", _kind("lnk", "shortcut", "a shortcut")),
    (b"ITSF\x03\0\0\0", _kind("chm", "help", "a compiled help file")),
    (b"conectix", VHD),
    (b"vhdxfile", VHD),
    (b"KDMV\x01\0\0\0", VHD),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"PK\x07\x08", ZIP),
    (b"\x1f\x8b\x08", GZIP),
    (b"BZh", BZIP2),
    (b"\xfd7zXZ\0", XZ),
    (b"7z\xbc\xaf\x27\x1c", SEVENZIP),
    (b"Rar!\x1a\x07\0", RAR4),
    (b"Rar!\x1a\x07\x01\0", RAR5),
    (b"MSCF\0\0\0\0", CAB),
    (b"\x60\xea", ARJ),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE),
    (b"{\\rt", RTF),
    (b"%PDF-", PDF),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", ONENOTE),
    (b"\x78\x9f\x3e\x22", TNEF),
    (b"\xff\xd8\xff", _kind("jpeg", "image", "a picture")),
    (b"\x89PNG\r\n\x1a\n", _kind("png", "image", "a picture")),
    (b"GIF87a", _kind("gif", "image", "a picture")),
    (b"GIF89a", _kind("gif", "image", "a picture")),
    (b"II*\0", _kind("tiff", "image", "a picture")),
    (b"MM\0*", _kind("tiff", "image", "a picture")),
    (b"ID3", _kind("mp3", "audio", "a recording")),
    (b"OggS", _kind("ogg", "audio", "a recording")),
    (b"fLaC", _kind("flac", "audio", "a recording")),
    (b"\x1aE\xdf\xa3", _kind("matroska", "video", "a film")),
    (b"wOFF", _kind("woff", "font", "a font")),
    (b"wOF2", _kind("woff", "font", "a font")),
)
_BY_START: Final[dict[bytes, tuple[tuple[bytes, Kind], ...]]] = {
    start: tuple([one for one in _PREFIXES if one[0][:2] == start]) for start in {prefix[:2] for prefix, _ in _PREFIXES}
}
_RIFF: Final = {
    b"WAVE": _kind("wav", "audio", "a recording"),
    b"AVI ": _kind("avi", "video", "a film"),
    b"WEBP": _kind("webp", "image", "a picture"),
}
_MP4: Final = _kind("mp4", "video", "a film")
_MARKUP: Final[tuple[tuple[re.Pattern[bytes], Kind], ...]] = (
    (re.compile(rb"(?i)<hta:application\b"), HTA),
    (re.compile(rb"<(?:libraryDescription|searchConnectorDescription|persistedQuery)\b"), _kind("library", "shortcut", "a Windows library or search")),
    (re.compile(rb"<PCSettings\b"), _kind("settings", "shortcut", "a Windows settings link")),
    (re.compile(rb"<MMC_ConsoleFile\b"), _kind("msc", "shortcut", "a management console")),
    (re.compile(rb"(?is)\A[^<]{0,20}(?:<\?[^>]{0,200}>\s{0,20}){0,3}(?:<package>\s{0,20})?<job\b[^>]{0,200}>.{0,1000}?<script\b"), _kind("wsf", "script", "a Windows script")),
    (re.compile(rb"<\?mso-application\b"), _kind("flat", "document", "an Office document in XML")),
    (re.compile(rb"(?i)<svg\b"), SVG),
    (re.compile(rb"(?i)<(?:!doctype\s+html|html|head|body|script|iframe)\b"), HTML),
)  # fmt: skip
_MARKUP_HEAD: Final = 4096
URL: Final = _kind("url", "document", "a link to a place on the net")
_SPACE: Final = b" \t\r\n"


def kind_of(head: bytes) -> Kind | None:
    """By the first 64 KiB; a few hundred octets are enough for all but disk images. None: nothing that we know."""
    start = head[:2]
    if start == b"MZ":
        # A DOS header has zero octets among its first 64; a text that begins with "MZ" has not.
        return PE if len(head) >= 64 and b"\0" in head[2:64] else None
    for prefix, kind in _BY_START.get(start, ()):
        if head.startswith(prefix) and (kind is not ARJ or _is_arj(head)):
            return kind
    if start == b"\xca\xfe":
        return _cafebabe(head)
    if start == b"RI" and head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _MP4
    return _within(head) or markup_of(head)


def _within(head: bytes) -> Kind | None:
    """What has its signature further in."""
    if head[2:5] == b"-lh" and head[6:7] == b"-":
        return LZH
    if head[7:14] == b"**ACE**":
        return ACE
    if head[257:262] == b"ustar":
        return TAR
    if len(head) > 0x8006 and head[0x8001:0x8006] in (b"CD001", b"BEA01", b"NSR02", b"NSR03"):
        return ISO if head[0x8001:0x8006] == b"CD001" else UDF
    at = head.find(b"%PDF-", 0, 1024)
    # Readers find a PDF behind up to a kilobyte of anything; a text that speaks of one has letters there.
    return PDF if at >= 0 and head[at + 5 : at + 6].isdigit() and not head[:at].strip().isalpha() else None


def markup_of(head: bytes) -> Kind | None:
    """Of a text that begins with a tag."""
    start = head[:400].lstrip(_SPACE + b"\xef\xbb\xbf")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        start = head[2:_MARKUP_HEAD].replace(b"\0", b"").lstrip()
        head = start
    if start[:1] == b"<":
        text = head[:_MARKUP_HEAD]
        return next((kind for pattern, kind in _MARKUP if pattern.search(text)), None)
    if start[:18].lower() == b"[internetshortcut]":
        return URL
    return None


def _cafebabe(head: bytes) -> Kind | None:
    """Java's classes and macOS's programs for several processors begin alike; the next number is a version or a small count."""
    if head[:4] not in (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf") or len(head) < 8:
        return None
    number = int.from_bytes(head[4:8], "big")
    if 0 < number < 20:
        return _MACHO
    return JAVA if 44 <= number & 0xFFFF <= 100 else None


def _is_arj(head: bytes) -> bool:
    """Two octets are not enough: the size of the header, the size of its first part, and the host that made it must be possible."""
    return (
        len(head) > 11 and 30 <= int.from_bytes(head[2:4], "little") <= 2600 and 30 <= head[4] <= 60 and head[7] <= 11
    )


def program_text(head: bytes) -> str:
    """What a Windows program is in particular."""
    at = int.from_bytes(head[0x3C:0x40], "little")
    if head[at : at + 4] != b"PE\0\0":
        return PE.text
    optional = at + 24
    directories = optional + (112 if head[optional : optional + 2] == b"\x0b\x02" else 96)
    # The 15th directory is the header of the common language runtime.
    if any(head[directories + 14 * 8 : directories + 14 * 8 + 8]):
        return "a .NET program"
    return "a Windows library" if int.from_bytes(head[at + 22 : at + 24], "little") & 0x2000 else PE.text
