"""Whether a process lives, and whether it may be given work: pure.

Alive means that its event loop turns and its duties come to their ends. A process that only waits for Redis is alive: to start it
anew would help nobody. Ready is more: Redis answers, the directory is known, and it was not told to stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

LOOP: Final = "event loop"
LOOP_STUCK: Final = 15.0
"""Seconds for which the event loop may stand still: far longer than the largest message takes."""


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    started: bool
    """It has said so itself."""
    stopping: bool
    redis: str
    """Why Redis cannot be reached; empty: it answers."""
    directory: bool
    """It was read."""


def not_alive(stuck: Mapping[str, float]) -> str:
    """Why a process is to be started anew; empty: it is not. `stuck`: seconds for which something has not moved."""
    return "; ".join(f"{name} has not moved for {seconds:.0f} s" for name, seconds in sorted(stuck.items()))


def not_ready(found: Readiness) -> str:
    """Why a process is not to be given work; empty: it may."""
    if found.stopping:
        return "stopping"
    if found.redis:
        return found.redis
    if not found.directory:
        return "the directory was not read yet"
    return "" if found.started else "starting"
