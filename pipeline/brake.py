"""How much receivers slow down when more mail comes in than the rest of the gateway can take: a pure decision.

Three marks, each a setting. Mail that waits to be scanned is our own doing, so from `brake_scanning` on each MAIL is answered later
and later, and from STOP times that on it is refused with 452 until half of it is gone. Mail that waits to be sent may be a slow
server's doing, which must cost nobody else's mail: it only slows, and only while this machine has more to do than processors.
A brake is never longer than `brake_delay`, so what is slowed is still taken.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.settings import Settings

STOP: Final = 4
"""Times `brake_scanning` from which on mail is refused, and half of which it is taken again at."""
SATURATED: Final = 1.0
"""Runnable processes for each processor from which on a machine has more to do than it can."""


class Load(msgspec.Struct, frozen=True):
    """What was seen: messages to be scanned, messages that could leave now, and runnable processes per processor."""

    scanning: int = 0
    sending: int = 0
    busy: float = 0.0


class Marks(msgspec.Struct, frozen=True):
    """0 for a number of messages: it is no reason to slow down."""

    scanning: int
    sending: int
    delay: float

    @classmethod
    def of(cls, settings: Settings) -> Marks:
        return cls(settings.brake_scanning, settings.brake_sending, settings.brake_delay.seconds)


class Brake(msgspec.Struct, frozen=True):
    """`delay`: seconds by which the answer to MAIL is held back. `closed`: it is 452, for `reason`."""

    delay: float = 0.0
    closed: bool = False
    reason: str = ""


FREE: Final = Brake()


def decide(load: Load, marks: Marks, before: Brake = FREE) -> Brake:
    """`before`: what was decided last, as who was refused is let in again only when there is room for a while."""
    slowed = 0.0
    reason = ""
    if marks.scanning and load.scanning > marks.scanning:
        slowed = _part(load.scanning, marks.scanning, marks.scanning * STOP)
        reason = f"{load.scanning} messages wait to be scanned"
        if load.scanning >= marks.scanning * (STOP // 2 if before.closed else STOP):
            return Brake(marks.delay, closed=True, reason=reason)
    if marks.sending and load.sending > marks.sending and load.busy >= SATURATED:
        part = _part(load.sending, marks.sending, marks.sending * 2)
        if part > slowed:
            slowed, reason = part, f"{load.sending} messages could leave, and the machine is busy"
    return Brake(slowed * marks.delay, reason=reason) if slowed else FREE


def _part(value: int, low: int, high: int) -> float:
    return min(1.0, (value - low) / (high - low))
