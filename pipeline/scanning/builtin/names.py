"""Names of files, as Windows would act on them: trailing dots and spaces do not count, what cannot be seen does not count, a NUL
ends it. The same holds for the name of an attachment and for one within an archive.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from pipeline.events import Finding
from pipeline.mime import plain

BLOCKED: Final = 10.0
_TAIL: Final = 300
"""Characters at the end of a name that can matter: a file name has 255 at most."""

_OVERRIDE: Final = re.compile("[\u202d\u202e]")
# Soft hyphen, zero-width and direction marks, controls.
_INVISIBLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_EXTENSION: Final = re.compile(r"(?:\.([^.\s/\\]{1,10}))?\s*\.([^.\s/\\]{1,20})\Z")
_PADDING: Final = re.compile(r"\S\s{8,}\S")
_IGNORED_AT_END: Final = " .\t\r\n\"'<>:;"
_DOCUMENTS: Final = frozenset({
    "avi", "bmp", "csv", "doc", "docx", "eml", "gif", "htm", "html", "jpeg", "jpg", "mov", "mp3", "mp4", "odt", "pdf", "png", "ppt",
    "pptx", "rtf", "svg", "tif", "tiff", "txt", "wav", "webp", "xls", "xlsx", "xml", "zip",
})  # fmt: skip
"""What a program is made to look like."""


def blocked(name: str, text: str) -> Finding:
    return Finding(name=name, score=BLOCKED, text=text, kind="content")


def named(name: str, archive: str, extensions: frozenset[str]) -> Iterator[Finding]:
    """What a name says. `archive`: what the file is in; empty for an attachment. `extensions`: those that are blocked."""
    if not name.isascii() and _OVERRIDE.search(name):
        yield blocked("BIDI_NAME", f"{place(name, archive)}: the name is written backwards to hide what the file is")
    for candidate in (name,) if "\0" not in name else (name, name.partition("\0")[0]):
        pretended, extension = endings(candidate)
        if extension not in extensions:
            continue
        if archive:
            yield blocked("ARCHIVE_BLOCKED", f"{place(name, archive)}: .{extension} files are blocked")
        elif pretended in _DOCUMENTS:
            yield blocked("DOUBLE_EXTENSION", f"{shown(name)}: a .{extension} file that pretends to be .{pretended}")
        else:
            yield blocked("BLOCKED_EXTENSION", f"{shown(name)}: .{extension} files are blocked")
        return
    if "  " in name and _PADDING.search(name[-_TAIL:].strip()):
        text = f"{place(name, archive)}: so many spaces that its ending may not be seen"
        yield Finding(name="NAME_PADDED", score=2.0, text=text)


def endings(name: str) -> tuple[str, str]:
    """The last two endings of a file name, in lower case: ("pdf", "exe") for `Invoice.PDF   .exe. `; empty where there is none."""
    tail = name[-_TAIL:]
    if not tail.isascii():
        tail = unicodedata.normalize("NFKC", tail)
    if not tail.isprintable():
        tail = _INVISIBLE.sub("", tail)
    match = _EXTENSION.search(tail.rstrip(_IGNORED_AT_END))
    return ((match[1] or "").lower(), match[2].lower()) if match else ("", "")


def place(name: str, archive: str) -> str:
    return f"{shown(name)} in {shown(archive)}" if archive else shown(name)


def shown(name: str) -> str:
    """A stranger's name, fit for a line of a report: its end is kept, and what hides is made visible."""
    text = plain(_INVISIBLE.sub("\ufffd", name[:200] + name[-200:] if len(name) > 400 else name), 400)
    if not text.isprintable():
        # Unassigned letters, odd spaces: no harm, and nothing to be seen of them either.
        text = "".join([letter if letter.isprintable() else "\ufffd" for letter in text])
    return text if len(text) <= 80 else f"{text[:40]}…{text[-39:]}"
