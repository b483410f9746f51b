"""From words to tokens: keyed hashes, from which no text can be read back.

The key is the store's own and never leaves it, so that nobody who sees events or counts can try words out either. Five octets keep
400 words of a message apart from each other and from the million that a language has; the counts fold them further (see
`projections/classifier.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from pipeline.mime import Buffer, Header

SIZE: Final = 5
"""Octets of a token."""
KEY_SIZE: Final = 32
REMEMBERED: Final = 30_000
"""Words whose tokens a process remembers: of most messages all but a few."""
DIGEST_SIZE: Final = 12
BODY: Final = 1 << 20
"""Octets of the body that tell messages apart."""


class Tokeniser:
    """One per process and key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._base = hashlib.blake2b(key=key, digest_size=SIZE)
        self._known: dict[str, bytes] = {}

    def tokens(self, words: Iterable[str]) -> list[bytes]:
        known = self._known
        found: dict[bytes, None] = {}
        for word in words:
            token = known.get(word)
            if token is None:
                token = self._hashed(word)
            found[token] = None
        return list(found)

    def _hashed(self, word: str) -> bytes:
        state = self._base.copy()
        state.update(word.encode("utf-8", "replace"))
        token = state.digest()
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[word] = token
        return token

    def digest(self, content: Buffer, header: Header) -> str:
        """What tells a message from all others, however it got here: its way adds fields, policy may mark its subject."""
        state = hashlib.blake2b(key=self._key, digest_size=DIGEST_SIZE)
        for name in (b"message-id", b"date", b"from"):
            state.update(header.value(name) + b"\n")
        state.update(bytes(content[header.body : header.body + BODY]).replace(b"\r", b"").rstrip(b"\n"))
        return state.hexdigest()


def unpacked(tokens: bytes) -> list[bytes]:
    """The tokens of an event; a torn one at its end is left out."""
    return [tokens[start : start + SIZE] for start in range(0, len(tokens) - SIZE + 1, SIZE)]
