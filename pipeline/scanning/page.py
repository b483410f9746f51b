"""A page of HTML as its reader sees it, parsed by lexbor as a browser would. Nothing is fetched and no script runs.

The work is bounded: a parser looks through all open elements at each tag, so deep nesting is taken out before, and of lists, runs and
links within links only so much is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import unescape
from itertools import islice
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.mime import Part, plain
from pipeline.scanning.document import MAX_LINK_TEXT, MAX_LINKS, MAX_PAGE, MAX_TEXT, MAX_URL, Document, Form, Link
from pipeline.scanning.styles import Attributes, ground_of, hiding, is_hidden

MAX_WITHIN: Final = 3
MAX_SHEETS: Final = 30
"""Style sheets, scripts and frames of a page."""
MAX_LINK_NODES: Final = 100
"""Pieces of text and elements within a link that are looked at for it."""
MAX_TAGS: Final = 2000
DEEP: Final = 1000
"""Elements within each other that are still told apart; honest pages have some fifty."""

_RUN: Final = re.compile(r"(?<![^<>])([^<>]{4000})[^<>]++")
_WIDE: Final = re.compile(r"\s{64,}+")
_URL: Final = re.compile(r"\b(?:https?|ftp)://[^\s<>\"'\u00a0]{1,2000}|\bwww\.[^\s<>\"'\u00a0]{4,2000}", re.IGNORECASE)
_TRAILING: Final = ".,;:!?)]}>'\"…"
_REFRESH: Final = re.compile(r"\s*+[\d.]*+\s*+[;,]?\s*+(?:url\s*+=\s*+)?[\"']?\s*+([^\"'\s]++)", re.IGNORECASE)
# Outlook shows what stands in <!--[if mso]> ... <![endif]-->; its targets are links as well.
_CONDITIONAL: Final = re.compile(r"\s*+\[if\b[^\]]{0,100}+\]>", re.IGNORECASE)
_TARGET: Final = re.compile(r"\bhref\s*+=\s*+[\"']?\s*+([^\"'\s>]++)", re.IGNORECASE)
_ANY_TAG: Final = re.compile(r"<[^<>]*+>|\[[^\[\]<>]{0,100}+\]>")
_UNSEEN: Final = frozenset({"script", "style", "title", "template", "-comment", "-doctype"})
_BLOCKS: Final = frozenset({
    "address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
    "header", "hr", "li", "main", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul",
})  # fmt: skip
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][^\s/<>]{0,20}+)[^<>]*+>?")
_FLAT: Final = frozenset({
    "a", "area", "base", "body", "br", "col", "colgroup", "dd", "dt", "embed", "form", "frame", "head", "hr", "html", "img", "input", "li", "link", "meta", "option",
    "p", "param", "rp", "rt", "script", "source", "style", "tbody", "td", "tfoot", "th", "thead", "title", "tr", "wbr", "button", "select", "textarea",
})  # fmt: skip
"""Elements that do not nest in themselves, or that are looked for."""


def condensed(text: str) -> str:
    """Without comments, but for those that Outlook shows, without long runs of white space, and of all else between tags the beginning."""
    pieces: list[str] = []
    at = 0
    while (start := text.find("<!--", at)) >= 0 and (stop := text.find("-->", start + 4)) >= 0:
        kept = start if not _CONDITIONAL.match(text, start + 4) else stop + 3
        pieces.append(text[at:kept])
        at = stop + 3
    pieces.append(text[at:])
    return _WIDE.sub(" ", _RUN.sub(r"\1", "".join(pieces)))


def shallow(text: str) -> str:
    """Without the opening tags that would nest elements deeper than `DEEP`: a parser looks through all open ones at each tag."""
    if text.count("<") <= MAX_TAGS:
        return text
    opened: dict[str, int] = {}
    depth = 0

    def kept(match: re.Match[str]) -> str:
        nonlocal depth
        name = match[2].lower()
        if name in _FLAT:
            return match[0]
        if match[1]:
            if opened.get(name):
                opened[name] -= 1
                depth -= 1
        elif depth >= DEEP:
            return ""
        else:
            opened[name] = opened.get(name, 0) + 1
            depth += 1
        return match[0]

    return _TAG.sub(kept, text)


def written(text: str) -> Iterator[Link]:
    """Addresses that stand in plain text: mail programs make links of them."""
    if "://" not in text and "www." not in text.lower():  # most text: the pattern would stop at every word
        return
    for number, match in enumerate(_URL.finditer(text[:MAX_TEXT])):
        if number == MAX_LINKS:
            return
        yield Link(match[0].rstrip(_TRAILING)[:MAX_URL], "")


def _unlinked(text: str, links: Sequence[Link]) -> list[Link]:
    """Addresses in the text of a page that are no links, of which mail programs make some, too."""
    if "://" not in text and "www." not in text.lower():
        return []
    shown = {match.rstrip(_TRAILING) for link in links if link.text for match in _URL.findall(link.text)}
    found = list(written(text))
    return [link for link in found if link.target not in shown][: MAX_LINKS - len(links)]


class _Page:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.hidden: list[str] = []
        self.links: list[Link] = []
        self.forms: list[tuple[str, list[str]]] = []
        self.images: list[str] = []
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self.frames: list[str] = []
        self.within: list[str] = []
        """Pages that stand in an attribute (<iframe srcdoc>)."""
        self.base = ""
        self.refresh = ""
        self.hiding: frozenset[str] = frozenset()
        """Classes that the page's own style sheet hides."""
        self.size = 0


def page_document(part: Part, text: str, *, attached: bool) -> Document:
    page = _Page()
    parser = LexborHTMLParser(shallow(text))
    root = parser.root
    if root is not None:
        if "<style" in text or "<STYLE" in text:
            page.hiding = hiding([node.text(deep=True) for node in parser.css("style")[:MAX_SHEETS]])
        _around(root, page)
        _walk(root, page)
    for within in page.within[:MAX_WITHIN]:
        inner = LexborHTMLParser(shallow(within)).root
        if inner is not None:
            _walk(inner, page)
    seen = _lines("".join(page.seen))
    page.links += _unlinked(seen, page.links)
    return Document(
        part=part,
        attached=attached,
        is_html=True,
        text=seen,
        links=tuple(page.links),
        forms=tuple([Form(action, tuple(fields)) for action, fields in page.forms]),
        images=tuple(page.images),
        frames=tuple(page.frames),
        base=page.base,
        refresh=page.refresh,
        scripts=tuple(page.scripts),
        handlers=tuple(page.handlers),
        hidden=plain(" ".join("".join(page.hidden).split()), MAX_TEXT),
    )


def _around(root: LexborNode, page: _Page) -> None:
    """Comments before and behind all elements."""
    before = islice(_neighbours(root, "prev"), MAX_SHEETS)
    behind = islice(_neighbours(root, "next"), MAX_SHEETS)
    for node in (*before, *behind):
        if node.tag == "-comment":
            _conditional(node, page)


def _neighbours(node: LexborNode, way: str) -> Iterator[LexborNode]:
    following = getattr(node, way)
    while following is not None:
        yield following
        following = getattr(following, way)


def _walk(root: LexborNode, page: _Page) -> None:
    """Depth first, without recursion: pages are nested as deeply as somebody likes."""
    stack: list[tuple[LexborNode, bool, str]] = [(root, False, "")]
    while stack:
        node, hidden, ground = stack.pop()
        tag = node.tag or ""
        if tag == "-text":
            _said(node, page, hidden=hidden)
            continue
        if tag == "script":
            _script(node, page)
        elif tag == "-comment":
            _conditional(node, page)
        if tag not in _UNSEEN:
            attributes = node.attributes
            if attributes:
                ground, covered = ground_of(attributes, ground)
                hidden = hidden or covered or is_hidden(attributes, page.hiding)
                _handlers(attributes, page)
            hidden = hidden or tag in ("head", "noscript")
            if tag in _BLOCKS:
                page.seen.append("\n")
            element = _ELEMENTS.get(tag)
            if element is not None:
                element(node, attributes, page)
            child = node.last_child
            while child is not None:
                stack.append((child, hidden, ground))
                child = child.prev


def _said(node: LexborNode, page: _Page, *, hidden: bool) -> None:
    if page.size < MAX_TEXT:
        words = _spaced(node.text_content or "")
        (page.hidden if hidden else page.seen).append(words)
        page.size += len(words)


def _spaced(text: str) -> str:
    """With one space for each run of white space: a third of what a pattern costs, and there are thousands of texts in a page."""
    words = " ".join(text.split())
    if not words:
        return " " if text else ""
    return f"{' ' if text[0].isspace() else ''}{words}{' ' if text[-1].isspace() else ''}"


def _link(node: LexborNode, attributes: Attributes, page: _Page) -> None:
    target = (attributes.get("href") or attributes.get("xlink:href") or "").strip()
    if target and len(page.links) < MAX_LINKS:
        shown = " ".join(_text_in(node).split())
        page.links.append(Link(target[:MAX_URL], shown[:MAX_LINK_TEXT]))


def _text_in(node: LexborNode) -> str:
    """The beginning of it. Links of drawings may stand in each other, so that reading each to its end would never end."""
    child = node.last_child
    if child is None:
        return ""
    if child.prev is None and child.tag == "-text":
        return (child.text_content or "")[: 4 * MAX_LINK_TEXT]
    pieces: list[str] = []
    left = 4 * MAX_LINK_TEXT
    for inner in islice(node.traverse(include_text=True), MAX_LINK_NODES):
        if inner.tag == "-text":
            words = (inner.text_content or "")[:left]
            pieces.append(words)
            left -= len(words)
            if left <= 0:
                break
    return "".join(pieces)


def _conditional(node: LexborNode, page: _Page) -> None:
    text = (node.comment_content or "")[:MAX_TEXT]
    if _CONDITIONAL.match(text):
        for match in _TARGET.finditer(text):
            if len(page.links) == MAX_LINKS:
                return
            page.links.append(Link(match[1][:MAX_URL], ""))
        # Only Outlook shows it, and there it may be the whole message.
        page.hidden.append(unescape(_ANY_TAG.sub(" ", text)))


def _form(_: LexborNode, attributes: Attributes, page: _Page) -> None:
    if len(page.forms) < MAX_LINKS:
        page.forms.append(((attributes.get("action") or "").strip()[:MAX_URL], []))
        _leads(attributes.get("action"), page)


def _leads(target: str | None, page: _Page) -> None:
    """A form with one button is a link to those who see it."""
    target = (target or "").strip()
    if target and len(page.links) < MAX_LINKS:
        page.links.append(Link(target[:MAX_URL], ""))


def _frame(_: LexborNode, attributes: Attributes, page: _Page) -> None:
    within = attributes.get("srcdoc")
    if within and len(page.within) < MAX_WITHIN:
        page.within.append(within[:MAX_PAGE])
    source = (attributes.get("src") or attributes.get("data") or "").strip()
    if source and len(page.frames) < MAX_SHEETS:
        page.frames.append(source[:MAX_URL])


def _handlers(attributes: Attributes, page: _Page) -> None:
    """Scripts in onload, onclick and so on."""
    for name, script in attributes.items():
        if name[:2] == "on" and script and len(page.handlers) < MAX_SHEETS:
            page.handlers.append(script[:20_000])


def _field(_: LexborNode, attributes: Attributes, page: _Page) -> None:
    if not page.forms:
        page.forms.append(("", []))
    _leads(attributes.get("formaction"), page)
    fields = page.forms[-1][1]
    if len(fields) < MAX_LINKS:
        kind, name = attributes.get("type") or "text", attributes.get("name") or attributes.get("id") or ""
        fields.append(f"{kind[:20]}:{name[:80]}".lower())


def _image(_: LexborNode, attributes: Attributes, page: _Page) -> None:
    if len(page.images) < MAX_LINKS:
        source = attributes.get("src") or (attributes.get("srcset") or "").strip().split(" ", 1)[0].rstrip(",")
        page.images.append(source.strip()[:MAX_URL])


def _base(_: LexborNode, attributes: Attributes, page: _Page) -> None:
    page.base = page.base or (attributes.get("href") or "").strip()[:MAX_URL]


def _meta(_: LexborNode, attributes: Attributes, page: _Page) -> None:
    if (attributes.get("http-equiv") or "").strip().lower() == "refresh":
        match = _REFRESH.match((attributes.get("content") or "")[:MAX_URL])
        page.refresh = page.refresh or (match[1] if match else "")


_ELEMENTS: Final = {
    "a": _link, "area": _link, "form": _form, "input": _field, "select": _field, "textarea": _field, "button": _field,
    "iframe": _frame, "frame": _frame, "object": _frame, "embed": _frame, "img": _image, "source": _image, "base": _base, "meta": _meta,
}  # fmt: skip


def _script(node: LexborNode, page: _Page) -> None:
    if len(page.scripts) < MAX_SHEETS:
        source = (node.attributes.get("src") or "").strip()
        page.scripts.append(source[:MAX_URL] if source else node.text(deep=True)[:20_000])


def _lines(text: str) -> str:
    return "\n".join([line for raw in text.split("\n") if (line := " ".join(raw.split()))])
