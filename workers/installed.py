"""Whether the program that is loaded is the one that is installed: after an upgrade in place it is not."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Final

MAPPED: Final = Path("/proc/self/maps")
"""Of Linux."""
GONE: Final = b" (deleted)\n"
"""What stands there behind a library whose file was replaced."""


class Installed:
    """What is loaded now, as its files are now."""

    def __init__(self) -> None:
        files = {getattr(module, "__file__", None) for module in tuple(sys.modules.values())}
        self._files = sorted(file for file in files if file)
        self._state = self._look()

    def same(self) -> bool:
        """Whether these files are as they were, and the libraries that they brought."""
        with contextlib.suppress(OSError):
            if GONE in MAPPED.read_bytes():
                return False
        return self._look() == self._state

    def _look(self) -> int:
        """One number: kept for months, in place of a state for each of a thousand files."""
        return hash(tuple(_state(file) for file in self._files))


def _state(file: str) -> tuple[int, ...]:
    try:
        found = Path(file).stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
