"""Attachments that run when they are opened: by name, by content, and inside a ZIP's directory.

A name is judged as Windows would act on it: trailing dots and spaces do not count, what cannot be seen does not count, a NUL
ends it. Content is judged by its first octets, whatever the name and the type say. Of a ZIP only names are read, in its local
headers and its central directory; nothing is unpacked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from pipeline.events import Finding
from pipeline.mime import Part, plain
from pipeline.scanning.builtin.archives import MAX_ENTRIES, is_zip, zip_entries
from pipeline.scanning.engine import Mail

BLOCKED: Final = 10.0
MAX_FINDINGS: Final = 10
"""After so many the message is decided, and more would only be read by nobody."""
_TAIL: Final = 300
"""Characters at the end of a name that can matter: a file name has 255 at most."""

_OVERRIDE: Final = re.compile("[\u202d\u202e]")
# Soft hyphen, zero-width and direction marks, controls.
_INVISIBLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_EXTENSION: Final = re.compile(r"(?:\.([^.\s/\\]{1,10}))?\s*\.([^.\s/\\]{1,20})\Z")
_IGNORED_AT_END: Final = " .\t\r\n\"'<>:;"
_DOCUMENTS: Final = frozenset({
    "avi", "bmp", "csv", "doc", "docx", "eml", "gif", "htm", "html", "jpeg", "jpg", "mov", "mp3", "mp4", "odt", "pdf", "png", "ppt",
    "pptx", "rtf", "tif", "tiff", "txt", "wav", "xls", "xlsx", "xml", "zip",
})  # fmt: skip
"""What a program is made to look like."""
# What a "#!" file has no business to call itself.
_NOT_A_SCRIPT: Final = re.compile(r"(?:image|audio|video)/|application/(?:pdf|msword|vnd\.|zip)")


class Attachments:
    def __init__(self, blocked: Sequence[str]) -> None:
        """`blocked`: file name endings, with or without the dot. Without any, programs are let through by content too."""
        self._blocked = frozenset(extension.lower().lstrip(".") for extension in blocked)

    def look(self, mail: Mail) -> list[Finding]:
        findings: list[Finding] = []
        for part in mail.parts:
            for name in part.names:
                findings += self._named(name, "")
            if not part.container:
                findings += self._contents(part)
            if len(findings) >= MAX_FINDINGS:
                break
        return findings[:MAX_FINDINGS]

    def _named(self, name: str, archive: str) -> Iterator[Finding]:
        """`archive`: the name of the archive it is in; empty for an attachment's own name."""
        if _OVERRIDE.search(name):
            yield _blocked(
                "BIDI_NAME", f"{_place(name, archive)}: the name is written backwards to hide what the file is"
            )
        for candidate in (name,) if "\0" not in name else (name, name.partition("\0")[0]):
            pretended, extension = endings(candidate)
            if extension not in self._blocked:
                continue
            if archive:
                yield _blocked("ARCHIVE_BLOCKED", f"{_place(name, archive)}: .{extension} files are blocked")
            elif pretended in _DOCUMENTS:
                yield _blocked(
                    "DOUBLE_EXTENSION", f"{shown(name)}: a .{extension} file that pretends to be .{pretended}"
                )
            else:
                yield _blocked("BLOCKED_EXTENSION", f"{shown(name)}: .{extension} files are blocked")
            break

    def _contents(self, part: Part) -> Iterator[Finding]:
        head = part.head
        program = _program(head) if self._blocked else ""
        if program:
            yield _blocked(
                "EXECUTABLE", f"{shown(part.name) or 'a part'}, sent as {shown(part.content_type)}, is {program}"
            )
        elif head[:2] == b"#!" and _NOT_A_SCRIPT.match(part.content_type):
            yield Finding(
                name="SCRIPT_DISGUISED",
                score=3.0,
                text=f"a script sent as {shown(part.content_type)}: {shown(part.name)}",
            )
        if is_zip(part):
            yield from self._archive(part)

    def _archive(self, part: Part) -> Iterator[Finding]:
        archive = part.name or "a ZIP archive"
        encrypted = False
        left = MAX_ENTRIES
        for entry in zip_entries(part):
            left -= 1
            encrypted = encrypted or entry.encrypted
            found = next(self._named(entry.name, archive), None)
            if found is not None:
                yield found
                break
        if encrypted:
            yield Finding(name="ARCHIVE_ENCRYPTED", text=f"{shown(archive)} is encrypted", kind="content")
        if left == 0:
            yield _blocked("ARCHIVE_CUT", f"{shown(archive)} has more entries than are looked at")


def _blocked(name: str, text: str) -> Finding:
    return Finding(name=name, score=BLOCKED, text=text, kind="content")


def _place(name: str, archive: str) -> str:
    return f"{shown(name)} in {shown(archive)}" if archive else shown(name)


def _program(head: bytes) -> str:
    # A DOS header has zero octets among its first 64; a text that begins with "MZ" has not.
    if head[:2] == b"MZ" and len(head) >= 64 and b"\0" in head[2:64]:
        return "a Windows program"
    return "a Linux program" if head[:4] == b"\x7fELF" else ""


def endings(name: str) -> tuple[str, str]:
    """The last two endings of a file name, in lower case: ("pdf", "exe") for `Invoice.PDF   .exe. `; empty where there is none."""
    tail = name[-_TAIL:]
    if not tail.isascii():
        tail = unicodedata.normalize("NFKC", tail)
    if not tail.isprintable():
        tail = _INVISIBLE.sub("", tail)
    match = _EXTENSION.search(tail.rstrip(_IGNORED_AT_END))
    return ((match[1] or "").lower(), match[2].lower()) if match else ("", "")


def shown(name: str) -> str:
    """A stranger's name, fit for a line of a report: its end is kept, and what hides is made visible."""
    text = plain(_INVISIBLE.sub("\ufffd", name[:200] + name[-200:] if len(name) > 400 else name), 400)
    return text if len(text) <= 80 else f"{text[:40]}…{text[-39:]}"
