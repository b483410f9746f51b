"""The parts of a message as offsets into its octets.

One sweep over the lines that begin with `--`, with the open boundaries in a table: the work is linear in the size of the
message however the boundaries are chosen and nested, and bounded in depth, parts and lines looked at. Where mail programs
disagree about a damaged message, the reading that shows more parts is taken, because a scanner must see what any of them shows:
a part may follow its multipart's closing line, a part may lack its header, an end may be missing. `Flaw` says what was odd.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pipeline.mime import transfer
from pipeline.mime.header import BLANK, Header
from pipeline.mime.transfer import Buffer
from pipeline.mime.words import parameters

MAX_DEPTH: Final = 100
MAX_PARTS: Final = 1000
MAX_LINES: Final = 300_000
"""Lines that begin with `--`, most of them no boundary but SQL's comments or a diff's: a third of a second of looking."""
HEAD: Final = 64 << 10
"""Decoded octets at the start of a part that tests look at."""
MAX_UNPACKED: Final = 4 << 20
"""Octets of messages within the message that are encoded (which RFC 2046 5.2.1 forbids) or files, and are decoded to be walked."""
KEPT: Final = 256 << 10
"""Octets of a message whose decoded parts are kept, so that none is decoded twice."""
_MAX_BOUNDARY: Final = 1000
"""RFC 2046 5.1.1 has 70; nobody checks."""

_DELIMITER: Final = re.compile(rb"\n--([^\r\n]{0,%d})" % (_MAX_BOUNDARY + 3))
_TYPE: Final = re.compile(rb"[^\s/;\"()<>]{1,80}+\s*+/\s*+[^\s/;\"()<>]{1,80}+")
_COMMENT: Final = re.compile(rb"\([^()]*+\)")
_ENCODING: Final = re.compile(rb"[\s\"']*+([A-Za-z0-9-]{1,40})")
_MESSAGES: Final = frozenset({"message/rfc822", "message/global", "message/news"})
_ENCODED: Final = frozenset({"base64", "quoted-printable"})
_SAVED: Final = re.compile(r"\.(?:eml|mht|mhtml)[\s.]*+\Z", re.IGNORECASE)
"""Names of files that are messages, whatever their type says: mail programs and browsers open them as such."""


class Flaw(enum.StrEnum):
    """What is odd about a message's structure."""

    DEEP = "nested deeper than is looked at"
    MANY = "more parts than are looked at"
    UNTERMINATED = "a multipart without its last boundary"
    NO_BOUNDARY = "a multipart without a boundary"
    REUSED = "a multipart with the boundary of the one around it"
    AMBIGUOUS = "a part with two types, encodings or boundaries"
    ENCODED = "a multipart or a message that is itself encoded"


class Part:
    """One node of the tree: `content[start:end]` is its body, still encoded. Containers come before what they hold."""

    __slots__ = (
        "_dispositions",
        "_head",
        "_names",
        "_pieces",
        "_rest",
        "_types",
        "ambiguous",
        "container",
        "content",
        "content_type",
        "depth",
        "encoding",
        "end",
        "start",
    )

    def __init__(self, content: Buffer, header: Header, depth: int, default: str) -> None:
        index = header.index
        self.content = content
        self.depth = depth
        self.start = self.end = header.body
        self.container = False
        self._types: Sequence[bytes] = index.get(b"content-type") or ()
        self._dispositions: Sequence[bytes] = index.get(b"content-disposition") or ()
        encodings = index.get(b"content-transfer-encoding") or ()
        self.content_type = _type_of(self._types[0], default) if self._types else default
        self.encoding = _encoding_of(encodings[0]) if encodings else "7bit"
        self.ambiguous = len(set(self._types)) > 1 or len(set(encodings)) > 1
        """Two types or encodings that differ: programs may read it differently."""
        self._names: tuple[str, ...] | None = None
        self._head: bytes | None = None
        self._pieces: list[bytes] = []
        self._rest: Iterator[bytes] | None = None

    @property
    def is_compound(self) -> bool:
        """By its type, it holds other parts."""
        return self.content_type.startswith("multipart/") or self.content_type in _MESSAGES

    @property
    def saved(self) -> bool:
        """It is a file with a message in it, by its name and not by its type."""
        return not self.is_compound and any(_SAVED.search(name) for name in self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Every file name the part is given, without repetition: programs differ in which of them they use."""
        if self._names is None:
            texts = [
                parameter.text
                for values, key in ((self._dispositions, b"filename"), (self._types, b"name"))
                for value in values
                if b"name" in value.lower()
                for parameter in parameters(value)
                if parameter.name == key
            ]
            self._names = tuple(dict.fromkeys(texts))
        return self._names

    @property
    def name(self) -> str:
        return self.names[0] if self.names else ""

    @property
    def charset(self) -> bytes:
        """As the part names it; empty when it does not."""
        if not self._types:
            return b""
        return next((one.octets.strip() for one in parameters(self._types[0]) if one.name == b"charset"), b"")

    @property
    def attached(self) -> bool:
        """It is declared to be a file of its own, rather than something to be shown (RFC 2183 2.2)."""
        return bool(self._dispositions) and self._dispositions[0].lstrip()[:10].lower() == b"attachment"

    @property
    def head(self) -> bytes:
        """The first 64 KiB, decoded; kept, because every engine asks for it."""
        if self._head is None:
            if self._is_kept:
                self._head = transfer.beginning(self.decoded(), HEAD)
            else:
                self._head = transfer.head(self.content, self.start, self.end, self.encoding, HEAD)
        return self._head

    @property
    def _is_kept(self) -> bool:
        """Whether what is decoded is kept for who asks next: of small messages, which are in memory anyway."""
        return self.encoding in _ENCODED and len(self.content) <= KEPT

    def decoded(self) -> Iterator[bytes]:
        """All of it, decoded, in chunks of at most some 512 KiB."""
        if not self._is_kept:
            yield from transfer.decode(self.content, self.start, self.end, self.encoding)
            return
        if self._rest is None:
            self._rest = transfer.decode(self.content, self.start, self.end, self.encoding, HEAD + HEAD // 2)
        at = 0
        while at < len(self._pieces) or self._decode_more():
            yield self._pieces[at]
            at += 1

    def _decode_more(self) -> bool:
        piece = next(self._rest, None) if self._rest is not None else None
        if piece is not None:
            self._pieces.append(piece)
        return piece is not None

    def boundaries(self) -> list[bytes]:
        if not self._types:
            return []
        return [parameter.octets.rstrip() for parameter in parameters(self._types[0]) if parameter.name == b"boundary"]


def _type_of(value: bytes, default: str) -> str:
    if b"(" in value:
        value = _COMMENT.sub(b" ", value).lstrip()
    match = _TYPE.match(value)
    # RFC 2045 5.2: what cannot be read is text/plain.
    return b"".join(match[0].split()).decode("latin-1").lower() if match else default


def _encoding_of(value: bytes) -> str:
    match = _ENCODING.match(_COMMENT.sub(b" ", value) if b"(" in value else value)
    return match[1].decode("ascii").lower() if match else "7bit"


class Structure(NamedTuple):
    parts: tuple[Part, ...]
    flaws: frozenset[Flaw]


class _Open:
    """A multipart whose boundary is being looked for."""

    __slots__ = ("boundary", "closed", "default", "mark", "part", "seen")

    def __init__(self, boundary: bytes, part: Part, mark: int) -> None:
        self.boundary = boundary
        self.part = part
        self.mark = mark
        """How many parts were open, it included."""
        self.default = "message/rfc822" if part.content_type == "multipart/digest" else "text/plain"
        self.seen = self.closed = False


class _Pending(NamedTuple):
    """A part whose header has begun: [start, end) unless a boundary comes before its body."""

    start: int
    end: int
    body: int
    depth: int
    default: str


class _Walk:
    def __init__(self, content: Buffer, parts: list[Part], flaws: set[Flaw]) -> None:
        self.content = content
        self.parts = parts
        self.flaws = flaws
        self.open: list[Part] = []
        self.stack: list[_Open] = []
        self.levels: dict[bytes, int] = {}
        """Boundary -> its place in `stack`."""
        self.pending: _Pending | None = None
        self.blank = (-1, -1)
        """The next empty line: the line feed before it, and what follows it. Found once for all parts that begin before it."""

    def run(self, top: Part) -> None:
        self._enter(top)
        if self.stack or self.pending is not None:
            self._sweep(max(top.start - 1, 0))
        self._close(0, len(self.content))
        self._leave(0)

    def _sweep(self, start: int) -> None:
        for number, match in enumerate(_DELIMITER.finditer(self.content, start)):
            if self.pending is not None:
                self._settle(match.start())
            line = match[1].rstrip(b" \t")
            level = self.levels.get(line)
            closing = level is None and line.endswith(b"--")
            if closing:
                level = self.levels.get(line[:-2])
            if level is not None:
                self._boundary(level, match.start(), match.end(), closing=closing)
            if number == MAX_LINES or len(self.parts) >= MAX_PARTS:
                self.flaws.add(Flaw.MANY)
                return
        self._settle(len(self.content))

    def _boundary(self, level: int, at: int, after: int, *, closing: bool) -> None:
        """A delimiter line of an open multipart, from the line feed before it to the end of its text."""
        # The line break before a delimiter belongs to the delimiter (RFC 2046 5.1.1).
        end = at - 1 if self.content[at - 1 : at] == b"\r" else at
        if self.pending is not None:
            # Its header was never finished, so it has no body; what the header says still counts.
            limit = max(end, self.pending.start)
            part = Part(self.content, Header(self.content, self.pending.start, (limit, limit)), *self.pending[3:])
            self.parts.append(part)
            self.pending = None
        opened = self.stack[level]
        self._close(opened.mark, end)
        self._leave(level + 1)
        opened.seen = True
        opened.closed = closing
        if not closing:
            skip = 2 if self.content[after : after + 1] == b"\r" else 1
            self._expect(min(after + skip, len(self.content)), opened.part.depth + 1, opened.default)

    def _leave(self, level: int) -> None:
        """The multiparts from `level` on are over."""
        for opened in self.stack[level:]:
            del self.levels[opened.boundary]
            # One without a single boundary line holds nothing but its own octets, and those are looked at.
            opened.part.container = opened.seen
            if not opened.closed and Flaw.MANY not in self.flaws:
                self.flaws.add(Flaw.UNTERMINATED)
        del self.stack[level:]

    def _expect(self, start: int, depth: int, default: str) -> None:
        """A header begins here."""
        opening = self.content[start : start + 2]
        if opening == b"\r\n" or opening[:1] == b"\n":
            self.pending = _Pending(start, start, start + (2 if opening == b"\r\n" else 1), depth, default)
            return
        if self.blank[0] < start:
            match = BLANK.search(self.content, start)
            self.blank = (match.start(), match.end()) if match else (len(self.content), len(self.content))
        self.pending = _Pending(start, min(self.blank[0] + 1, len(self.content)), self.blank[1], depth, default)

    def _settle(self, position: int) -> None:
        """Enter the pending part, and what it holds, when its header ends before `position`."""
        while self.pending is not None and self.pending.body - 1 <= position:
            start, end, body, depth, default = self.pending
            self.pending = None
            if len(self.parts) >= MAX_PARTS:
                self.flaws.add(Flaw.MANY)
                return
            self._enter(Part(self.content, Header(self.content, start, (end, body)), depth, default))

    def _enter(self, part: Part) -> None:
        self.parts.append(part)
        self.open.append(part)
        if part.ambiguous:
            self.flaws.add(Flaw.AMBIGUOUS)
        if not part.is_compound:
            return
        if part.encoding in _ENCODED:
            self.flaws.add(Flaw.ENCODED)
        if part.depth >= MAX_DEPTH:
            self.flaws.add(Flaw.DEEP)
        elif part.content_type not in _MESSAGES:
            self._enter_multipart(part)
        elif part.encoding not in _ENCODED:
            part.container = True
            self._expect(part.start, part.depth + 1, "text/plain")

    def _enter_multipart(self, part: Part) -> None:
        boundaries = part.boundaries()
        if not boundaries or not 0 < len(boundaries[0]) <= _MAX_BOUNDARY:
            self.flaws.add(Flaw.NO_BOUNDARY)
        elif boundaries[0] in self.levels:
            # The outer one has it already, and its parts are all found there.
            self.flaws.add(Flaw.REUSED)
        else:
            if len(set(boundaries)) > 1:
                self.flaws.add(Flaw.AMBIGUOUS)
            part.container = True
            self.levels[boundaries[0]] = len(self.stack)
            self.stack.append(_Open(boundaries[0], part, len(self.open)))

    def _close(self, mark: int, end: int) -> None:
        for part in self.open[mark:]:
            part.end = max(part.start, end)
        del self.open[mark:]


def walk(content: Buffer, header: Header) -> Structure:
    """The parts of the message with this header, in order; an encoded message's after all others."""
    top = Part(content, header, 0, "text/plain")
    if not top.is_compound and not top.ambiguous and not top.saved:
        top.end = len(content)
        return Structure((top,), frozenset())
    parts: list[Part] = []
    flaws: set[Flaw] = set()
    _Walk(content, parts, flaws).run(top)
    if Flaw.ENCODED in flaws or any(part.saved for part in parts):
        _unpack(parts, flaws)
    return Structure(tuple(parts), frozenset(flaws))


def _unpack(parts: list[Part], flaws: set[Flaw]) -> None:
    left = MAX_UNPACKED
    for part in parts:  # grows while it is walked: messages within messages
        encoded = part.content_type in _MESSAGES and part.encoding in _ENCODED
        if not (encoded or part.saved) or part.depth >= MAX_DEPTH:
            continue
        if left == 0 or len(parts) >= MAX_PARTS:
            flaws.add(Flaw.MANY)
            break
        data = transfer.head(part.content, part.start, part.end, part.encoding, left)
        left -= len(data)
        if left == 0:
            flaws.add(Flaw.MANY)
        _Walk(data, parts, flaws).run(Part(data, Header(data), part.depth + 1, "text/plain"))
