"""Pages that want something: forms for passwords, attached pages that build a file or lead away by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pipeline.events import Finding
from pipeline.mime import plain
from pipeline.scanning.builtin.lookalike import shown
from pipeline.scanning.builtin.targets import target_of
from pipeline.scanning.builtin.view import Proof, View
from pipeline.scanning.document import Document
from pipeline.scanning.organisation import organisation

SHORT: Final = 600
"""Characters of text below which an attached page is no document that somebody would send."""

_BUILDS: Final = re.compile(
    r"\batob\s*+\(|fromCharCode|\bunescape\s*+\(|decodeURIComponent\s*+\(|charCodeAt", re.IGNORECASE
)
_HANDS_OUT: Final = re.compile(
    r"new\s++(?:window\.)?Blob\b|createObjectURL|msSaveOrOpenBlob|msSaveBlob|\.download\s*+=|setAttribute\(\s*+[\"']download",
    re.IGNORECASE,
)
_WRITES: Final = re.compile(
    r"document\s*+(?:\.\s*+write(?:ln)?|\[\s*+[\"']write[\"']\s*+\])\s*+\(\s*+(?:window\.)?(?:unescape|atob|decodeURI|String\.fromCharCode)"
    r"|\beval\s*+\(\s*+(?:window\.)?(?:unescape|atob|decodeURI|String\.fromCharCode|function\s*+\(p,a,c,k)"
    r"|innerHTML\s*+=\s*+(?:window\.)?(?:unescape|atob)", re.IGNORECASE
)  # fmt: skip
_GOES: Final = re.compile(
    r"\blocation(?:\.href)?\s*+=(?!=)|location\s*+\.\s*+(?:replace|assign)\s*+\(|window\s*+\.\s*+open\s*+\(|\[\s*+[\"']location[\"']\s*+\]",
    re.IGNORECASE,
)
_LONG: Final = re.compile(
    r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/=]{1000}|(?:%[0-9a-fA-F]{2}){300}|(?:\\x[0-9a-fA-F]{2}){300}"
)
# window['at' + 'ob'], self["loca"+"tion"]: names in pieces. Also by \x61 or fromCharCode.
_SPLIT: Final = re.compile(
    r"\[\s*+(?:[\"'][A-Za-z]{1,12}+[\"']\s*+\+\s*+[\"'][A-Za-z]{1,12}+[\"']|[\"'](?:\\x[0-9a-f]{2}){3}|String\.fromCharCode)"
    r"|=\s*+[\"'][A-Za-z<]{1,12}+[\"']\s*+\+\s*+[\"'][A-Za-z]{1,12}+[\"']\s*+[;,].{0,200}?\b(?:window|document|self|top)\s*+\[|\(\s*+[\"']<[a-z]{1,6}+[\"']\s*+\+",
    re.IGNORECASE | re.DOTALL,
)
_ELSEWHERE: Final = re.compile(r"(?:https?:)?[/\\]{2}", re.IGNORECASE)
_IDENTITY: Final = re.compile(r"pass|pwd|\bpin\b|card|iban|\btan\b|cvv|cvc|ssn|kennwort|konto", re.IGNORECASE)

# Services that encrypt mail send such files, and prove that they are theirs.
_LEADS_AWAY: Final = {Proof.YES: 3.0, Proof.UNKNOWN: 4.5, Proof.NO: 5.0}


def pages(view: View) -> Iterator[Finding]:
    found: dict[str, Finding] = {}
    for document in view.mail.reading.documents:
        if document.is_html:
            for finding in _attached(view, document) if document.attached else _body(document):
                if finding.name not in found or found[finding.name].score < finding.score:
                    found[finding.name] = finding
    yield from found.values()


def _finding(name: str, score: float, text: str) -> Finding:
    return Finding(name=name, score=score, text=plain(text, 300), kind="phishing")


def _body(document: Document) -> Iterator[Finding]:
    """Mail programs do not send forms, or warn; who puts one for a password into a message has no good reason."""
    for form in document.forms:
        if form.password:
            yield _finding("FORM_PASSWORD", 3.5, "the message holds a form that asks for a password")
            return
    target = target_of(document.refresh) if document.refresh else None
    if target is not None and target.host:
        yield _finding("BODY_REFRESH", 2.0, f"the message goes to {shown(target.host)} by itself when it is opened")


def _attached(view: View, document: Document) -> Iterator[Finding]:
    name = document.part.name or "an attached page"
    password = any(form.password for form in document.forms)
    if password:
        yield _finding("HTML_PASSWORD", 5.0, f"{name} asks for a password")
    else:
        yield from _form(view, document, name)
    # Scripts of drawings are judged with all other files.
    if document.part.content_type != "image/svg+xml" and not name.lower().endswith(".svg"):
        yield from _scripts(view, document, name)
    target = target_of(document.refresh) if document.refresh else None
    if target is not None and (target.host or target.scheme in ("data", "javascript")):
        yield _finding(
            "HTML_REDIRECT",
            _LEADS_AWAY[view.proof],
            f"{name} leads to {shown(target.host) or target.scheme} by itself when it is opened",
        )
    elif len(document.text) < SHORT:
        yield from _framed(view, document, name)
    if len(document.text) < SHORT:
        yield from _claims(view, document, name)


def _form(view: View, document: Document, name: str) -> Iterator[Finding]:
    for form in document.forms:
        target = target_of(form.action)
        asks = [field for field in form.fields if not field.startswith(("hidden:", "submit:", "button:", "search:"))]
        if not asks:
            continue
        identity = any(_IDENTITY.search(field) for field in asks)
        home = organisation(target.host) == view.organisation and view.proof is not Proof.NO
        away = bool(target.host) and not home
        if identity:
            yield _finding("HTML_FORM", 3.5, f"{name} holds a form that asks for what is secret")
        elif away and len(document.text) < SHORT:
            yield _finding("HTML_FORM", 1.5, f"{name} holds a form that is sent to {shown(target.host)}")
        else:
            continue
        return


def _scripts(view: View, document: Document, name: str) -> Iterator[Finding]:
    script = "\n".join((*document.scripts, *document.handlers))[:60_000]
    if not script:
        return
    short = len(document.text) < SHORT
    packed = _LONG.search(script) is not None
    if _WRITES.search(script):
        yield _finding("HTML_SMUGGLING", 5.0 if short else 3.0, f"{name} unpacks a page that is hidden in it")
    elif _HANDS_OUT.search(script) and (packed or _BUILDS.search(script)):
        yield _finding("HTML_SMUGGLING", 5.0 if short else 2.5, f"{name} builds a file by a script and hands it out")
    elif packed and _BUILDS.search(script) and short:
        yield _finding("HTML_SMUGGLING", 3.5, f"{name} holds a script with something packed in it, and little else")
    elif short and _SPLIT.search(script):
        yield _finding("HTML_SMUGGLING", 3.5, f"{name} holds a script that hides what it calls, and little else")
    if short and any(_ELSEWHERE.match(source) for source in document.scripts):
        yield _finding("HTML_LOADS", 1.5, f"{name} holds little but a script from elsewhere")
    if short and _GOES.search(script):
        yield _finding("HTML_REDIRECT", _LEADS_AWAY[view.proof], f"{name} leads away by a script when it is opened")


def _framed(view: View, document: Document, name: str) -> Iterator[Finding]:
    """A file with little in it that shows somebody else's page as its own."""
    for source in document.frames:
        target = target_of(source)
        page = target.scheme == "data" and "html" in target.rest[:60].lower()
        home = organisation(target.host) == view.organisation and view.proof is Proof.YES
        if page or (target.host and not home):
            shows = shown(target.host) or "a page that is written in a link"
            yield _finding("HTML_FRAME", _LEADS_AWAY[view.proof], f"{name} shows {shows} within itself")
            return


def _claims(view: View, document: Document, name: str) -> Iterator[Finding]:
    """A file that is only a way to a page, and names a house that it is not from."""
    claim = view.brands.claimed(document.text[:500]) or view.brands.claimed(document.part.name or "")
    if claim is None or claim.brand.owns(view.domain):
        return
    away = [target for link in document.links if (target := target_of(link.target)).host]
    if document.forms or document.scripts or any(not claim.brand.owns(target.host) for target in away):
        score = 1.0 if view.proof is Proof.YES else 2.0
        yield _finding(
            "HTML_BRAND", score, f"{name} names {claim.brand.name}, and the sender is not {claim.brand.name}"
        )
