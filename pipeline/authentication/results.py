"""The Authentication-Results field (RFC 8601): writing ours, and finding those that others wrote in our name.

What is written may be a stranger's: an address, a domain, a selector. It is reduced to characters that can end neither a
value nor a field, in the eyes of readers too that only split at semicolons or search for quotes.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Final

from pipeline.address import AddressError, domain_name
from pipeline.events import AuthResult
from pipeline.mime import Header, decode_words

MAX_LINE: Final = 78
"""RFC 5322 2.1.1."""
MAX_VALUE: Final = 320
"""Characters of a value: a local part of 64, an @ and a domain of 255."""

_NOT_IN_KEYWORD: Final = re.compile(r"[^A-Za-z0-9-]")
_NOT_IN_PROPERTY: Final = re.compile(r"[^A-Za-z0-9.-]")
_PLAIN: Final = re.compile(r"[!#-'*-:<-\[\]-~]+")
"""Printable ASCII without quotes, parentheses, backslash and semicolon."""
_ATOM: Final = "[A-Za-z0-9!#$%&'*+^_`{|}~\u0080-\U0010ffff-]"
_NAME: Final = "[A-Za-z0-9_.\u0080-\U0010ffff-]+"
# RFC 8601 2.2: a value of RFC 2045 5.1, or [[local-part] "@"] domain-name, where = and / may stand in a local part.
_BARE: Final = re.compile(rf"(?:{_ATOM}|\.)+|(?:(?:{_ATOM}|[/=?])+(?:\.(?:{_ATOM}|[/=?])+)*)?@{_NAME}")

MAX_CLAIMS: Final = 100
"""Authentication-Results fields of one message that are looked at. Mail that passed many lists has some twenty."""
_LEAD: Final = 512
"""Octets of such a field within which it has to say whose it is; one that does not is taken out."""
_WINDOW: Final = 256 << 10
_NEEDLE: Final = b"\nauthentication-results"
_OURS: Final = b"\nx-gatepost-"
"""How fields begin that only we write (see pipeline/outgoing.py)."""
_OUR_FIELD: Final = re.compile(rb"(?i)x-gatepost-[!-9;-~]*+[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*\n?")
_FIELD: Final = re.compile(rb"(?i)authentication-results[ \t]*+(:)[^\n]*+(?:\n[ \t][^\n]*+)*\n?")
_HIDING: Final = re.compile(rb'[()"\\\x80-\xff]|=\?')
_WORD: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*"|\\.|[^("\\;]++', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_COMMENTS: Final = re.compile(rb"(?:\([^()\\]*+(?:\\.[^()\\]*+)*\))+", re.DOTALL)
_NESTING: Final = re.compile(rb"\\.|[()]", re.DOTALL)
_GAP: Final = b"\0"


def render(authserv_id: str, results: Sequence[AuthResult], *, utf8: bool = False) -> bytes:
    """The field, folded, with its CRLF. `utf8`: the message itself needs SMTPUTF8, so that values may be UTF-8; else all is
    ASCII.
    """
    return folded("Authentication-Results:", _parts(authserv_id, results, utf8=utf8))


def render_arc(instance: int, authserv_id: str, results: Sequence[AuthResult], *, utf8: bool = False) -> bytes:
    """The same as an ARC-Authentication-Results field (RFC 8617 4.1.1)."""
    parts = _parts(authserv_id, results, utf8=utf8)
    parts[0].insert(0, f"i={instance};")
    return folded("ARC-Authentication-Results:", parts)


def _parts(authserv_id: str, results: Sequence[AuthResult], *, utf8: bool) -> list[list[str]]:
    """Words that stand together on a line, if they fit."""
    parts = [[f"{_value(authserv_id, utf8=utf8)};"]]
    for result in results:
        words = [f"{_keyword(result.method)}={_keyword(result.result)}"]
        if result.reason:
            # A quoted string may be folded where it has spaces (RFC 5322 3.2.4).
            words += f"reason={_value(result.reason, utf8=utf8, spaces=True)}".split(" ")
        words += [f"{_property(name)}={_value(value, utf8=utf8)}" for name, value in result.properties]
        parts.append(words)
    if not results:
        parts[0].append("none")
    for words in parts[1:-1]:
        words[-1] += ";"
    return parts


def folded(name: str, parts: Sequence[Sequence[str]]) -> bytes:
    """A field of words with spaces between them, each part on lines of its own but the first."""
    lines = [name]
    for part, words in enumerate(parts):
        for number, word in enumerate(words):
            if part and not number:
                lines.append("\t" + word)
            elif len(lines[-1]) + 1 + len(word) <= MAX_LINE:
                lines[-1] += " " + word
            else:
                # A space, so that a quoted string that is folded here is the same when it is unfolded.
                lines.append(" " + word)
    return ("\r\n".join(lines) + "\r\n").encode()


@functools.lru_cache(256)
def _keyword(text: str) -> str:
    return _NOT_IN_KEYWORD.sub("-", text) or "-"


@functools.lru_cache(256)
def _property(name: str) -> str:
    """ptype.property; what is neither is a matter of ours (RFC 8601 2.3)."""
    name = _NOT_IN_PROPERTY.sub("-", name)
    kind, dot, rest = name.partition(".")
    return f"{kind}.{rest.replace('.', '-')}" if kind and dot and rest else f"policy.{name.replace('.', '-') or '-'}"


def _value(text: str, *, utf8: bool, spaces: bool = False) -> str:
    """In quotes where it has to be. A domain that is not ASCII is written in A-labels where UTF-8 is not allowed (RFC 8616
    5).
    """
    text = text[:MAX_VALUE]
    if text.isascii() and _BARE.fullmatch(text):
        return text
    if not utf8 and not text.isascii():
        text = _ascii(text)
    text = " ".join([_visible(word, utf8=utf8) for word in text.split()]) if spaces else _visible(text, utf8=utf8)
    return text if _BARE.fullmatch(text) else f'"{text}"'


def _visible(text: str, *, utf8: bool) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return "".join(
        [
            char if _PLAIN.fullmatch(char) or (utf8 and not char.isascii() and char.isprintable()) else "?"
            for char in text
        ]
    )


def _ascii(text: str) -> str:
    local, at, domain = text.rpartition("@")
    try:
        return f"{local}{at}{domain_name(domain)}"
    except AddressError:
        return text


def chain_status(results: Sequence[AuthResult], *, had_chain: bool) -> str:
    """What a sealer is told of the chain on a message (`arc.Chain.status`), from the results that were kept with it."""
    found = next((result.result for result in results if result.method == "arc"), "")
    return found or ("" if had_chain else "none")


def forged(header: Header, authserv_id: str) -> tuple[tuple[int, int], ...] | None:
    """(start, end) of each whole Authentication-Results field that claims to be ours, and of each X-Gatepost- field; empty when
    there is none.

    None when there are more than 100 such fields, whoever claims them: nobody honest writes so many, and the message must
    not go on as it is. Otherwise none is missed: the whole header block is searched, however large it is (at 1 GB/s or
    more).

    A name is ours in any case, in quotes, between comments, with a version or a last dot behind it, as U-labels, and in
    encoded words, which some readers decode. A field that cannot be read, or that does not say within 512 octets whose it
    is, counts as ours too if our name is in it or may be: taking out a field too much harms nobody.
    """
    found = []
    for number, start in enumerate(_candidates(header)):
        if number == MAX_CLAIMS:
            return None
        ours = header.content[start : start + 1] in b"xX"
        match = (_OUR_FIELD if ours else _FIELD).match(header.content, start, header.end)
        if match is None:
            continue  # a longer name, such as Authentication-Results-Original
        if ours:
            found.append((start, match.end()))
            continue
        lead = header.content[match.end(1) : min(match.end(), match.end(1) + _LEAD)]
        if _claims(lead, _names(authserv_id), is_whole=match.end() - match.end(1) <= _LEAD):
            found.append((start, match.end()))
    return tuple(found)


def _candidates(header: Header) -> Iterator[int]:
    """Where lines begin with one of the names, in order."""
    for at in range(header.start, header.end, _WINDOW):
        before = b"\n" if at == header.start else header.content[at - 1 : at]
        # So far that a name which begins in this window is seen whole, and none is seen twice.
        block = before + header.content[at : min(at + _WINDOW + len(_NEEDLE) - 2, header.end)].lower()
        places = []
        for needle in (_NEEDLE, _OURS):
            place = block.find(needle)
            while 0 <= place < _WINDOW:
                places.append(at + place)
                place = block.find(needle, place + 1)
        yield from sorted(places)


@functools.lru_cache(16)
def _names(authserv_id: str) -> frozenset[str]:
    names = {authserv_id.casefold()}
    with contextlib.suppress(AddressError):  # any word may be an authserv-id
        names.add(domain_name(authserv_id))
    return frozenset(names)


def _claims(value: bytes, names: frozenset[str], *, is_whole: bool) -> bool:
    """Whether the beginning of a field names us as its author."""
    head, semicolon, _ = value.partition(b";")
    if (semicolon or is_whole) and _HIDING.search(head) is None:
        return _is_one(head.decode("ascii"), names)
    text, is_read = _without_comments(value)
    if not is_read and not is_whole:
        return True
    readings = [text.replace(_GAP, gap).decode("utf-8", "replace") for gap in (b"", b" ")]
    if b"=?" in text:
        readings += [decode_words(text.replace(_GAP, b""))]
    if any(_is_one(reading, names) for reading in readings):
        return True
    return not is_read and any(name.encode() in value.lower() for name in names)


def _is_one(text: str, names: frozenset[str]) -> bool:
    words = text.split(None, 1)
    if not words:
        return False
    word = words[0].casefold()
    if not word.isascii():
        with contextlib.suppress(AddressError):
            word = domain_name(word)
    for name in names:
        if word.startswith(name):
            rest = word[len(name) :].removeprefix(".")
            # mx.example.org/1 is read as ours by some; mx.example.org.evil.example by none.
            if not rest or not (rest[0].isalnum() or rest[0] in "-_."):
                return True
    return False


def _without_comments(value: bytes) -> tuple[bytes, bool]:
    """The text before the first semicolon, quotes undone, a NUL for each comment; and whether that end was found (RFC 5322
    3.2).
    """
    out = bytearray()
    at = 0
    while at < len(value):
        if value.startswith(b";", at):
            return bytes(out), True
        if value.startswith(b"(", at):
            simple = _COMMENTS.match(value, at)
            at = simple.end() if simple else _comment_end(value, at)
            out += _GAP
            continue
        match = _WORD.match(value, at)
        if match is None:
            break  # a quoted string without an end
        word = match[0]
        out += _ESCAPE.sub(rb"\1", word[1:-1] if word.startswith(b'"') else word)
        at = match.end()
    return bytes(out), False


def _comment_end(value: bytes, start: int) -> int:
    """Comments nest. The end of the value for one without an end."""
    depth = 0
    for match in _NESTING.finditer(value, start):
        depth += {b"(": 1, b")": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return len(value)
