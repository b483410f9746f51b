"""Telling the operator about what nobody foresaw, without repeating what a stranger sent."""

from __future__ import annotations

import traceback
from typing import Final

import structlog

FRAMES: Final = 5
LENGTH: Final = 500

log = structlog.get_logger()


def unforeseen(error: BaseException) -> None:
    """One line: kind, place, and the text with everything but printable ASCII escaped, because it may quote a client."""
    frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-FRAMES:]]
    log.error("unforeseen", kind=type(error).__name__, text=ascii(str(error))[:LENGTH], at=frames)
