"""What is to be told of an alert: one notice per way and addressee, promised by the step that raises or ends it.

A notice is there until it was told, or given up: so a crash loses none. Its id is derived from what it tells, so whoever gets one
twice can see that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from pipeline import keys
from pipeline.ids import derived_id
from pipeline.steps import MS, Effect
from pipeline.units import SECOND

MAIL: Final = "mail"
"""To an address of the operator's."""
CONTACT: Final = "contact"
"""To the contact that a domain has outside."""
HOOK: Final = "webhook"
KEPT: Final = 24 * 3600 * SECOND
"""How long it is tried to tell the webhook (ns)."""


class Way(msgspec.Struct, frozen=True):
    """How somebody is told, and where."""

    way: str
    to: str = ""
    """An address; empty for the webhook."""
    language: str = "en"

    def __str__(self) -> str:
        return f"{self.way}:{self.to}" if self.to else self.way

    def written(self) -> str:
        """As the head keeps it."""
        return f"{self.way}:{self.language}:{self.to}"

    @classmethod
    def read(cls, text: str) -> Way:
        way, _, rest = text.partition(":")
        language, _, to = rest.partition(":")
        return cls(way, to, language or "en")


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    partition: int
    way: Way
    subject: str
    version: int
    at: int
    rule: str
    what: str = ""
    domain: str = ""
    over: bool = False
    since: int = 0
    """When it was raised."""
    text: str = ""
    value: str = ""
    limit: str = ""
    detail: str = ""
    test: bool = False
    tries: int = 0
    """Of the webhook, that failed."""
    next: int = 0
    """It is not told before then."""
    quiet: int = 0
    """It is not told before then by somebody's wish; should what it tells be over by then, not at all."""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Notice).decode


def encode_notice(notice: Notice) -> bytes:
    return _encode(notice)


def decode_notice(data: bytes) -> Notice:
    """Raises `msgspec.DecodeError`."""
    return _decode(data)


def notice_id(subject: str, version: int, way: Way, at: int, partition: int) -> str:
    return derived_id(at, partition, f"{subject} {version} {way}")


def promised(notices: Iterable[Notice]) -> list[Effect]:
    """In the same step as the event."""
    effects: list[Effect] = []
    for notice in notices:
        effects.append(("HSET", keys.notice(notice.partition), notice.id, encode_notice(notice)))
        effects.append(("ZADD", keys.notices(notice.partition), max(notice.at, notice.next) // MS, notice.id))
    return effects
