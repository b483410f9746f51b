"""Looking at the trace lines of a message's header (RFC 5321 4.4, 6.3)."""

from __future__ import annotations

import re
from typing import Final

_RECEIVED: Final = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_HEADER_END: Final = b"\r\n\r\n"


def received_lines(head: bytes) -> int:
    """How many Received lines the header has, as far as `head` reaches: each hop adds one, and a loop adds for ever."""
    end = 0 if head.startswith(b"\r\n") else head.find(_HEADER_END)
    header = head if end < 0 else head[:end]
    return len(_RECEIVED.findall(header))
