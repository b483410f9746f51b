"""Office's documents, old (compound files) and new (packages in a ZIP): macros, programs embedded, what is fetched from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pipeline.events import Finding
from pipeline.mime.transfer import base64_octets
from pipeline.scanning.builtin.names import blocked, shown
from pipeline.scanning.builtin.rules import Inspector
from pipeline.scanning.files.compounds import Compound, Entry
from pipeline.scanning.files.listing import Listing, Member
from pipeline.scanning.files.macros import Macro, macro_of, sheets_of
from pipeline.scanning.files.octets import Octets
from pipeline.scanning.files.unpacking import start_of
from pipeline.scanning.files.wrapped import read_package

_INSTALLERS: Final = frozenset(
    bytes.fromhex(f"{number}0c0000000000c000000000000046") for number in ("8210", "8410", "8610")
)
"""MSI, MSP and MST: 000C1084-0000-0000-C000-000000000046 and its neighbours, as they stand in the file."""
MAX_STREAM: Final = 4 << 20
_MAX_MODULES: Final = 200
_MAX_EMBEDDED: Final = 50
_MAX_XML: Final = 2 << 20
_MAX_LINKS: Final = 256 << 10

_EXTERNAL: Final = re.compile(rb"<Relationship\b([^<>]{0,4000}+)>")
_KIND: Final = re.compile(rb"\bType\s*+=\s*+[\"'][^\"']{0,300}/(\w{1,40})[\"']")
_TARGET: Final = re.compile(rb"\bTarget\s*+=\s*+[\"']([^\"']{1,2000})[\"']")
_FETCHED: Final = frozenset({b"attachedTemplate", b"oleObject", b"frame", b"subDocument", b"aFChunk"})
"""Relationships that are followed when the document is opened; hyperlinks wait for a click, and pictures do not run."""
_FROM_THE_NET: Final = re.compile(rb"(?i)(?:https?|ftps?|mhtml|file:/+[^/]+@ssl|\\\\[^\\]+@(?:ssl|\d))")
_EXPLOIT: Final = re.compile(rb"(?i)^mhtml:|!(?:x-usc:|\s*+$)")
"""Follina and its kind (CVE-2021-40444, CVE-2022-30190): an object in a page that a document fetches."""
_FIELD: Final = re.compile(
    rb"<w:(?:instrText\b[^<>]{0,300}+>([^<]{0,2000})|fldSimple\b[^<>]{0,300}?w:instr\s*+=\s*+\"([^\"]{0,2000}))"
)
_DDE: Final = re.compile(rb"\bDDE(?:AUTO)?\b")
_COMMAND: Final = re.compile(rb"(?i)\b(?:cmd|powershell|mshta|msexcel|wscript|cscript|rundll32|regsvr32|certutil)\b")
_AUTO_OPEN: Final = (b"_xlnm.Auto_Open", "Auto_Open".encode("utf-16-le"))
_PACKED_OBJECT: Final = b"\x10\0\x11\x10"
_ACTIVE_MIME: Final = b"QWN0aXZlTWltZQ"
_ACTIVE_MIME_HEADER: Final = 0x2C
_DDE_LINK: Final = re.compile(rb"<(?:\w{1,10}:)?ddeLink\b[^<>]{0,500}?\bddeService\s*+=\s*+\"([^\"]{0,200})")


def macros(inspector: Inspector, label: str, macro: Macro) -> Iterator[Finding]:
    chosen = inspector.rules.macros
    runs = f"a macro that runs by itself ({macro.automatic})" if macro.automatic else "macros"
    text = f"{label} has {runs}{f', which use {macro.acts}' if macro.acts else ''}"
    name = "MACRO_AUTOMATIC" if macro.automatic else "MACRO"
    if chosen == "block" or (chosen == "auto" and macro.automatic):
        yield blocked(name, text)
    elif chosen == "pass":
        yield Finding(name=name, text=text)
    else:
        yield Finding(name=name, score=1.5 + (1.5 if macro.automatic else 0) + (0.5 if macro.acts else 0), text=text)


def compound(inspector: Inspector, octets: Octets, label: str, depth: int) -> Iterator[Finding]:
    file = Compound(octets)
    if file.clsid in _INSTALLERS and "program" in inspector.rules.types:
        yield blocked("EXECUTABLE", f"{label} is a Windows installer")
        return
    yield from _project(inspector, file, label)
    names = {entry.path: entry for entry in file.entries if not entry.storage}
    if "encryptedpackage" in names:
        inspector.encrypted("DOCUMENT_ENCRYPTED", label)
    book = names.get("workbook") or names.get("book")
    if book is not None:
        yield from _workbook(inspector, file.read(book, MAX_STREAM), label)
    if "powerpoint document" in names:
        _slides(inspector, file.read(names["powerpoint document"], MAX_STREAM), label, depth)
    if "worddocument" in names:
        yield from _word(inspector, file.read(names["worddocument"], MAX_STREAM), label)
    embedded = 0
    for entry in file.entries:
        member = _embedded(inspector, file, entry)
        if member is not None and embedded < _MAX_EMBEDDED:
            embedded += 1
            if inspector.file(member, label, depth + 1):
                return


def _project(inspector: Inspector, file: Compound, label: str) -> Iterator[Finding]:
    storages = [entry.path[:-4] for entry in file.entries if entry.path == "vba/dir" or entry.path.endswith("/vba/dir")]
    if not storages:
        return
    modules = [
        entry for entry in file.entries if not entry.storage and "vba/" in entry.path and "/__srp" not in entry.path
    ]
    streams: dict[str, bytes] = {}
    left = MAX_STREAM
    for entry in modules[:_MAX_MODULES]:
        streams[entry.path] = stream = file.read(entry, min(left, 1 << 20))
        left -= len(stream)
    yield from macros(inspector, label, macro_of(streams))


def _workbook(inspector: Inspector, stream: bytes, label: str) -> Iterator[Finding]:
    sheets = sheets_of(stream)
    if sheets.encrypted:
        inspector.encrypted("DOCUMENT_ENCRYPTED", label)
    if sheets.macro_sheets:
        yield from macros(inspector, label, Macro("Auto_Open of Excel 4.0" if sheets.automatic else "", ""))


def _slides(inspector: Inspector, stream: bytes, label: str, depth: int) -> None:
    """PowerPoint packs each embedded object, macros too, into a record of its one stream (MS-PPT 2.10.34)."""
    at = stream.find(_PACKED_OBJECT)
    for _ in range(_MAX_EMBEDDED):
        if at < 0 or not inspector.budget.open():
            return
        inner = Octets(start_of(Octets(stream, at + 12), "zlib", inspector.budget, MAX_STREAM))
        if inspector.file(Member("", inner), label, depth + 1):
            return
        at = stream.find(_PACKED_OBJECT, at + 12)


def flat(inspector: Inspector, octets: Octets, label: str, _: int) -> Iterator[Finding]:
    """A document of Office 2003 as one XML file, or saved as a page: its macros are packed, and in base64."""
    at = octets.find(_ACTIVE_MIME)
    if at < 0 or not inspector.budget.take(min(MAX_STREAM, len(octets) - at)):
        return
    end = octets.find(b"<", at)
    data = base64_octets(octets.read(at, min(MAX_STREAM, end - at if end > 0 else MAX_STREAM)))
    begin = data.find(b"x", _ACTIVE_MIME_HEADER)
    project = Compound(Octets(start_of(Octets(data, begin), "zlib", inspector.budget, MAX_STREAM)))
    found = list(_project(inspector, project, label))
    yield from found or macros(inspector, label, Macro("", ""))


def _word(inspector: Inspector, stream: bytes, label: str) -> Iterator[Finding]:
    # FIB base (MS-DOC 2.5.2): fEncrypted.
    if stream[:2] == b"\xec\xa5" and len(stream) > 12 and stream[11] & 1:
        inspector.encrypted("DOCUMENT_ENCRYPTED", label)
    at = stream.find(b"DDEAUTO")
    if at > 0 and b"\x13" in stream[max(at - 40, 0) : at]:
        yield _dde(label, stream[at : at + 400])


def _embedded(inspector: Inspector, file: Compound, entry: Entry) -> Member | None:
    """A packaged file, or an attachment of an Outlook message."""
    if entry.storage:
        return None
    name = entry.path.rpartition("/")[2]
    if name == "\x01ole10native":
        return (
            read_package(file.read(entry, MAX_STREAM)) if inspector.budget.take(min(entry.size, MAX_STREAM)) else None
        )
    if "__attach" not in entry.path:
        return None
    if name in ("__substg1.0_3707001f", "__substg1.0_3704001f"):
        return Member(file.read(entry, 2048).decode("utf-16-le", "replace").rstrip("\0"))
    if name in ("__substg1.0_3707001e", "__substg1.0_3704001e"):
        return Member(file.read(entry, 2048).decode("cp1252", "replace").rstrip("\0"))
    if name == "__substg1.0_37010102" and inspector.budget.take(min(entry.size, MAX_STREAM)):
        return Member("", Octets(file.read(entry, MAX_STREAM)))
    return None


def is_package(listing: Listing) -> bool:
    """A ZIP that is an Office document, of Microsoft's or OpenDocument's kind."""
    return any(member.name in ("[Content_Types].xml", "mimetype") for member in listing.members)


def package(inspector: Inspector, listing: Listing, label: str, depth: int) -> Iterator[Finding]:
    done: set[str] = set()
    sheets = automatic = False
    basic = False
    for member in listing.members:
        name = member.name.lower().replace("\\", "/")
        sheets = sheets or "/macrosheets/" in name
        basic = basic or (
            name.startswith("basic/") and name.endswith(".xml") and not name.endswith(("-lc.xml", "-lb.xml"))
        )
        if member.octets is None or member.name in done:
            continue
        done.add(member.name)
        if name.endswith(("xl/workbook.xml", "xl/workbook.bin")):
            book = _xml(inspector, member, _MAX_LINKS)
            automatic = any(name in book for name in _AUTO_OPEN)
        else:
            yield from _package_part(inspector, member, name, label, depth)
    if sheets:
        yield from macros(inspector, label, Macro("Auto_Open of Excel 4.0" if automatic else "", ""))
    if basic:
        yield from macros(inspector, label, Macro("", ""))


def _package_part(inspector: Inspector, member: Member, name: str, label: str, depth: int) -> Iterator[Finding]:
    if name.endswith("vbaproject.bin"):
        file = Compound(Octets(_xml(inspector, member, MAX_STREAM)))
        yield from _project(inspector, file, label)
    elif name.endswith(".rels"):
        yield from _relationships(_xml(inspector, member, _MAX_LINKS), label)
    elif "/embeddings/" in name or "/activex/" in name:
        inspector.file(member, label, depth + 1)
    elif name.startswith("word/") and name.endswith(".xml") and name.count("/") == 1:
        yield from _fields(_xml(inspector, member, _MAX_XML), label)
    elif name.startswith("xl/externallinks/"):
        match = _DDE_LINK.search(_xml(inspector, member, _MAX_LINKS))
        if match is not None:
            yield _dde(label, match[1])


def _xml(inspector: Inspector, member: Member, limit: int) -> bytes:
    if member.octets is None or not inspector.budget.open():
        return b""
    return start_of(member.octets, member.method, inspector.budget, limit)


def _relationships(rels: bytes, label: str) -> Iterator[Finding]:
    if b"External" not in rels:
        return
    for match in _EXTERNAL.finditer(rels):
        attributes = match[1]
        kind, target = _KIND.search(attributes), _TARGET.search(attributes)
        if b"External" not in attributes or kind is None or target is None or kind[1] not in _FETCHED:
            continue
        if not _FROM_THE_NET.match(target[1].strip()):
            continue
        where = shown(target[1].decode("utf-8", "replace"))
        if _EXPLOIT.search(target[1]):
            yield blocked("DOCUMENT_EXPLOIT", f"{label} fetches an object as exploits do: {where}")
        elif kind[1] == b"attachedTemplate":
            text = f"{label} fetches its template, which may have macros, from {where}"
            yield Finding(name="DOCUMENT_REMOTE", score=3.5, text=text)
        else:
            yield Finding(name="DOCUMENT_REMOTE", score=2.0, text=f"{label} fetches a part of itself from {where}")
        return


def _fields(xml: bytes, label: str) -> Iterator[Finding]:
    if b"instrText" not in xml and b"fldSimple" not in xml:
        return
    # A field's words may be cut into any pieces.
    words = b"".join([match[1] or match[2] or b"" for match in _FIELD.finditer(xml)])
    match = _DDE.search(words)
    if match is not None:
        yield _dde(label, words[match.start() : match.start() + 400])


def _dde(label: str, words: bytes) -> Finding:
    command = _COMMAND.search(words)
    if command is not None:
        return blocked("DOCUMENT_DDE", f"{label} starts {command[0].decode('latin-1')} when it is opened (DDE)")
    return Finding(
        name="DOCUMENT_DDE", score=2.0, text=f"{label} asks another program for data when it is opened (DDE)"
    )
