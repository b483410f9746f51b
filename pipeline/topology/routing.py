"""Which slot of a Cluster a command belongs to: a function of its words."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from typing import Any, Final

SLOTS: Final = 16384
_KEYLESS: Final = frozenset(
    (
        "ACL",
        "CLIENT",
        "CLUSTER",
        "COMMAND",
        "CONFIG",
        "DBSIZE",
        "FLUSHALL",
        "FLUSHDB",
        "INFO",
        "PING",
        "ROLE",
        "SCAN",
        "SCRIPT",
        "TIME",
    )
)
_COUNTED: Final = frozenset(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"))
_STREAMS: Final = frozenset(("XREAD", "XREADGROUP"))


def slot_of(key: bytes | str) -> int:
    """As the specification of Redis Cluster has it: of a key with {...} in it only what stands between these counts."""
    data = key.encode() if isinstance(key, str) else key
    start = data.find(b"{")
    if start >= 0:
        end = data.find(b"}", start + 1)
        if end > start + 1:
            data = data[start + 1 : end]
    return crc_hqx(data, 0) % SLOTS


def key_of(words: Sequence[Any]) -> bytes | str | None:
    """The first key of a command; None when it has none. A command's other keys are of the same slot, or the server refuses it."""
    name = (words[0].decode() if isinstance(words[0], bytes) else words[0]).upper()
    if name in _COUNTED:
        return words[3] if int(words[2]) else None
    if name in _STREAMS:
        for at, word in enumerate(words):
            if word in ("STREAMS", b"STREAMS"):
                found: bytes | str = words[at + 1]
                return found
        return None
    if len(words) < 2 or name.partition(" ")[0] in _KEYLESS:
        return None
    key = words[1]
    return key if isinstance(key, bytes | str) else str(key)
