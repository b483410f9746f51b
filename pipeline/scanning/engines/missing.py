"""What happens to a message at which an engine should have looked and did not. Pure.

pass        it goes on as the other engines see it, marked with a header field that names who did not look
quarantine  every copy that would be delivered is kept for the postmaster
wait        it is scanned again later, until `engines_wait` is over; then it is kept as with quarantine

Nothing waits that would not be delivered anyway, and what we wrote ourselves always passes. No sender is ever told of any of this.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from pipeline.actions import Action
from pipeline.directory.model import Domain
from pipeline.directory.policy import Act
from pipeline.events import Postponed
from pipeline.scanning.policy import WAVED_THROUGH
from pipeline.settings import Settings
from pipeline.state import Message, Stage
from pipeline.text import printable

PASS, WAIT, QUARANTINE = "pass", "wait", "quarantine"
MAX_REASON: Final = 200
HEADER: Final = "X-Gatepost-Not-Scanned-By"


def policy_of(settings: Settings, domain: Domain | None) -> str:
    return (domain.engines_missing if domain is not None else "") or settings.engines_missing


def longest(settings: Settings, message: Message) -> int:
    """How long a message may wait for an engine (ns): half of its life is left for its delivery, or it would be returned untried."""
    return max(0, min(int(settings.engines_wait), (message.expires - message.received_at) // 2))


def fate(missing: Sequence[str], policy: str, message: Message, kept: Collection[str], *, now: int, wait: int) -> str:
    """pass, wait or quarantine. `kept`: whose copies the verdict delivers to nobody anyway; `wait`: ns that it may wait in all."""
    if not missing or message.origin in WAVED_THROUGH or policy not in (WAIT, QUARANTINE):
        return PASS
    if all(address in kept for address in message.addresses(Stage.RECEIVED)):
        return PASS
    since = message.waits_since or now
    return WAIT if policy == WAIT and now < since + wait else QUARANTINE


def kept_back(message: Message, actions: Sequence[Action], missing: Sequence[str], *, now: int) -> tuple[Action, ...]:
    """`actions` with those kept that would deliver."""
    why = reason(missing, waited=now - message.waits_since if message.waits_since else 0)
    return tuple(
        msgspec.structs.replace(action, action=Act.QUARANTINE, reason=why, tag="", why=(*action.why, why))
        if action.action in (Act.DELIVER, Act.TAG)
        else action
        for action in actions
    )


def reason(missing: Sequence[str], *, waited: int = 0) -> str:
    after = f", waited for {_age(waited)}" if waited > 0 else ""
    return printable(f"not scanned by {'; '.join(missing)}{after}")[:MAX_REASON]


def _age(duration: int) -> str:
    minutes = duration // 60_000_000_000
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def postponed(message: Message, missing: Sequence[str], *, now: int, until: int) -> tuple[Postponed, ...]:
    """The record that a message waits; nothing when it was said before that it waits for these."""
    if message.waits_since and names(message.missing) == names(missing):
        return ()
    return (Postponed(at=now, domain=message.domain, missing=tuple(missing), until=until),)


def names(missing: Sequence[str]) -> tuple[str, ...]:
    """Of the engines alone."""
    return tuple(one.partition(" ")[0] for one in missing)


def field(missing: Sequence[str]) -> bytes:
    """The header field that marks a message as not scanned, with its CRLF."""
    safe = [name for name in names(missing) if name.isascii() and name.replace("-", "").isalnum()]
    return f"{HEADER}: {', '.join(safe[:10])}\r\n".encode("ascii") if safe else b""
