"""What an examination finds."""

from __future__ import annotations

from typing import Final

import msgspec

FATAL: Final = "fatal"
WARNING: Final = "warning"
GOOD: Final = "good"


class Finding(msgspec.Struct, frozen=True):
    weight: str
    about: str
    found: str
    remedy: str = ""
