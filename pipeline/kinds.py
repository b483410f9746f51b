"""Which kind of event an entry of the log holds, told from its first octets.

Most views look at few kinds of events, and reading a log is mostly decoding. The tag is the first thing in an event's map (msgspec
writes it there), so an event that nobody wants costs no more than a look at it. An event that is written in another way is
decoded to see what it is: the answer depends on its octets alone, never on who asks or on what is read with it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.events import ALL_EVENTS, Event, decode

_MAP16: Final = b"\xde"
"""A map of more than 15 fields: its number is in two octets behind this one."""
_TAG_KEY: Final = b"\xa1t"
_LENGTH: Final = 0x1F
"""The length of a short text, in its first octet. All tags are short."""


def tag_of(kind: type[Event]) -> str:
    return str(kind.__struct_config__.tag)


_KINDS: Final[dict[bytes, type[Event]]] = {msgspec.msgpack.encode(tag_of(kind)): kind for kind in ALL_EVENTS}


def kind_of(data: bytes) -> type[Event] | None:
    """The kind of an encoded event; None when that cannot be told, because its tag is unknown or it cannot be read at all.

    That a kind is told does not mean that the rest can be read.
    """
    start = 5 if data[:1] == _MAP16 else 3
    if data[start - 2 : start] == _TAG_KEY and len(data) > start:
        kind = _KINDS.get(data[start : start + 1 + (data[start] & _LENGTH)])
        if kind is not None:
            return kind
    try:
        return type(decode(data))
    except (ValueError, msgspec.DecodeError):  # text that is not UTF-8 is the former
        return None
