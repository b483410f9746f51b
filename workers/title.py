"""What `ps` shows of a process that was forked: its own words instead of its parent's."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ARG_START, ARG_END = 47, 48
"""Fields of /proc/PID/stat (proc(5), counted from 0): where in memory the kernel finds the words."""
AFTER_NAME: Final = 2
"""Fields before the end of the name, which may have spaces in it."""


def entitle(words: Sequence[str]) -> None:
    """Show these words, cut off where there were fewer octets before. Where the system has no such thing nothing is changed."""
    place = _place() if sys.platform == "linux" else None
    if place is not None:
        start, room = place
        shown = b"\0".join(word.encode(errors="replace") for word in words)[: room - 1]
        ctypes.memmove(start, shown.ljust(room, b"\0"), room)


def _place() -> tuple[int, int] | None:
    """(address, octets) of the words that we were started with."""
    try:
        fields = Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        start, end = (int(fields[field - AFTER_NAME]) for field in (ARG_START, ARG_END))
        shown = Path("/proc/self/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    # A kernel that hides the addresses from us says 0.
    return (start, end - start) if start and end - start == len(shown) else None
