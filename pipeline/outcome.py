r"""What a remote server's words mean: pure.

Three rules hold here. Temporary by default: whatever is not understood, and whatever concerns the server rather than the
message, is tried again. Permanent only on evidence: a 5xx about this sender, recipient or message, or a route that cannot
exist. Delivered only on a 2xx to the final dot; after the dot without an intelligible reply nobody knows, and that is an
outcome of its own.

Text of a server is hostile: it is kept verbatim as far as it is printable ASCII, anything else is written as `\xNN`, and
it is bounded to 4 KiB and 100 lines. The only control character left in it is the LF between lines.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.events import Attempt

MAX_TEXT: Final = 4096
"""Characters of a reply that are kept: an EHLO or a policy text is a few hundred, an attack is megabytes."""
MAX_LINES: Final = 100
CUT: Final = " [cut]"
CACHED: Final = 256
"""Replies of one line that are remembered: a server says the same to every MAIL, RCPT and DATA. At most 2 MiB."""

_REFUSING_STAGES: Final = frozenset({"mail", "rcpt", "data", "dot"})
_LINE: Final = re.compile(rb"[2-5][0-9][0-9](?:[ \t-]|\Z)")
_ENHANCED: Final = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]|\Z)")


class Kind(enum.StrEnum):
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """The final dot was sent and no reply came: it may or may not have been delivered."""


class Outcome(msgspec.Struct, frozen=True):
    """What one recipient's delivery came to, and the words it ended with."""

    kind: Kind
    attempt: Attempt


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One reply of a server (RFC 5321 4.2)."""

    code: int
    """0 when what came is not a reply."""
    enhanced: str
    """RFC 3463; `<class>.0.0` when the server gave none, empty when `code` is 0."""
    text: str
    """All lines with their codes, separated by LF, neutralised and bounded."""

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300


def classify(attempt: Attempt) -> Kind:
    """What an attempt means for the recipient it speaks of.

    A 3xx, a 2xx to anything but the dot, and no reply at all are no decision: DEFERRED. A 5xx to the connection, the
    greeting, EHLO or STARTTLS speaks of the server or of us, not of the message: DEFERRED as well. A route that cannot
    exist (null MX, no such domain) is REFUSED; it is told by a class 5 status at stage `route`.
    """
    if attempt.unknown:
        return Kind.UNKNOWN
    if attempt.stage == "route":
        return Kind.REFUSED if attempt.enhanced.startswith("5") else Kind.DEFERRED
    if 200 <= attempt.code < 300 and attempt.stage == "dot":
        return Kind.ACCEPTED
    if 500 <= attempt.code < 600 and attempt.stage in _REFUSING_STAGES:
        return Kind.REFUSED
    return Kind.DEFERRED


def outcome(attempt: Attempt) -> Outcome:
    return Outcome(classify(attempt), attempt)


def neutralise(data: bytes) -> str:
    r"""One line of a stranger as printable ASCII, reversible to the eye: other octets become `\xNN`."""
    if data.isascii():
        text = data.decode("ascii")
        if text.isprintable():
            return text
    return "".join(chr(octet) if 0x20 <= octet < 0x7F else f"\\x{octet:02x}" for octet in data)


def bounded(lines: Sequence[bytes]) -> str:
    """Lines of a stranger, neutralised, joined with LF, at most MAX_LINES and MAX_TEXT."""
    text = "\n".join([neutralise(line[:MAX_TEXT]) for line in lines[:MAX_LINES]])
    if len(lines) > MAX_LINES or len(text) > MAX_TEXT:
        return text[: MAX_TEXT - len(CUT)] + CUT
    return text


def well_formed(line: bytes) -> bool:
    """Whether `line`, without its line end, can be a line of a reply: three digits from 200 to 599, then space or hyphen.

    The tab after the code and the bare code are not of RFC 5321 4.2, but servers send them and they leave no doubt.
    """
    return _LINE.match(line) is not None


def parse_reply(lines: Sequence[bytes]) -> Reply:
    """A reply from its lines, without their line ends. The code is the last line's (RFC 5321 4.2.1: all are the same).

    Never raises: lines that are no reply make a Reply with code 0 whose text says so.
    """
    if len(lines) == 1:
        return _parse_line(lines[0])
    if not lines or not all(map(well_formed, lines)):
        return Reply(0, "", nonsense(lines))
    return _parse(lines)


@functools.lru_cache(CACHED)
def _parse_line(line: bytes) -> Reply:
    return _parse((line,)) if well_formed(line) else Reply(0, "", nonsense((line,)))


def _parse(lines: Sequence[bytes]) -> Reply:
    code = int(lines[-1][:3])
    enhanced = f"{code // 100}.0.0"
    for line in lines:
        found = _ENHANCED.match(line, 4)
        # A status of another class than the code's is a mistake of the server; the code decides (RFC 2034 4).
        if found is not None and found[1][0] == line[0] == lines[-1][0]:
            enhanced = found[1].decode("ascii")
            break
    return Reply(code, enhanced, bounded(lines))


def nonsense(lines: Sequence[bytes]) -> str:
    """The words for what is no reply."""
    return "The server said something that is not an SMTP reply:\n" + bounded(lines)[: MAX_TEXT - 60]
