"""The header block of a message or a part, read from its octets on demand.

The block ends at the first empty line, or with the octets when there is none. A line that is neither a field nor the
continuation of one is passed over and remembered as `malformed`. At most 2,000 fields within the first 256 KiB are looked at;
`cut` says that there was more. What decides the structure of a message (Content-*) is looked for in the remainder too, so that
nothing can be hidden behind a wall of fields.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

from pipeline.lazy import lazy
from pipeline.mime.fields import Mailbox, date_of, mailboxes
from pipeline.mime.transfer import Buffer
from pipeline.mime.words import decode_words, plain, unfold

MAX_FIELDS: Final = 2000
MAX_OCTETS: Final = 256 << 10
MAX_TEXT: Final = 500
"""Characters kept of a subject, a sender, a message id: enough for any honest one (RFC 5322 2.1.1 has 998 to a line)."""
_SMALL: Final = 16 << 10

BLANK: Final = re.compile(rb"\n\r?\n")
# ftext of RFC 5322 3.6.8, with the white space before the colon that 4.5 still allows.
_FIELD: Final = re.compile(rb"\n([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*)")
_STRAY: Final = re.compile(rb"\n(?![ \t]|\r?\Z|[!-9;-~]++[ \t]*+:)")
_LATE: Final = {
    name: re.compile(rb"(?i)\n" + name + rb"[ \t]*+:([^\n]{0,8192}+(?:\n[ \t][^\n]{0,8192}+){0,200})")
    for name in (b"content-type", b"content-transfer-encoding", b"content-disposition")
}


def bounds(content: Buffer, start: int, stop: int) -> tuple[int, int]:
    """Where the block that begins at `start` ends, and where the body begins."""
    opening = content[start : min(start + 2, stop)]
    if opening[:1] == b"\n":
        return start, start + 1
    if opening == b"\r\n":
        return start, start + 2
    match = BLANK.search(content, start, stop)
    return (stop, stop) if match is None else (match.start() + 1, match.end())


class Header:
    """Names are `bytes` in lower case; values as received, without the white space around them, until asked for as text."""

    def __init__(self, content: Buffer, start: int = 0, limits: tuple[int, int] | None = None) -> None:
        """`limits`: the end of the block and the start of the body, where the caller knows them."""
        self.content = content
        self.start = start
        self.end, self.body = bounds(content, start, len(content)) if limits is None else limits
        self._cut = False

    def _block(self) -> bytes:
        return b"\n" + self.content[self.start : min(self.end, self.start + MAX_OCTETS)]

    @lazy
    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """(name, value) in order."""
        block = self._block()
        found = (
            _FIELD.findall(block)
            if len(block) <= _SMALL
            else [match.groups() for match in itertools.islice(_FIELD.finditer(block), MAX_FIELDS + 1)]
        )
        if self.end - self.start > MAX_OCTETS:
            # The last one may be half a field, which is worse than none.
            found = found[:-1]
            self._cut = True
        self._cut = self._cut or len(found) > MAX_FIELDS
        return tuple([(name.lower(), value.strip()) for name, value in found[:MAX_FIELDS]])

    @lazy
    def spans(self) -> tuple[tuple[bytes, int, int], ...]:
        """(name, start, end) of each of `fields`: where `content` holds it, from its name to the end of its last line."""
        block = self._block()
        found = [
            (match[1].lower(), self.start + match.start(), self.start + min(match.end(), len(block) - 1))
            for match in itertools.islice(_FIELD.finditer(block), MAX_FIELDS + 1)
        ]
        if self.end - self.start > MAX_OCTETS:
            found = found[:-1]
        return tuple(found[:MAX_FIELDS])

    @lazy
    def index(self) -> dict[bytes, list[bytes]]:
        """Values by name, in order."""
        index: dict[bytes, list[bytes]] = {}
        for name, value in self.fields:
            if name in index:
                index[name].append(value)
            else:
                index[name] = [value]
        if self._cut:
            for name, pattern in _LATE.items():
                late = None if name in index else pattern.search(self.content, self.start, self.end)
                if late is not None:
                    index[name] = [late[1].strip()]
        return index

    @property
    def cut(self) -> bool:
        """There are more fields than were looked at."""
        _ = self.fields
        return self._cut

    @property
    def malformed(self) -> bool:
        """Some line is neither a field nor part of one, or holds a NUL."""
        block = self._block()
        # White space at the very beginning continues nothing: for many servers such a message has no header at all.
        return block[1:2] in (b" ", b"\t") or b"\0" in block or _STRAY.search(block) is not None

    def count(self, name: bytes) -> int:
        return len(self.index.get(name, ()))

    def values(self, name: bytes) -> list[bytes]:
        """As received, folded."""
        return self.index.get(name) or []

    def value(self, name: bytes) -> bytes:
        """The first, unfolded; empty when there is none."""
        values = self.index.get(name)
        return unfold(values[0]) if values else b""

    def text(self, name: bytes, limit: int = MAX_TEXT) -> str:
        """The first, decoded, in one line without control characters, at most `limit` characters."""
        # An encoded word takes at most some 12 octets for a character, and no text needs more than that.
        return plain(decode_words(self.value(name)[: limit * 16]), limit)

    @lazy
    def subject(self) -> str:
        return self.text(b"subject")

    @lazy
    def from_(self) -> str:
        return self.text(b"from")

    @lazy
    def message_id(self) -> str:
        return self.text(b"message-id")

    @lazy
    def date(self) -> int | None:
        """In ns since the epoch; None when missing or unreadable."""
        return date_of(self.value(b"date"))

    @lazy
    def authors(self) -> list[Mailbox]:
        """The mailboxes of From."""
        return mailboxes(self.value(b"from"))
