"""What is measured, what a rule makes of it, and what is known of an alert. Times are ns since 1970.

Everything that is measured costs the same however much mail waits: counters and the ends of sorted sets, per domain at most.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

NEVER: Final = -1
"""In place of a domain's own limit: no alert, whatever the settings say."""


class DomainState(msgspec.Struct, frozen=True, kw_only=True):
    """A domain for which mail waits, or that is held."""

    domain: str
    messages: int = 0
    oldest: int = 0
    """Since when the oldest message waits; 0: none does."""
    down_since: int = 0
    """Since when no server of it can be used; 0: one can, as far as is known."""
    said: str = ""
    """What was heard of the server last."""
    held_since: int = 0
    """Since when Gatepost itself sends it nothing because of what its server said; 0: it does not."""
    held_why: str = ""
    max_waiting: int = 0
    """The domain's own limits; 0: those of the settings, NEVER: none."""
    max_oldest: int = 0


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    away_since: int = 0
    """0: it is there, for one process at least."""
    error: str = ""


class WorkState(msgspec.Struct, frozen=True, kw_only=True):
    """A stream of work."""

    stream: str
    """scan, outbox"""
    oldest: int = 0
    """When the oldest work that is not done was handed on; 0: all is done."""
    count: int = 0
    consumers: int = 0
    """That were heard of lately."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured at a moment. What is None was not, and no rule says anything of it then."""

    at: int
    host: str = ""
    """The machine that measured its disk and its certificate."""
    domains: tuple[DomainState, ...] | None = None
    engines: tuple[EngineState, ...] | None = None
    lags: tuple[tuple[str, int], ...] | None = None
    """Of each view, how far it is behind (ns)."""
    work: tuple[WorkState, ...] | None = None
    disk_free: int | None = None
    memory: tuple[int, int] | None = None
    """Used by Redis, and what it may use (octets; 0: no limit)."""
    parked: int | None = None
    receiver: int | None = None
    """When a receiver was heard of last; 0: none ever was."""
    certificate: int | None = None
    """When ours ends."""
    books: tuple[tuple[str, str], ...] | None = None
    """Domains whose books are wrong, each with how, in words."""
    differences: tuple[tuple[str, str], ...] | None = None
    """Views that differ from what their events say, each with how, in words."""
    archive: tuple[int, str] | None = None
    """Since when the archive is behind (0: it is not), and why, in words."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says of one thing that is near its limit, or beyond it."""

    rule: str
    what: str = ""
    domain: str = ""
    """Empty for what concerns all."""
    wrong: bool = True
    """False: within the limit, and not so far from it that an alert would be over."""
    lasting: int = 0
    """How long it has to stay so before it counts (ns)."""
    value: str = ""
    limit: str = ""
    detail: str = ""
    """Words of somebody else, made safe to show: a server's answer."""

    @property
    def subject(self) -> str:
        return subject(self.rule, self.what)


class Assessment(msgspec.Struct, frozen=True):
    """What the rules say of what was measured."""

    samples: tuple[Sample, ...]
    covered: frozenset[str]
    """The rules that could say something, each as `rule`, or as `rule:what` where they spoke of that alone."""

    def covers(self, rule: str, what: str) -> bool:
        return rule in self.covered or f"{rule}:{what}" in self.covered


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of an alert; the head of its subject."""

    rule: str
    what: str = ""
    domain: str = ""
    version: int = 0
    since: int = 0
    """When it was raised; 0: it is over."""
    ended: int = 0
    text: str = ""
    value: str = ""
    limit: str = ""
    told: tuple[str, ...] = ()
    """Who is told of it, as `way:where` (see notices.py): the same hear when it is over."""

    @property
    def subject(self) -> str:
        return subject(self.rule, self.what)

    @property
    def raised(self) -> bool:
        return bool(self.since)


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Alert).decode


def encode_alert(alert: Alert) -> bytes:
    return _encode(alert)


def decode_alert(data: Any) -> Alert:
    """Raises `msgspec.DecodeError`."""
    return _decode(data)


def subject(rule: str, what: str) -> str:
    return f"!{rule}:{what}"
