"""Tests apart from each other: one that fails costs its own findings, not those of the others.

Whoever finds a message that breaks one test must not get everything else past with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from pipeline.events import Finding
from pipeline.scanning.engine import Mail, broken

ENGINE: Final = "builtin"
Seen = TypeVar("Seen")


def guarded(test: str, mail: Mail, look: Callable[[Seen], Iterable[Finding]], seen: Seen, found: list[Finding]) -> None:
    """Add what `look` finds in `seen` to `found`; what it found before it failed, too, and ENGINE_ERROR with its name."""
    try:
        found.extend(look(seen))
    except Exception as error:  # noqa: BLE001 - whatever a test does, the others go on
        found.append(broken(f"{ENGINE}/{test}", mail, error))
