"""A message as its reader sees it: the text, the links and what they show, the forms. Made once, shared by all tests.

The work is bounded: so many octets of text, and of a large message the beginning, which is what a person is shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.mime import Header, Part
from pipeline.mime.structure import HEAD
from pipeline.mime.words import text_of
from pipeline.scanning.document import MAX_PAGE, MAX_TEXT, Document, Link
from pipeline.scanning.page import page_document, written
from pipeline.scanning.source import condensed

MAX_DOCUMENTS: Final = 300
"""Parts of text that are read."""
MAX_READ: Final = 2 << 20
"""Octets of them all together: many small ones are a digest, or hide one that is not."""
MAX_SOURCE: Final = 1 << 20
"""Octets of a page that are looked through."""
_SHOWN: Final = frozenset({"text/html", "application/xhtml+xml", "text/x-amp-html"})
_HTML: Final = _SHOWN | {"image/svg+xml"}
# Windows passes over dots and spaces at the end.
_HTML_NAME: Final = re.compile(r"\.(?:[sxm]?html?|xht|svg)[\s.\u00ad\u200b-\u200f\u2060\ufeff]*+\Z", re.IGNORECASE)
_LOOKS_LIKE_HTML: Final = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|script|form|svg)\b", re.IGNORECASE
)


class Reading(msgspec.Struct, frozen=True):
    documents: tuple[Document, ...]

    @property
    def shown(self) -> tuple[Document, ...]:
        return tuple([document for document in self.documents if not document.attached])

    @property
    def text(self) -> str:
        """All that is seen without opening a file."""
        return "\n".join([document.text for document in self.documents if not document.attached])

    @property
    def links(self) -> tuple[Link, ...]:
        """Of all documents, attached ones too."""
        return tuple([link for document in self.documents for link in document.links])


def read(parts: Sequence[Part]) -> Reading:
    documents: list[Document] = []
    left = MAX_READ
    for part in parts:
        if part.container:
            continue
        is_html = _is_html(part)
        if is_html or part.content_type.startswith("text/"):
            documents.append(_document(part, is_html=is_html))
            left -= max(len(part.head), min(part.end - part.start, MAX_PAGE))
            if left <= 0 or len(documents) == MAX_DOCUMENTS:
                break
    return Reading(tuple(documents))


def page_of(octets: bytes) -> Document:
    """Of a page that is no part of a message: one within an archive."""
    return page_document(Part(b"", Header(b""), 0, "text/html"), text_of(octets), attached=True)


def _is_html(part: Part) -> bool:
    if part.content_type in _HTML or any(_HTML_NAME.search(name) for name in part.names):
        return True
    # Octets of any type with a page in them: what saves them opens them.
    return not part.content_type.startswith(("image/", "audio/", "video/")) and bool(
        _LOOKS_LIKE_HTML.match(part.head[:400])
    )


def _document(part: Part, *, is_html: bool) -> Document:
    attached = part.attached or (is_html and part.content_type not in _SHOWN)
    if is_html:
        return page_document(part, _source(part), attached=attached)
    text = text_of(part.head[:HEAD], part.charset)
    return Document(part=part, attached=attached, is_html=False, text=text[:MAX_TEXT], links=tuple(written(text)))


def _source(part: Part) -> str:
    """The page's text. Behind a wall of what nobody sees there may be one that everybody sees."""
    octets = part.head
    if len(octets) < HEAD:
        return text_of(octets, part.charset)
    collected = bytearray()
    for chunk in part.decoded():
        collected += chunk
        if len(collected) >= MAX_SOURCE:
            break
    return condensed(text_of(bytes(collected[:MAX_SOURCE]), part.charset))[:MAX_PAGE]
