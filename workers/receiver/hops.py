"""Looking at the trace lines of a message's header (RFC 5321 4.4, 6.3): how far it has come, and how often by way of us.

Each hop adds a line, and a loop adds for ever. A loop through us shows much earlier: our own line, for the same recipient, three times.
Whether a line is really ours is not asked: who forges one only has their own mail refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

MAX_PASSES: Final = 3
"""Of one message by way of us for the same recipient."""

_RECEIVED: Final = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_LINE: Final = re.compile(rb"^received[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*)", re.IGNORECASE | re.MULTILINE)
_FOR: Final = re.compile(rb"[ \t\n]for[ \t\r\n]+<([^<>\s]{1,512})>", re.IGNORECASE)
_SEVERAL: Final = re.compile(rb"\(to \d{1,9} at ([a-z0-9.-]{1,253})\)")
"""As `pipeline.trace` writes it where it names nobody."""
_HEADER_END: Final = b"\r\n\r\n"


def header_of(head: bytes) -> bytes:
    """The header, as far as `head` reaches."""
    end = 0 if head.startswith(b"\r\n") else head.find(_HEADER_END)
    return head if end < 0 else head[:end]


def received_lines(head: bytes) -> int:
    """How many Received lines the header has."""
    return len(_RECEIVED.findall(header_of(head)))


def looping(head: bytes, hostname: str, recipients: Iterable[str], passes: int = MAX_PASSES) -> tuple[str, ...]:
    """Those of `recipients` (addresses at their home domains) for whom the message has been here so often."""
    name = hostname.lower().encode()
    header = header_of(head)
    # Mail that was never here does not have our name in it, and costs one search.
    if name not in header.lower():
        return ()
    seen = _passes(header, name)
    found = []
    for recipient in recipients:
        address = recipient.lower().encode("utf-8", "replace")
        domain = address.rpartition(b"@")[2]
        if seen[address] + seen[domain] >= passes:
            found.append(recipient)
    return tuple(found)


def _passes(header: bytes, name: bytes) -> Counter[bytes]:
    """How often the message came here for an address; and for several at a domain, under the domain's name."""
    by = re.compile(rb"[ \t\n]by[ \t\r\n]+" + re.escape(name) + rb"[ \t\r\n;]")
    passes: Counter[bytes] = Counter()
    for match in _LINE.finditer(header):
        line = match[1].lower() + b"\n"
        if by.search(line):
            for found in (_FOR.search(line), _SEVERAL.search(line)):
                if found is not None:
                    passes[found[1]] += 1
    return passes
