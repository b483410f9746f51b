"""A message as its reader sees it: the text, the links and what they show, the forms. Made once, shared by all tests.

HTML is parsed by lexbor as a browser would; nothing is fetched and no script runs. The work is bounded: so many octets of text,
so many links, and of a large message the beginning, which is what a person is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.mime import Part, plain
from pipeline.mime.structure import HEAD
from pipeline.mime.words import text_of

MAX_DOCUMENTS: Final = 30
"""Parts of text that are read."""
MAX_LINKS: Final = 500
"""Of one document."""
MAX_URL: Final = 2000
MAX_LINK_TEXT: Final = 300
MAX_TEXT: Final = 128 << 10
"""Characters of text of one document."""

_HTML: Final = frozenset({"text/html", "application/xhtml+xml", "image/svg+xml"})
_HTML_NAME: Final = re.compile(r"\.(?:s|x|m)?html?\s*\Z|\.svg\s*\Z", re.IGNORECASE)
_LOOKS_LIKE_HTML: Final = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|script|form|svg)\b", re.IGNORECASE
)
_SPACE: Final = re.compile(r"\s+")
_URL: Final = re.compile(r"\b(?:https?|ftp)://[^\s<>\"'\u00a0]{1,2000}|\bwww\.[^\s<>\"'\u00a0]{4,2000}", re.IGNORECASE)
_TRAILING: Final = ".,;:!?)]}>'\"…"
_HIDDEN: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0*[01]?(?:\.0+)?(?:px|pt|em|%)?\s*(?:;|!|\Z)"
    r"|(?:max-)?(?:height|width)\s*:\s*0(?:px)?\s*(?:;|!|\Z)|opacity\s*:\s*0?\.?0*\s*(?:;|!|\Z)|mso-hide\s*:\s*all",
    re.IGNORECASE,
)  # fmt: skip
_UNSEEN: Final = frozenset({"script", "style", "head", "title", "template", "noscript", "-comment", "-doctype"})
_BLOCKS: Final = frozenset({
    "address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
    "header", "hr", "li", "main", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul",
})  # fmt: skip


class Link(msgspec.Struct, frozen=True):
    target: str
    """As it is written, without white space at its ends; at most 2,000 characters."""
    text: str
    """What is shown in its place; empty for a picture, and for an address in plain text that shows itself."""


class Form(msgspec.Struct, frozen=True):
    action: str
    fields: tuple[str, ...]
    """`type:name` of its inputs, in lower case."""

    @property
    def password(self) -> bool:
        return any(field.startswith("password:") or "passw" in field or "pwd" in field for field in self.fields)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One part of text."""

    part: Part
    attached: bool
    """It is a file that has to be opened, not what the mail program shows."""
    is_html: bool
    text: str
    """What is seen of it; blocks are lines."""
    links: tuple[Link, ...] = ()
    forms: tuple[Form, ...] = ()
    images: tuple[str, ...] = ()
    """Their sources."""
    scripts: tuple[str, ...] = ()
    """The beginning of each, at most 20,000 characters; of one elsewhere its address."""
    hidden: str = ""
    """Text that is there and not seen."""


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
    for part in parts:
        if part.container or len(documents) == MAX_DOCUMENTS:
            continue
        is_html = _is_html(part)
        if is_html or part.content_type.startswith("text/"):
            documents.append(_document(part, is_html=is_html))
    return Reading(tuple(documents))


def _is_html(part: Part) -> bool:
    if part.content_type in _HTML or any(_HTML_NAME.search(name) for name in part.names):
        return True
    # Octets of any type with a page in them: what saves them opens them.
    return not part.content_type.startswith(("image/", "audio/", "video/")) and bool(
        _LOOKS_LIKE_HTML.match(part.head[:400])
    )


def _document(part: Part, *, is_html: bool) -> Document:
    text = text_of(part.head[:HEAD], part.charset)
    attached = part.attached or (is_html and part.content_type not in _HTML) or part.content_type == "image/svg+xml"
    if is_html:
        return _page(part, text, attached=attached)
    return Document(part=part, attached=attached, is_html=False, text=text[:MAX_TEXT], links=tuple(_written(text)))


def _written(text: str) -> Iterator[Link]:
    """Addresses that stand in plain text: mail programs make links of them."""
    for number, match in enumerate(_URL.finditer(text[:MAX_TEXT])):
        if number == MAX_LINKS:
            return
        yield Link(match[0].rstrip(_TRAILING)[:MAX_URL], "")


class _Page:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.hidden: list[str] = []
        self.links: list[Link] = []
        self.forms: list[tuple[str, list[str]]] = []
        self.images: list[str] = []
        self.scripts: list[str] = []
        self.size = 0


def _page(part: Part, text: str, *, attached: bool) -> Document:
    page = _Page()
    root = LexborHTMLParser(text).root
    if root is not None:
        _walk(root, page)
    return Document(
        part=part,
        attached=attached,
        is_html=True,
        text=_lines("".join(page.seen)),
        links=tuple(page.links),
        forms=tuple([Form(action, tuple(fields)) for action, fields in page.forms]),
        images=tuple(page.images),
        scripts=tuple(page.scripts),
        hidden=plain(_SPACE.sub(" ", "".join(page.hidden)).strip(), MAX_TEXT),
    )


def _walk(root: LexborNode, page: _Page) -> None:
    """Depth first, without recursion: pages are nested as deeply as somebody likes."""
    stack: list[tuple[LexborNode, bool]] = [(root, False)]
    while stack and page.size < MAX_TEXT:
        node, hidden = stack.pop()
        tag = node.tag or ""
        if tag == "-text":
            words = _SPACE.sub(" ", node.text_content or "")
            (page.hidden if hidden else page.seen).append(words)
            page.size += len(words)
            continue
        if tag == "script":
            _script(node, page)
        if tag not in _UNSEEN or tag in ("head", "noscript"):
            hidden = hidden or tag in ("head", "noscript") or _is_hidden(node)
            if tag in _BLOCKS:
                page.seen.append("\n")
            _element(node, tag, page)
            child = node.last_child
            while child is not None:
                stack.append((child, hidden))
                child = child.prev


def _is_hidden(node: LexborNode) -> bool:
    attributes = node.attributes
    if not attributes:
        return False
    style = attributes.get("style")
    return "hidden" in attributes or (bool(style) and _HIDDEN.search(style or "") is not None)


def _element(node: LexborNode, tag: str, page: _Page) -> None:
    if tag in ("a", "area"):
        target = (node.attributes.get("href") or "").strip()
        if target and len(page.links) < MAX_LINKS:
            shown = _SPACE.sub(" ", node.text(deep=True)[: 4 * MAX_LINK_TEXT]).strip()
            page.links.append(Link(target[:MAX_URL], shown[:MAX_LINK_TEXT]))
    elif tag == "form" and len(page.forms) < MAX_LINKS:
        page.forms.append(((node.attributes.get("action") or "").strip()[:MAX_URL], []))
    elif tag in ("input", "select", "textarea", "button"):
        if not page.forms:
            page.forms.append(("", []))
        fields = page.forms[-1][1]
        if len(fields) < MAX_LINKS:
            attributes = node.attributes
            kind, name = attributes.get("type") or "text", attributes.get("name") or attributes.get("id") or ""
            fields.append(f"{kind[:20]}:{name[:80]}".lower())
    elif tag == "img" and len(page.images) < MAX_LINKS:
        page.images.append((node.attributes.get("src") or "").strip()[:MAX_URL])


def _script(node: LexborNode, page: _Page) -> None:
    if len(page.scripts) < MAX_DOCUMENTS:
        source = (node.attributes.get("src") or "").strip()
        page.scripts.append(source[:MAX_URL] if source else node.text(deep=True)[:20_000])


def _lines(text: str) -> str:
    return "\n".join([line for raw in text.split("\n") if (line := _SPACE.sub(" ", raw).strip())])
