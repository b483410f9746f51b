"""A look at the store before anything is started that would use it.

By a process that ends: the supervisor lives for months, and a client of Redis would be a third of its memory.
"""

from __future__ import annotations

from typing import Final

from pipeline.settings import Settings
from pipeline.store import refuse_unsafe
from workers.wiring import Wiring

EXAMINER: Final = "examiner"
LOOKED: Final = 76
"""Its exit code when the store may be used. Not 0, which one also gets of a process that was ended and waited for by somebody else."""


async def examine(settings: Settings) -> None:
    """Raises StoreError, ConfigurationError: it cannot be reached, it would lose mail, or a newer version wrote it."""
    wiring = await Wiring.connect(settings)
    try:
        await refuse_unsafe(wiring.store.redis)
    finally:
        await wiring.close()
