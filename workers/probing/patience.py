"""How long a delivery test waits: for each thing, for each address, and in all."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. The deliverer waits longer (settings connect_timeout, reply_timeout): nobody sits before it."""

    total: float = 60.0
    names: float = 10.0
    """For the DNS, all questions together."""
    connect: float = 10.0
    greeting: float = 30.0
    """Some servers let strangers wait on purpose; the deliverer waits so long too."""
    reply: float = 20.0
    handshake: float = 10.0
    dot: float = 20.0
    quit: float = 3.0
    apart: float = 0.05
    """Between two quick connections."""


class TimeUp(Exception):
    """What is left of the time is over."""


class Share:
    """The part of the time that one address has: `left` of a moment on `clock`, in seconds."""

    def __init__(self, until: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._until = until
        self._clock = clock

    def at_most(self, seconds: float) -> float:
        """`seconds`, or what is left. Raises TimeUp when that is nothing."""
        left = min(seconds, self._until - self._clock())
        if left <= 0:
            raise TimeUp
        return left
