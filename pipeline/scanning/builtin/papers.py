"""Documents that are read rather than edited, and what hides in them: RTF's objects, PDF's actions, OneNote's files, SVG's scripts."""

from __future__ import annotations

import binascii
import itertools
import re
from collections.abc import Iterator
from typing import Final

from pipeline.events import Finding
from pipeline.scanning.builtin.names import blocked, endings, shown
from pipeline.scanning.builtin.rules import Inspector
from pipeline.scanning.files.kinds import kind_of
from pipeline.scanning.files.listing import Member
from pipeline.scanning.files.octets import Octets
from pipeline.scanning.files.unpacking import start_of
from pipeline.scanning.files.wrapped import read_package
from pipeline.scanning.reading import page_of

# RTF
_MAX_OBJECTS: Final = 8
_MAX_OBJECT: Final = 512 << 10
_NOT_HEX: Final = re.compile(rb"\\[a-zA-Z]{1,32}+-?+\d{0,10}+ ?|\\.|[{}\s]++")
_HEX: Final = re.compile(rb"[0-9a-fA-F]*+")
_OLE: Final = bytes.fromhex("d0cf11e0a1b11ae1")
_EQUATION: Final = (bytes.fromhex("02ce020000000000c000000000000046"), b"equation.3", b"equation.2")
"""Equation Editor 3.0, whose holes (CVE-2017-11882, CVE-2018-0802) are behind most RTF that attacks."""


def rtf(inspector: Inspector, octets: Octets, label: str, depth: int) -> Iterator[Finding]:
    updates = octets.find(b"\\objupdate") >= 0
    at = octets.find(b"\\objdata")
    found = False
    for _ in range(_MAX_OBJECTS):
        if at < 0 or not inspector.budget.take(min(_MAX_OBJECT, len(octets) - at)):
            break
        data = _object(octets.read(at + 8, _MAX_OBJECT))
        found = found or bool(data)
        lower = data[:4096].lower()
        if any(mark in lower for mark in _EQUATION):
            if updates:
                yield blocked("DOCUMENT_EXPLOIT", f"{label} opens the old equation editor by itself, as exploits do")
                return
            text = f"{label} has an object of the old equation editor, which exploits use"
            yield Finding(name="RTF_EQUATION", score=3.0, text=text)
        if _inside(inspector, data, label, depth):
            return
        at = octets.find(b"\\objdata", at + 8 + _MAX_OBJECT // 8)
    if found and updates:
        yield Finding(name="RTF_OBJECT", score=2.0, text=f"{label} has an object that is loaded as it is opened")


def _object(text: bytes) -> bytes:
    """The octets of an object: hexadecimal digits, with whatever stands between them that readers pass over."""
    match = _HEX.match(_NOT_HEX.sub(b"", text))
    digits = match[0] if match else b""
    return binascii.unhexlify(digits[: len(digits) & ~1])


def _inside(inspector: Inspector, data: bytes, label: str, depth: int) -> bool:
    at = data.find(_OLE)
    if at >= 0:
        return inspector.file(Member("", Octets(data, at)), label, depth + 1)
    at = data[:300].find(b"Package\0")
    if at >= 0:
        # MS-OLEDS 2.2.4: class, topic and item with their lengths, the size, and the package.
        member = read_package(data[at + 8 + 8 :])
        return member is not None and inspector.file(member, label, depth + 1)
    return False


# PDF
_TOKEN: Final = re.compile(
    rb"/(?:OpenAction|AA\s{0,4}(?=<<|\d)|JavaScript|Launch|EmbeddedFile|Encrypt|ObjStm|[A-Za-z]{0,20}#[0-9A-Fa-f]{2}[A-Za-z#0-9]{0,40})(?![A-Za-z])"
)
_ESCAPED: Final = re.compile(rb"#([0-9A-Fa-f]{2})")
_FILE_NAME: Final = re.compile(rb"/(?:UF|F)\s{0,4}\(((?:[^()\\]|\\[\x00-\xff]){1,300})\)")
_STREAM: Final = re.compile(rb"\bstream\r?\n")
_MAX_TOKENS: Final = 50_000
_TOKEN_COST: Final = 200
"""Octets of the message's budget that a token takes: many small files of nothing else are work, too."""
_MAX_NAMES: Final = 100
_MAX_OBJECT_STREAMS: Final = 20
_MAX_OBJECT_STREAM: Final = 128 << 10
_PROGRAM: Final = re.compile(
    rb"(?i)\b(?:cmd|powershell|mshta|wscript|cscript|rundll32|regsvr32)\b|\.(?:exe|bat|scr|vbs|js|hta|ps1)\b"
)


class _Pdf:
    def __init__(self) -> None:
        self.tokens: set[bytes] = set()
        self.names: list[bytes] = []
        self.launched: list[bytes] = []
        self.streams: list[int] = []
        self.seen = 0
        """Tokens."""

    def read(self, octets: Octets) -> None:
        for number, (at, match) in enumerate(octets.finditer(_TOKEN)):
            if number == _MAX_TOKENS:
                break
            self.seen += 1
            token = match[0].rstrip()
            if b"#" in token:
                token = _ESCAPED.sub(lambda one: bytes((int(one[1], 16),)), token)
            self.tokens.add(token[:20])
            if token == b"/Launch" and len(self.launched) < _MAX_NAMES:
                self.launched.append(octets.read(at - 200, 400) if at > 200 else octets.read(0, at + 200))
            elif token == b"/ObjStm" and len(self.streams) < _MAX_OBJECT_STREAMS:
                self.streams.append(at)
        if b"/EmbeddedFile" in self.tokens:
            for number, (_, match) in enumerate(octets.finditer(_FILE_NAME)):
                if number == _MAX_NAMES:
                    break
                self.names.append(match[1])


def pdf(inspector: Inspector, octets: Octets, label: str, _: int) -> Iterator[Finding]:
    found = _Pdf()
    found.read(octets)
    for at in found.streams:
        begin = _STREAM.search(octets.read(at, 1024))
        if begin is not None:
            window = octets.window(at + begin.end(), at + begin.end() + _MAX_OBJECT_STREAM)
            found.read(Octets(start_of(window, "zlib", inspector.budget, _MAX_OBJECT_STREAM)))
    inspector.budget.take(_TOKEN_COST * found.seen)
    if any(inspector.named(_string(name), label) for name in found.names):
        return
    tokens = found.tokens
    if found.launched:
        if any(_PROGRAM.search(around) for around in found.launched):
            yield blocked("PDF_LAUNCH", f"{label} starts a program")
            return
        yield Finding(name="PDF_LAUNCH", score=1.5, text=f"{label} opens another file or program")
    if b"/JavaScript" in tokens and (b"/OpenAction" in tokens or b"/AA" in tokens):
        yield Finding(name="PDF_SCRIPT", score=1.0, text=f"{label} has a script that runs when it is opened")
    if b"/Encrypt" in tokens:
        yield Finding(name="PDF_ENCRYPTED", text=f"{label} is encrypted, perhaps with an empty password")


def _string(octets: bytes) -> str:
    octets = re.sub(rb"\\([\x00-\xff])", rb"\1", octets)
    if octets[:2] == b"\xfe\xff":
        return octets[2:].decode("utf-16-be", "replace")
    return octets.decode("latin-1")


# OneNote
_FILE_DATA: Final = bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac")
"""FileDataStoreObject (MS-ONESTORE 2.6.13): behind it the length, 12 octets, the file."""
_WIDE_NAME: Final = re.compile(rb"(?:[\x20-\x7e]\x00){4,200}")
_MAX_WIDE_NAMES: Final = 20_000
_RUNS: Final = re.compile(
    rb"(?i)\A\s*(?:<(?:job|package|hta:|script)|@?echo off|@?powershell|@?cmd\b|start\s|set\s|on error resume next|dim\s|function\s|var\s|\$)"
)


def onenote(inspector: Inspector, octets: Octets, label: str, depth: int) -> Iterator[Finding]:
    at, number = octets.find(_FILE_DATA), 0
    other = False
    while at >= 0 and number < 50:
        size = int.from_bytes(octets.read(at + 16, 8), "little")
        begin = at + 36
        window = octets.window(begin, begin + min(size, len(octets)))
        head = window.read(0, 512)
        kind = kind_of(head)
        if (kind is None and _RUNS.match(head)) or (kind is not None and kind.group in ("page", "script")):
            yield blocked("ONENOTE_FILE", f"{label} has a script embedded that a click on a picture runs")
            return
        if kind is not None and inspector.file(Member("", window), label, depth + 1):
            return
        other = other or (kind is not None and kind.group not in ("image", "audio", "video"))
        at, number = octets.find(_FILE_DATA, begin), number + 1
    if number:
        for _, match in itertools.islice(octets.finditer(_WIDE_NAME, 4 << 20), _MAX_WIDE_NAMES):
            name = match[0].decode("utf-16-le")
            if "." in name and endings(name)[1] in inspector.rules.extensions and "http" not in name:
                yield blocked("ONENOTE_FILE", f"{shown(name)} is embedded in {label}")
                return
    if other:
        yield Finding(name="ONENOTE_FILE", score=1.5, text=f"{label} has a file embedded")


# SVG
_MAX_SVG: Final = 1 << 20
_ACTIVE: Final = re.compile(
    rb"(?i)<script\b|\bon(?:load|click|error|mouseover|begin)\s*+=|(?:href|src)\s*+=\s*+[\"']\s*+javascript:|<foreignobject\b[^>]{0,500}+>\s*+<(?:\w{1,10}:)?(?:iframe|form|embed|object)\b"
)
_LEAVES: Final = re.compile(
    rb"(?i)\blocation(?:\.href)?\s*+=(?!=)|\blocation\.(?:replace|assign)\s*+\(|\b(?:atob|eval|unescape)\s*+\(|document\.write\s*+\(|fromcharcode"
    rb"|javascript:|<(?:\w{1,10}:)?(?:iframe|form)\b|createelement\s*+\(\s*+[\"'](?:a|script|iframe)[\"']"
)


def svg(_: Inspector, octets: Octets, label: str, __: int) -> Iterator[Finding]:
    data = octets.read(0, _MAX_SVG)
    if not _ACTIVE.search(data):
        return
    if _LEAVES.search(data):
        yield blocked("SVG_SCRIPT", f"{label} is a drawing with a script that leads elsewhere or hides what it does")
    else:
        yield Finding(name="SVG_SCRIPT", score=3.0, text=f"{label} is a drawing with a script")


# Pages
def page(inspector: Inspector, octets: Octets, label: str, depth: int) -> Iterator[Finding]:
    """Within an archive, where it is kept from those who look at attachments. Saved web sites have forms as well."""
    if depth and inspector.budget.page() and any(form.password for form in page_of(octets.head).forms):
        yield Finding(name="HTML_PASSWORD", score=3.5, text=f"{label} asks for a password", kind="phishing")


# Internet shortcuts
_PLACE: Final = re.compile(
    rb"(?im)^\s*(?:URL|IconFile|WorkingDirectory)\s*=\s*(?:file:|\\\\|smb:|search-ms:|ms-\w{1,30}:|https?://[^\r\n]{1,500}\.(?:exe|msi|js|vbs|hta|lnk|bat|cmd|scr|zip|iso)\s*$)"
)


def link(_: Inspector, octets: Octets, label: str, __: int) -> Iterator[Finding]:
    """People drag a page's address out of their browser and attach it; attackers have it open a program on a server of theirs."""
    if _PLACE.search(octets.read(0, 4096)):
        yield blocked("LINK_FILE", f"{label} is a link to a file or a program elsewhere")
    else:
        yield Finding(name="LINK_FILE", score=1.0, text=f"{label} is a file with a link in it")
