"""Telling the operator about what nobody foresaw, without repeating what a stranger sent."""

from __future__ import annotations

import time
import traceback
from typing import Final

import structlog

FRAMES: Final = 5
LENGTH: Final = 500
SELDOM: Final = 60.0
"""Seconds between two lines about what a stranger can cause as often as it likes."""

log = structlog.get_logger()


def unforeseen(error: BaseException) -> None:
    """One line: kind, place, and the text with everything but printable ASCII escaped, because it may quote a client."""
    frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-FRAMES:]]
    log.error("unforeseen", kind=type(error).__name__, text=ascii(str(error))[:LENGTH], at=frames)


class Rarely:
    """A warning that is logged once in SELDOM seconds, with how often it was due meanwhile."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._next = 0.0
        self._silent = 0

    def tell(self, **facts: object) -> None:
        now = time.monotonic()
        if now < self._next:
            self._silent += 1
            return
        log.warning(self._event, **facts, **({"more": self._silent} if self._silent else {}))
        self._next, self._silent = now + SELDOM, 0
