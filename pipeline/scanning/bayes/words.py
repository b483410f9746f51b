"""What a message is made of, for the classifier: its words and some of its traits, each once, in order of appearance.

Pure. Taken is what its author chose: words of subject and text, who it says it is from, where its links lead, how it is built.
Of its way here only the client counts that handed it to us, where that is known (`network.py`). Not taken is what the way added (trace fields,
list software, our own fields), so that the same message gives the same words wherever it is met. The work and the result are bounded: of a long text the beginning counts, as for its reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import Final

from pipeline.mime import Header
from pipeline.scanning.bayes.network import network_words
from pipeline.scanning.document import Document, Link
from pipeline.scanning.engine import Mail

MAX_WORDS: Final = 400
"""Of one message: the most that is learnt of it and looked up for it."""
MAX_TEXT: Final = 24_000
"""Characters of text that are looked at."""
MAX_HIDDEN: Final = 2_000
MAX_LENGTH: Final = 20
"""Characters of a word; what is longer is cut off, and its length told."""
MAX_HOSTS: Final = 20
MAX_PARTS: Final = 20
MAX_PIECES: Final = 12_000
"""Words looked at until there are enough different ones."""

# Scripts that write without spaces: words there are pairs of neighbours.
_SCRIPTS: Final = (
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]++"
)
_UNSPACED: Final = re.compile(_SCRIPTS)
# Letters and digits of any script, with what holds words together; no piece is tried twice.
_WORD: Final = re.compile(_SCRIPTS + r"|[$€£]?[^\W_]++(?:['\u2019\-.][^\W_]++)*[!%]?")
_DIGIT: Final = re.compile(r"\d")
_DIGITS: Final = re.compile(r"\d+")
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_HOST: Final = re.compile(
    r"(?:[a-z][a-z0-9+.\-]{0,20}:)?//(?:[^/?#@\s]{0,200}@)?\[?([^/?#:\s\]]{1,253})", re.IGNORECASE
)
_NUMERIC: Final = re.compile(r"[\d.]+|0x[0-9a-f]+|\d+", re.IGNORECASE)
_PRODUCT: Final = re.compile(r"[^\W\d_]++")


def words(mail: Mail) -> list[str]:
    """At most MAX_WORDS, without repetition."""
    return list(islice(dict.fromkeys(_all(mail)), MAX_WORDS))


def _all(mail: Mail) -> Iterator[str]:
    header = mail.header
    yield from _sender(header)
    yield from _subject(header.subject)
    yield from _built(mail)
    yield from network_words(mail.message.client)
    shown = mail.reading.shown
    yield from _links(shown)
    yield from _traits(shown)
    left = MAX_TEXT
    for document in shown:
        if left <= 0:
            break
        yield from _pieces(document.text[:left])
        left -= len(document.text)
    for document in shown:
        for piece in _pieces(document.hidden[:MAX_HIDDEN]):
            yield "hidden:" + piece


def _pieces(text: str) -> Iterator[str]:
    """The words of a text; in upper case they are other words, as somebody shouts."""
    for match in islice(_WORD.finditer(text), MAX_PIECES):
        word = match[0]
        if not word.isascii() and _UNSPACED.search(word):
            yield from _unspaced(word)
            continue
        if len(word) > MAX_LENGTH:
            yield f"long:{min(len(word) // 10, 9)}"
            word = word[:MAX_LENGTH]
        if len(word) < 2:
            continue
        lower = word.lower()
        if not word.isalpha():
            lower = _DIGIT.sub("0", lower)
        yield lower
        if len(word) > 2 and word.isupper() and word.isalpha():
            yield "shouted:" + lower


def _unspaced(text: str) -> Iterator[str]:
    """Pairs of neighbouring characters."""
    for match in _UNSPACED.finditer(text):
        run = match[0]
        if len(run) == 1:
            yield run
        for first, second in pairwise(run):
            yield first + second


def _subject(subject: str) -> Iterator[str]:
    before = "^"
    for piece in islice(_pieces(subject), 60):
        yield "subject:" + piece
        yield f"subject:{before} {piece}"
        before = piece
    if subject.endswith(("!", "?")):
        yield "subject:" + subject[-1]
    if "  " in subject.strip():
        yield "subject:gap"


def _sender(header: Header) -> Iterator[str]:
    for author in header.authors[:3]:
        domain = author.address.rpartition("@")[2].lower()
        for name in (domain[:80], *_above(domain)):
            yield from _thrice("from:" + name)
        if not author.display:
            yield "from:unnamed"
        for piece in islice(_pieces(author.display), 10):
            yield "from:name:" + piece
    replies = header.text(b"reply-to").lower().rpartition("@")[2].strip("> ")
    if replies:
        yield from _thrice("reply:" + replies[:80])
    for field in (b"x-mailer", b"user-agent"):
        found = header.text(field)
        if found:
            yield f"{field.decode()}:" + " ".join(_PRODUCT.findall(found[:80])[:3]).lower()
    if header.value(b"in-reply-to") or header.value(b"references"):
        yield "answer"
    yield from _message_id(header)
    priority = header.text(b"x-priority")
    if priority:
        yield "priority:" + priority[:1]


def _thrice(word: str) -> Iterator[str]:
    """Whom mail is from and where it leads says more than a word of its text: it counts as much as three."""
    yield word
    yield word + "~2"
    yield word + "~3"


def _message_id(header: Header) -> Iterator[str]:
    """Programs are known by the shape of their ids, and forgers by the name behind it."""
    left, _, right = header.message_id.strip("<> ").lower().rpartition("@")
    yield "id:" + _LETTERS.sub("a", _DIGITS.sub("0", left))[:40]
    for author in header.authors[:1]:
        domain = author.address.rpartition("@")[2].lower()
        alike = bool(domain and right) and (right.endswith(domain) or domain.endswith(right))
        yield "id:own" if alike else "id:other"


def _above(domain: str) -> Iterator[str]:
    labels = domain.split(".")[-4:]
    for number in range(1, len(labels)):
        yield ".".join(labels[number:])


def _built(mail: Mail) -> Iterator[str]:
    parts = mail.parts
    for part in parts[:MAX_PARTS]:
        yield f"type:{part.content_type[:60]}"
        if part.charset:
            yield f"charset:{part.charset[:30].decode('ascii', 'replace').lower()}"
        if part.encoding not in ("7bit", ""):
            yield f"encoding:{part.content_type[:60]}:{part.encoding[:20]}"
        for name in part.names[:2]:
            yield "file:" + name.lower().rpartition(".")[2][:10]
    yield f"parts:{min(len(parts), 6)}"


def _links(shown: Iterable[Document]) -> Iterator[str]:
    hosts: dict[str, None] = {}
    links: list[Link] = []
    for document in shown:
        links += document.links[:50]
        for address in [link.target for link in document.links[:50]] + list(document.images[:50]):
            match = _HOST.match(address)
            if match:
                hosts[match[1].lower()] = None
            elif address[:7].lower() == "mailto:":
                yield "link:mailto"
        yield from ("image:linked" for _ in document.images[:1])
    for host in islice(hosts, MAX_HOSTS):
        if _NUMERIC.fullmatch(host):
            yield "link:numeric"
            continue
        for name in (host[:80], *_above(host)):
            yield from _thrice("link:" + name)
    yield f"links:{min(len(links), 10).bit_length()}"


def _traits(shown: tuple[Document, ...]) -> Iterator[str]:
    pages = [document for document in shown if document.is_html]
    if pages and len(pages) == len(shown):
        yield "html:only"
    elif pages:
        yield "html:too"
    for page in pages:
        if page.forms:
            yield "html:form"
        if page.scripts:
            yield "html:script"
        if page.hidden:
            yield "html:hidden"
        yield f"html:comments:{min(page.part.head.count(b'<!--'), 15).bit_length()}"
        yield f"html:images:{min(len(page.images), 15).bit_length()}"
    size = sum(len(document.text) for document in shown)
    yield f"size:{size.bit_length()}"
