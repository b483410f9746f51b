"""A page of HTML as its reader sees it, parsed by lexbor as a browser would. Nothing is fetched and no script runs.

The work is bounded: what a parser would make too much of is taken out before (`source.py`), and of lists, runs and links within links only
so much is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser, LexborNode

from pipeline.mime import Part, plain
from pipeline.scanning.document import MAX_LINKS, MAX_TEXT, MAX_URL, Document, Form, Link
from pipeline.scanning.elements import (
    KINDS,
    LINE,
    MAX_SHEETS,
    MAX_WITHIN,
    PLAIN,
    TEXT,
    Kind,
    Page,
    conditional,
    handlers,
)
from pipeline.scanning.source import tame
from pipeline.scanning.styles import Attributes, Styles, hiding

_URL: Final = re.compile(r"\b(?:https?|ftp)://[^\s<>\"'\u00a0]{1,2000}|\bwww\.[^\s<>\"'\u00a0]{4,2000}", re.IGNORECASE)
_TRAILING: Final = ".,;:!?)]}>'\"…"
_SPACES: Final = "".join(c for c in map(chr, range(0x10000)) if c.isspace() and c != " ")


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


def page_document(part: Part, text: str, *, attached: bool) -> Document:
    page = Page()
    parser = _parsed(text)
    root = parser.root
    if root is not None:
        if "<style" in text or "<STYLE" in text:
            page.styles = Styles(hiding([node.text(deep=True) for node in parser.css("style")[:MAX_SHEETS]]))
        _around(root, page)
        _walk(root, page)
    for within in page.within[:MAX_WITHIN]:
        inner = _parsed(within).root
        if inner is not None:
            _walk(inner, page)
    seen = lines("".join(page.seen))[:MAX_TEXT]
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


def _parsed(text: str) -> LexborHTMLParser:
    # With events it looks through all options of a list at each of them, to show the one that is chosen.
    return LexborHTMLParser(tame(text), options=LexborDocumentOptions.WO_EVENTS)


def _around(root: LexborNode, page: Page) -> None:
    """Comments before and behind all elements."""
    before = islice(_neighbours(root, "prev"), MAX_SHEETS)
    behind = islice(_neighbours(root, "next"), MAX_SHEETS)
    for node in (*before, *behind):
        if node.tag == "-comment":
            conditional(node, page)


def _neighbours(node: LexborNode, way: str) -> Iterator[LexborNode]:
    following = getattr(node, way)
    while following is not None:
        yield following
        following = getattr(following, way)


class _Scope(NamedTuple):
    """What holds for all that is in an element."""

    said: list[str]
    """Where its text goes."""
    hidden: bool = False
    ground: str = ""
    """The colour behind it."""
    element: int = 0
    behind: int = 0
    """The node at which it holds no more; 0: it holds to the end."""


def _walk(root: LexborNode, page: Page) -> None:
    """In the order of the source. What holds within elements is kept for those that change it, most of which do not."""
    scope = _Scope(page.seen)
    outer: list[_Scope] = []
    said, behind = scope.said, 0
    for node in root.traverse(include_text=True):
        while behind and node.mem_id == behind:
            scope = outer.pop()
            said, behind = scope.said, scope.behind
        number = node.tag_id
        if number == TEXT:
            text = node.text_content
            if text:
                said.append(text)
        elif said is not page.unread:
            kind = KINDS.get(number, PLAIN)
            if kind.ends_line:
                page.seen.append(LINE)
            attributes = node.attributes
            if (attributes or kind.matters) and (inner := _entered(node, kind, attributes, scope, page)) is not None:
                outer.append(scope)
                scope = inner
                said, behind = scope.said, scope.behind


def _entered(node: LexborNode, kind: Kind, attributes: Attributes, scope: _Scope, page: Page) -> _Scope | None:
    """What holds in this element, when it is not what holds around it."""
    _, adds, hides, unread, _ = kind
    if unread is not None:
        unread(node, page)
        return _Scope(page.unread, scope.hidden, "", *_extent(node, scope)) if node.first_child is not None else None
    said, hidden, ground, _, _ = scope
    hides = hides or hidden
    if attributes:
        ground, covered = page.styles.look(attributes, ground)
        hides = hides or covered
        handlers(attributes, page)
    if adds is not None:
        adds(node, attributes, page)
    if (hides == hidden and ground == scope.ground) or node.first_child is None:
        return None
    return _Scope(page.hidden if hides else said, hides, ground, *_extent(node, scope))


def _extent(node: LexborNode, scope: _Scope) -> tuple[int, int]:
    return node.mem_id, _behind(node, scope)


def _behind(node: LexborNode, scope: _Scope) -> int:
    """What follows an element and all that is in it. Nobody looks beyond the element around it that changed something: that one has looked."""
    while (following := node.next) is None:
        above = node.parent
        if above is None:
            return 0
        if above.mem_id == scope.element:
            return scope.behind
        node = above
    return following.mem_id


def lines(text: str) -> str:
    """The lines that are not empty, each with one space for each run of white space. Most have none to be taken out: splitting them all takes long."""
    for space in _SPACES:
        if space in text:
            text = text.replace(space, " ")
    stripped = [line.strip(" ") for line in text.split(LINE)]
    return "\n".join([" ".join(line.split()) if "  " in line else line for line in stripped if line])
