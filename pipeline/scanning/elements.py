"""What each element of a page adds to what is known of it, by the parser's numbers for their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import unescape
from itertools import islice
from typing import Final, NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.scanning.document import MAX_LINK_TEXT, MAX_LINKS, MAX_PAGE, MAX_TEXT, MAX_URL, Link
from pipeline.scanning.source import CONDITIONAL
from pipeline.scanning.styles import Attributes, Styles

MAX_WITHIN: Final = 3
MAX_SHEETS: Final = 30
"""Style sheets, scripts and frames of a page."""
MAX_LINK_NODES: Final = 100
"""Pieces of text and elements within a link that are looked at for it."""
LINE: Final = "\0"
"""Where a line of a page's text ends: a parser leaves none in a text (HTML 13.2.5.1)."""

_REFRESH: Final = re.compile(r"\s*+[\d.]*+\s*+[;,]?\s*+(?:url\s*+=\s*+)?[\"']?\s*+([^\"'\s]++)", re.IGNORECASE)
_TARGET: Final = re.compile(r"\bhref\s*+=\s*+[\"']?\s*+([^\"'\s>]++)", re.IGNORECASE)
_ANY_TAG: Final = re.compile(r"<[^<>]*+>|\[[^\[\]<>]{0,100}+\]>")

_COMMON: Final = frozenset({
    "align", "alt", "aria-hidden", "background", "bgcolor", "border", "cellpadding", "cellspacing", "class", "color", "colspan", "content", "dir", "face", "height",
    "href", "hspace", "http-equiv", "id", "lang", "name", "rel", "role", "rowspan", "size", "src", "style", "target", "title", "type", "valign", "vspace", "width",
})  # fmt: skip
"""Attributes that hold no script, of which most elements have no others."""


class Page:
    """What is found, as it is found."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.hidden: list[str] = []
        self.unread: list[str] = []
        """What is no text: styles, titles."""
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
        self.styles = Styles()


def handlers(attributes: Attributes, page: Page) -> None:
    """Scripts in onload, onclick and so on."""
    if _COMMON.issuperset(attributes):
        return
    for name, script in attributes.items():
        if name[:2] == "on" and script and len(page.handlers) < MAX_SHEETS:
            page.handlers.append(script[:20_000])


def _link(node: LexborNode, attributes: Attributes, page: Page) -> None:
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


def conditional(node: LexborNode, page: Page) -> None:
    text = (node.comment_content or "")[:MAX_TEXT]
    if CONDITIONAL.match(text):
        for match in _TARGET.finditer(text):
            if len(page.links) == MAX_LINKS:
                return
            page.links.append(Link(match[1][:MAX_URL], ""))
        # Only Outlook shows it, and there it may be the whole message.
        page.hidden.append(unescape(_ANY_TAG.sub(" ", text)))


def _form(_: LexborNode, attributes: Attributes, page: Page) -> None:
    if len(page.forms) < MAX_LINKS:
        page.forms.append(((attributes.get("action") or "").strip()[:MAX_URL], []))
        _leads(attributes.get("action"), page)


def _leads(target: str | None, page: Page) -> None:
    """A form with one button is a link to those who see it."""
    target = (target or "").strip()
    if target and len(page.links) < MAX_LINKS:
        page.links.append(Link(target[:MAX_URL], ""))


def _frame(_: LexborNode, attributes: Attributes, page: Page) -> None:
    within = attributes.get("srcdoc")
    if within and len(page.within) < MAX_WITHIN:
        page.within.append(within[:MAX_PAGE])
    source = (attributes.get("src") or attributes.get("data") or "").strip()
    if source and len(page.frames) < MAX_SHEETS:
        page.frames.append(source[:MAX_URL])


def _field(_: LexborNode, attributes: Attributes, page: Page) -> None:
    if not page.forms:
        page.forms.append(("", []))
    _leads(attributes.get("formaction"), page)
    fields = page.forms[-1][1]
    if len(fields) < MAX_LINKS:
        kind, name = attributes.get("type") or "text", attributes.get("name") or attributes.get("id") or ""
        fields.append(f"{kind[:20]}:{name[:80]}".lower())


def _image(_: LexborNode, attributes: Attributes, page: Page) -> None:
    if len(page.images) < MAX_LINKS:
        source = attributes.get("src") or (attributes.get("srcset") or "").strip().split(" ", 1)[0].rstrip(",")
        page.images.append(source.strip()[:MAX_URL])


def _base(_: LexborNode, attributes: Attributes, page: Page) -> None:
    page.base = page.base or (attributes.get("href") or "").strip()[:MAX_URL]


def _meta(_: LexborNode, attributes: Attributes, page: Page) -> None:
    if (attributes.get("http-equiv") or "").strip().lower() == "refresh":
        match = _REFRESH.match((attributes.get("content") or "")[:MAX_URL])
        page.refresh = page.refresh or (match[1] if match else "")


def _script(node: LexborNode, page: Page) -> None:
    if len(page.scripts) < MAX_SHEETS:
        source = (node.attributes.get("src") or "").strip()
        page.scripts.append(source[:MAX_URL] if source else node.text(deep=True)[:20_000])


class Kind(NamedTuple):
    """How an element is read."""

    ends_line: bool = False
    adds: Callable[[LexborNode, Attributes, Page], None] | None = None
    hides: bool = False
    """What is in it is there and not seen."""
    unread: Callable[[LexborNode, Page], None] | None = None
    """Nothing in it is text: what else it adds."""
    matters: bool = True
    """Even without attributes."""


def _nothing(_: LexborNode, __: Page) -> None:
    """Styles are read before, titles and templates are not shown."""


_ADDING: Final[Mapping[str, Callable[[LexborNode, Attributes, Page], None]]] = {
    "a": _link, "area": _link, "form": _form, "input": _field, "select": _field, "textarea": _field, "button": _field,
    "iframe": _frame, "frame": _frame, "object": _frame, "embed": _frame, "img": _image, "source": _image, "base": _base, "meta": _meta,
}  # fmt: skip
_BLOCKS: Final = (
    "address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
    "header", "hr", "li", "main", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul",
)  # fmt: skip


def _kinds() -> tuple[int, Mapping[int, Kind]]:
    """The number of texts, and the kinds of the elements that are more than others. Comparing numbers is cheaper than making names."""
    parser = LexborHTMLParser("<!---->x")
    kinds = {
        **{name: Kind(ends_line=True, matters=False) for name in _BLOCKS},
        **{name: Kind(ends_line=name in _BLOCKS, adds=adds) for name, adds in _ADDING.items()},
        **dict.fromkeys(("head", "noscript"), Kind(hides=True)),
        **dict.fromkeys(("style", "title", "template"), Kind(unread=_nothing)),
        "script": Kind(unread=_script),
    }
    assert parser.root is not None
    assert parser.body is not None
    comment, text = parser.root.prev, parser.body.first_child
    assert comment is not None
    assert text is not None
    numbered = {parser.create_node(name).tag_id: kind for name, kind in kinds.items()}
    return text.tag_id, {comment.tag_id: Kind(unread=conditional), **numbered}


TEXT, KINDS = _kinds()
PLAIN: Final = Kind(matters=False)
