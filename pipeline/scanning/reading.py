"""A message as its reader sees it: the text, the links and what they show, the forms. Made once, shared by all tests.

HTML is parsed by lexbor as a browser would; nothing is fetched and no script runs. The work is bounded: so many octets of text,
so many links, and of a large message the beginning, which is what a person is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import unescape
from itertools import islice
from typing import Final

import msgspec
from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.mime import Part, plain
from pipeline.mime.structure import HEAD
from pipeline.mime.words import text_of

MAX_DOCUMENTS: Final = 300
"""Parts of text that are read."""
MAX_READ: Final = 2 << 20
"""Octets of them all together: many small ones are a digest, or hide one that is not."""
MAX_WITHIN: Final = 3
MAX_SHEETS: Final = 30
"""Style sheets, scripts and frames of a page."""
MAX_LINKS: Final = 1000
"""Of one document."""
MAX_URL: Final = 2000
MAX_LINK_TEXT: Final = 300
MAX_LINK_NODES: Final = 100
"""Pieces of text and elements within a link that are looked at for it."""
MAX_SOURCE: Final = 1 << 20
"""Octets of a page that are looked through."""
MAX_PAGE: Final = 256 << 10
"""Characters of it, without what nobody sees, that are read."""
MAX_TAGS: Final = 2000
DEEP: Final = 1000
"""Elements within each other that are still told apart; honest pages have some fifty."""
MAX_TEXT: Final = 128 << 10
"""Characters of text of one document."""

_SHOWN: Final = frozenset({"text/html", "application/xhtml+xml", "text/x-amp-html"})
_HTML: Final = _SHOWN | {"image/svg+xml"}
# Windows passes over dots and spaces at the end.
_HTML_NAME: Final = re.compile(r"\.(?:[sxm]?html?|xht|svg)[\s.\u00ad\u200b-\u200f\u2060\ufeff]*+\Z", re.IGNORECASE)
_LOOKS_LIKE_HTML: Final = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|script|form|svg)\b", re.IGNORECASE
)
_SPACE: Final = re.compile(r"\s+")
_RUN: Final = re.compile(r"([^<>]{4000})[^<>]++")
_WIDE: Final = re.compile(r"\s{64,}+")
_URL: Final = re.compile(r"\b(?:https?|ftp)://[^\s<>\"'\u00a0]{1,2000}|\bwww\.[^\s<>\"'\u00a0]{4,2000}", re.IGNORECASE)
_TRAILING: Final = ".,;:!?)]}>'\"…"
_HIDDEN: Final = re.compile(
    r"display\s*+:\s*+none|visibility\s*+:\s*+(?:hidden|collapse)|font-size\s*+:\s*+(?:0*+1?(?:\.0*+)?|0*+\.\d++)(?:px|pt|em|%)?\s*+(?:;|!|\Z)"
    r"|(?:max-)?(?:height|width)\s*+:\s*+0(?:px)?\s*+(?:;|!|\Z)|opacity\s*+:\s*+(?:0*+\.0\d*+|0++)%?\s*+(?:;|!|\Z)|mso-hide\s*+:\s*+all"
    r"|(?:left|top|right|text-indent)\s*+:\s*+-\d{3}|clip\s*+:\s*+rect\(\s*+[01](?:px)?[\s,]|clip-path\s*+:\s*+inset\(\s*+(?:50|100)%",
    re.IGNORECASE,
)  # fmt: skip
_CSS_HIDES: Final = re.compile(r"/\*[^*]*+(?:\*(?!/)[^*]*+)*+\*/|\\([0-9a-f]{1,6})\s?|\\(.)", re.IGNORECASE)
"""Comments and escapes (CSS Syntax 4.3)."""
_MEDIA: Final = re.compile(r"@[a-z-]++[^{};@]*+\{(?:[^{}]*+\{[^{}]*+\})*+[^{}]*+\}", re.IGNORECASE)
"""Rules that hold for some screens only: what a narrow one hides is not hidden."""
_CLASS_RULE: Final = re.compile(r"\.([A-Za-z_][\w-]{0,63}+)\s*+\{([^{}]{0,2000}+)\}")
_COLOUR: Final = re.compile(
    r"(?<![\w-])(background(?:-color)?|color)\s*+:\s*+([#\w]++(?:\([\d\s,.%]*+\))?)", re.IGNORECASE
)
_SHORT_COLOUR: Final = re.compile(r"#([0-9a-f])([0-9a-f])([0-9a-f])")
_NAMED_COLOURS: Final = {"white": "#ffffff", "black": "#000000", "rgb(255,255,255)": "#ffffff", "rgb(0,0,0)": "#000000"}
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
    """Their sources; of several for screens of different sizes the first."""
    frames: tuple[str, ...] = ()
    """Other pages that it shows within itself: addresses of <iframe>, <frame>, <object>, <embed>."""
    base: str = ""
    """What links that are no whole addresses start from: <base href>."""
    refresh: str = ""
    """Where the page goes by itself: <meta http-equiv=refresh>."""
    scripts: tuple[str, ...] = ()
    """The beginning of each, at most 20,000 characters; of one elsewhere its address."""
    handlers: tuple[str, ...] = ()
    """Scripts in attributes: onload, onclick."""
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
    left = MAX_READ
    for part in parts:
        if part.container:
            continue
        is_html = _is_html(part)
        if is_html or part.content_type.startswith("text/"):
            documents.append(_document(part, is_html=is_html))
            left -= len(part.head)
            if left <= 0 or len(documents) == MAX_DOCUMENTS:
                break
    return Reading(tuple(documents))


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
        return _page(part, _source(part), attached=attached)
    text = text_of(part.head[:HEAD], part.charset)
    return Document(part=part, attached=attached, is_html=False, text=text[:MAX_TEXT], links=tuple(_written(text)))


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
    return _condensed(text_of(bytes(collected[:MAX_SOURCE]), part.charset))[:MAX_PAGE]


def _condensed(text: str) -> str:
    """Without comments, but for those that Outlook shows, without long runs of white space, and of all else between tags the beginning."""
    pieces: list[str] = []
    at = 0
    while (start := text.find("<!--", at)) >= 0 and (stop := text.find("-->", start + 4)) >= 0:
        kept = start if not _CONDITIONAL.match(text, start + 4) else stop + 3
        pieces.append(text[at:kept])
        at = stop + 3
    pieces.append(text[at:])
    return _WIDE.sub(" ", _RUN.sub(r"\1", "".join(pieces)))


def _shallow(text: str) -> str:
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


def _written(text: str) -> Iterator[Link]:
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
    found = list(_written(text))
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


def _page(part: Part, text: str, *, attached: bool) -> Document:
    page = _Page()
    parser = LexborHTMLParser(_shallow(text))
    root = parser.root
    if root is not None:
        if "<style" in text or "<STYLE" in text:
            page.hiding = _hiding([node.text(deep=True) for node in parser.css("style")[:MAX_SHEETS]])
        _around(root, page)
        _walk(root, page)
    for within in page.within[:MAX_WITHIN]:
        inner = LexborHTMLParser(_shallow(within)).root
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
        hidden=plain(_SPACE.sub(" ", "".join(page.hidden)).strip(), MAX_TEXT),
    )


def _hiding(sheets: Sequence[str]) -> frozenset[str]:
    return frozenset(
        rule[1]
        for sheet in sheets
        for rule in _CLASS_RULE.finditer(_MEDIA.sub("", sheet[:MAX_TEXT]))
        if _hides(rule[2])
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
                ground, covered = _ground(attributes, ground)
                hidden = hidden or covered or _is_hidden(attributes, page.hiding)
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
        words = _SPACE.sub(" ", node.text_content or "")
        (page.hidden if hidden else page.seen).append(words)
        page.size += len(words)


_Attributes = dict[str, str | None]


def _is_hidden(attributes: _Attributes, hiding: frozenset[str]) -> bool:
    style = attributes.get("style")
    if "hidden" in attributes or (style and _hides(style)):
        return True
    return bool(hiding) and not hiding.isdisjoint((attributes.get("class") or "").split())


def _hides(style: str) -> bool:
    style = style[:MAX_URL]
    if "\\" in style or "/*" in style:
        style = _CSS_HIDES.sub(_unescaped, style)
    return _HIDDEN.search(style) is not None


def _unescaped(match: re.Match[str]) -> str:
    number = int(match[1], 16) if match[1] else 0
    return chr(number) if 0 < number < 0x110000 else match[2] or ""


def _ground(attributes: _Attributes, ground: str) -> tuple[str, bool]:
    """The colour behind what is in an element, and whether the letters have the same. Empty: not known."""
    style = attributes.get("style") or ""
    behind, letters = attributes.get("bgcolor") or "", attributes.get("color") or ""
    if "olor" in style or "ackground" in style:
        for name, value in _COLOUR.findall(style[:MAX_URL]):
            if name.lower() == "color":
                letters = value
            else:
                behind = value
    if behind:
        ground = _colour(behind)
    elif "class" in attributes or "background" in attributes:
        # Its style is elsewhere, or a picture.
        ground = ""
    return ground, bool(letters and ground) and _colour(letters) == ground


def _colour(text: str) -> str:
    text = text.lower().replace(" ", "")
    text = _NAMED_COLOURS.get(text, text)
    short = _SHORT_COLOUR.fullmatch(text)
    return f"#{short[1] * 2}{short[2] * 2}{short[3] * 2}" if short else text


def _link(node: LexborNode, attributes: _Attributes, page: _Page) -> None:
    target = (attributes.get("href") or attributes.get("xlink:href") or "").strip()
    if target and len(page.links) < MAX_LINKS:
        shown = _SPACE.sub(" ", _text_in(node)).strip()
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


def _form(_: LexborNode, attributes: _Attributes, page: _Page) -> None:
    if len(page.forms) < MAX_LINKS:
        page.forms.append(((attributes.get("action") or "").strip()[:MAX_URL], []))
        _leads(attributes.get("action"), page)


def _leads(target: str | None, page: _Page) -> None:
    """A form with one button is a link to those who see it."""
    target = (target or "").strip()
    if target and len(page.links) < MAX_LINKS:
        page.links.append(Link(target[:MAX_URL], ""))


def _frame(_: LexborNode, attributes: _Attributes, page: _Page) -> None:
    within = attributes.get("srcdoc")
    if within and len(page.within) < MAX_WITHIN:
        page.within.append(within[:MAX_PAGE])
    source = (attributes.get("src") or attributes.get("data") or "").strip()
    if source and len(page.frames) < MAX_SHEETS:
        page.frames.append(source[:MAX_URL])


def _handlers(attributes: _Attributes, page: _Page) -> None:
    """Scripts in onload, onclick and so on."""
    for name, script in attributes.items():
        if name[:2] == "on" and script and len(page.handlers) < MAX_SHEETS:
            page.handlers.append(script[:20_000])


def _field(_: LexborNode, attributes: _Attributes, page: _Page) -> None:
    if not page.forms:
        page.forms.append(("", []))
    _leads(attributes.get("formaction"), page)
    fields = page.forms[-1][1]
    if len(fields) < MAX_LINKS:
        kind, name = attributes.get("type") or "text", attributes.get("name") or attributes.get("id") or ""
        fields.append(f"{kind[:20]}:{name[:80]}".lower())


def _image(_: LexborNode, attributes: _Attributes, page: _Page) -> None:
    if len(page.images) < MAX_LINKS:
        source = attributes.get("src") or (attributes.get("srcset") or "").strip().split(" ", 1)[0].rstrip(",")
        page.images.append(source.strip()[:MAX_URL])


def _base(_: LexborNode, attributes: _Attributes, page: _Page) -> None:
    page.base = page.base or (attributes.get("href") or "").strip()[:MAX_URL]


def _meta(_: LexborNode, attributes: _Attributes, page: _Page) -> None:
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
    return "\n".join([line for raw in text.split("\n") if (line := _SPACE.sub(" ", raw).strip())])
