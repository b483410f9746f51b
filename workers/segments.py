"""Segments that nobody writes to any more: what still lives in them moves to the cold store, and they go."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from pipeline.bodies import Bodies
from pipeline.bodies.segments import closed, listed, unfinished
from pipeline.faults import StoreError

SEGMENTS_EVERY: Final = 5.0
COOL_AFTER: Final = 60.0
"""Seconds since a segment was written to last after which what is still in it has to wait for something."""
UNFINISHED_AGE: Final = 3600.0
COOL_BATCH: Final = 64
LOOK_BATCH: Final = 500


class Segments:
    """Any number of processes may do this at once: a body moves before its segment goes, and to go twice is harmless."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._empty: set[Path] = set()
        """Segments that no key pointed into at the last look."""

    async def collect(self) -> int:
        """Look at each closed segment; how many bodies were moved out of them.

        One goes when twice in a row no key points into it. Once would do but for a writer that was killed: its last steps may be on their way
        to a Redis that has not read them yet, and that has when it answered us.
        """
        now, moved = time.time(), 0
        trouble: StoreError | None = None
        found = await asyncio.to_thread(closed, self._bodies.segments)
        self._empty &= {path for path, _ in found}
        for path, written in found:
            living = await self._living(path)
            if living:
                self._empty.discard(path)
                if written < now - COOL_AFTER:
                    try:
                        moved += await self._cool(living)
                    except StoreError as fault:
                        trouble = fault  # the cold store's; what nobody needs goes all the same
            elif path in self._empty:
                await asyncio.to_thread(path.unlink, missing_ok=True)
            else:
                self._empty.add(path)
        for path in unfinished(self._bodies.segments, now - UNFINISHED_AGE):
            await asyncio.to_thread(path.unlink, missing_ok=True)
        if trouble is not None:
            raise trouble
        return moved

    async def _living(self, path: Path) -> list[str]:
        names = await asyncio.to_thread(_names, path)
        living = []
        for start in range(0, len(names), LOOK_BATCH):
            living += await self._bodies.living(names[start : start + LOOK_BATCH], path)
        return living

    async def _cool(self, living: list[str]) -> int:
        moved = 0
        for start in range(0, len(living), COOL_BATCH):
            moved += await self._bodies.cool(living[start : start + COOL_BATCH])
        return moved


def _names(path: Path) -> list[str]:
    try:
        return [name for names in listed(path) for name in names]
    except FileNotFoundError:
        return []  # another process was faster
