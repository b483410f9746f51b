"""A message made safe to look at: its text without its markup, links with where they really go, attachments by name, type and size. Pure.

Nothing is fetched, nothing runs, and no character of it can do anything to a terminal or a page: what is not visible is written as an
escape. The work and the result are bounded whatever the message is; `cut` says that there was more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from pipeline.mime import Part
from pipeline.mime.structure import HEAD
from pipeline.scanning.document import Document, Link
from pipeline.scanning.engine import Mail
from pipeline.scanning.files.kinds import PE, kind_of, program_text
from pipeline.text import printable

MAX_TEXT: Final = 64 << 10
"""Characters of text of all parts together."""
MAX_HIDDEN: Final = 2000
MAX_LINKS: Final = 200
MAX_ATTACHMENTS: Final = 200
MAX_LINE: Final = 500
MAX_BLANK: Final = 1
"""Empty lines in a row."""
FIELDS: Final = (b"from", b"to", b"cc", b"reply-to", b"date", b"subject", b"message-id")

_WHITE: Final = re.compile(r"\s")
"""White space of any width is a space."""
_HOST: Final = re.compile(r"(?:[a-z][a-z0-9+.-]{0,20}:)?//(?:[^/?#\s]{0,200}@)?([^/?#\s:@]{1,255})", re.IGNORECASE)
_NAMED: Final = re.compile(
    r"(?:https?://)?((?:[a-z0-9-]{1,63}\.){1,10}[a-z]{2,24})(?:[/?#:].{0,300})?", re.IGNORECASE | re.DOTALL
)


class ShownLink(msgspec.Struct, frozen=True):
    target: str
    """Where it goes."""
    text: str
    """What is shown in its place."""
    deceives: bool
    """What is shown names another host than the one that it goes to."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One part of text."""

    name: str
    """Of a file that has to be opened to see it; empty for what the mail program shows."""
    is_html: bool
    text: str
    hidden: str
    """What is in it and not seen when it is shown."""
    links: tuple[ShownLink, ...]
    forms: tuple[str, ...]
    """Where each of its forms sends what is typed, and what it asks for."""
    images: int
    """Pictures that would be fetched or shown."""
    scripts: int


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    declared: str
    """Its type, as the message says."""
    found: str
    """Its type, as its first octets say; empty when they say nothing."""
    size: int
    """Octets, decoded."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    fields: tuple[tuple[str, str], ...]
    """Of the header."""
    pieces: tuple[Piece, ...]
    attachments: tuple[Attachment, ...]
    attachments_left_off: int
    flaws: tuple[str, ...]
    """What is odd about its structure."""
    cut: bool


def preview(mail: Mail) -> Preview:
    """Takes time linear in the size of the message: for a large one, call it in a thread."""
    room = _Room()
    documents = mail.reading.documents
    pieces = tuple([piece for document in documents if (piece := _piece(document, room)) is not None])
    shown = {id(document.part) for document in documents if not document.attached}
    files = [part for part in mail.parts if not part.container and id(part) not in shown]
    header = mail.header
    return Preview(
        fields=tuple(
            [
                (name.decode("ascii"), _line(text))
                for name in FIELDS
                if (text := header.text(name) if name != b"date" else header.text(name, 100))
            ]
        ),
        pieces=pieces,
        attachments=tuple([_attachment(part) for part in files[:MAX_ATTACHMENTS]]),
        attachments_left_off=max(0, len(files) - MAX_ATTACHMENTS),
        flaws=tuple(sorted(flaw.value for flaw in mail.flaws)),
        cut=room.cut,
    )


class _Room:
    """What is left of the characters that may be shown."""

    def __init__(self) -> None:
        self.left = MAX_TEXT
        self.cut = False

    def take(self, text: str) -> str:
        shown = text[: self.left]
        self.cut = self.cut or len(shown) < len(text)
        self.left -= len(shown)
        return shown


def _piece(document: Document, room: _Room) -> Piece | None:
    text = room.take(_lines(document.text))
    hidden = _line(document.hidden, MAX_HIDDEN)
    links = tuple([_link(link) for link in document.links[:MAX_LINKS]]) if document.is_html else ()
    room.cut = room.cut or len(document.part.head) >= HEAD
    room.cut = room.cut or len(document.links) > MAX_LINKS or len(document.hidden) > MAX_HIDDEN
    forms = tuple(
        [f"{_line(form.action) or 'the page itself'}: {_line(', '.join(form.fields))}" for form in document.forms[:20]]
    )
    if not (text.strip() or hidden or links or forms or document.scripts or document.images):
        return None
    return Piece(
        name=_line(document.part.name) or "a file without a name" if document.attached else "",
        is_html=document.is_html,
        text=text,
        hidden=hidden,
        links=links,
        forms=forms,
        images=len(document.images),
        scripts=len(document.scripts),
    )


def _lines(text: str) -> str:
    """Lines as they can be shown: none without an end, and no wall of empty ones."""
    lines = (printable(_WHITE.sub(" ", line.replace("\t", "    ")).rstrip()) for line in text.splitlines())
    return "\n".join(_few_blank(lines)).strip("\n")


def _few_blank(lines: Iterable[str]) -> Iterator[str]:
    blank = 0
    for line in lines:
        blank = 0 if line else blank + 1
        if blank <= MAX_BLANK:
            yield line


def _line(text: str, limit: int = MAX_LINE) -> str:
    return printable(" ".join(text[: 2 * limit].split()))[:limit]


def _link(link: Link) -> ShownLink:
    return ShownLink(_line(link.target, 2000), _line(link.text), _deceives(link))


def _deceives(link: Link) -> bool:
    shown, goes = _NAMED.fullmatch(link.text.strip()), _HOST.match(link.target)
    if shown is None or goes is None:
        return False
    one, other = (match[1].lower().removeprefix("www.").rstrip(".") for match in (shown, goes))
    return one != other


def _attachment(part: Part) -> Attachment:
    return Attachment(
        name=_line(part.name),
        declared=_line(part.content_type),
        found=_found(part.head),
        size=sum(len(chunk) for chunk in part.decoded()),
    )


def _found(head: bytes) -> str:
    kind = kind_of(head)
    return program_text(head) if kind is PE else kind.text if kind is not None else ""
