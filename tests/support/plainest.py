"""A page read in the plainest way: element by element, by name, nothing kept and nothing left out for speed.

What `pipeline/scanning/page.py` makes of a page is compared with it. The parser is the same; all that is done with what it found is not.
"""

from __future__ import annotations

import re
from html import unescape

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.mime import plain
from pipeline.scanning.document import MAX_LINK_TEXT, MAX_TEXT, MAX_URL, Form, Link
from pipeline.scanning.styles import _COLOUR, _colour, _hides, hiding

UNSEEN = {"script", "style", "title", "template"}
BLOCKS = {
    "address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main",
    "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul",
}  # fmt: skip
FIELDS = {"input", "select", "textarea", "button"}


class Straight:
    """For small pages: without the bounds."""

    def __init__(self, source: str) -> None:
        self.seen, self.hidden = "", ""
        self.links: list[Link] = []
        self.forms: list[tuple[str, list[str]]] = []
        self.images: list[str] = []
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self.frames: list[str] = []
        self.base = self.refresh = ""
        parser = LexborHTMLParser(source)
        self.classes = hiding([node.text(deep=True) for node in parser.css("style")])
        if "<style" not in source and "<STYLE" not in source:
            self.classes = frozenset()
        top = parser.root
        assert top is not None
        for way in ("prev", "next"):
            node = top
            while (node := getattr(node, way)) is not None:
                if node.tag == "-comment":
                    self._comment(node.comment_content)
        self._read(top, hidden=False, ground="")

    @property
    def text(self) -> str:
        return "\n".join(" ".join(line.split()) for line in self.seen.split("\n") if line.strip())

    def found(self) -> dict[str, object]:
        forms = tuple(Form(action, tuple(fields)) for action, fields in self.forms)
        hidden = plain(" ".join(self.hidden.split()), MAX_TEXT)
        return {
            "text": self.text, "hidden": hidden, "links": tuple(self.links), "forms": forms, "images": tuple(self.images), "frames": tuple(self.frames),
            "base": self.base, "refresh": self.refresh, "scripts": tuple(self.scripts), "handlers": tuple(self.handlers),
        }  # fmt: skip

    def _read(self, node: LexborNode, *, hidden: bool, ground: str) -> None:
        tag = node.tag or ""
        if tag == "-text":
            text = " ".join(f"x{node.text_content}x".split())[1:-1]
            if hidden:
                self.hidden += text
            else:
                self.seen += text
        elif tag == "-comment":
            self._comment(node.comment_content)
        elif tag == "script":
            self.scripts.append((node.attributes.get("src") or "").strip() or node.text(deep=True))
        elif tag not in UNSEEN:
            hidden, ground = self._styled(node.attributes, hidden=hidden, ground=ground)
            self.seen += "\n" if tag in BLOCKS else ""
            self._element(tag, node)
            for child in _children(node):
                self._read(child, hidden=hidden or tag in ("head", "noscript"), ground=ground)

    def _styled(self, attributes: dict[str, str | None], *, hidden: bool, ground: str) -> tuple[bool, str]:
        style = attributes.get("style") or ""
        letters, behind = attributes.get("color") or "", attributes.get("bgcolor") or ""
        for name, value in _COLOUR.findall(style):
            letters, behind = (value, behind) if name.lower() == "color" else (letters, value)
        if behind:
            ground = _colour(behind)
        elif "class" in attributes or "background" in attributes:
            ground = ""
        classes = (attributes.get("class") or "").split()
        hidden = hidden or "hidden" in attributes or _hides(style) or any(name in self.classes for name in classes)
        self.handlers += [script for name, script in attributes.items() if name.startswith("on") and script]
        return hidden or bool(letters and ground and _colour(letters) == ground), ground

    def _comment(self, comment: str | None) -> None:
        comment = comment or ""
        if re.match(r"\s*\[if\b[^\]]{0,100}\]>", comment, re.IGNORECASE):
            self.links += [
                Link(target, "") for target in re.findall(r"(?i)\bhref\s*=\s*[\"']?\s*([^\"'\s>]+)", comment)
            ]
            self.hidden += unescape(re.sub(r"<[^<>]*>|\[[^\[\]<>]{0,100}\]>", " ", comment))

    def _leads(self, target: str | None, text: str = "") -> None:
        target = (target or "").strip()
        if target:
            self.links.append(Link(target[:MAX_URL], text[:MAX_LINK_TEXT]))

    def _element(self, tag: str, node: LexborNode) -> None:
        has = node.attributes
        if tag in ("a", "area"):
            self._leads(has.get("href") or has.get("xlink:href"), " ".join(_words(node).split()))
        elif tag == "form":
            self.forms.append(((has.get("action") or "").strip(), []))
            self._leads(has.get("action"))
        elif tag in FIELDS:
            self._leads(has.get("formaction"))
            self.forms = self.forms or [("", [])]
            name = has.get("name") or has.get("id") or ""
            self.forms[-1][1].append(f"{(has.get('type') or 'text')[:20]}:{name[:80]}".lower())
        elif tag in ("iframe", "frame", "object", "embed"):
            source = (has.get("src") or has.get("data") or "").strip()
            self.frames += [source] if source else []
        elif tag in ("img", "source"):
            self.images.append((has.get("src") or (has.get("srcset") or "").strip().split(" ")[0].rstrip(",")).strip())
        elif tag == "base":
            self.base = self.base or (has.get("href") or "").strip()
        elif tag == "meta" and (has.get("http-equiv") or "").strip().lower() == "refresh":
            goes = re.match(
                r"\s*[\d.]*\s*[;,]?\s*(?:url\s*=\s*)?[\"']?\s*([^\"'\s]+)", has.get("content") or "", re.IGNORECASE
            )
            self.refresh = self.refresh or (goes[1] if goes else "")


def _children(node: LexborNode) -> list[LexborNode]:
    children, child = [], node.first_child
    while child is not None:
        children.append(child)
        child = child.next
    return children


def _words(node: LexborNode) -> str:
    return (node.text_content or "") if node.tag == "-text" else "".join(map(_words, _children(node)))
