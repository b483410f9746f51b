"""What the continuous check of the books found last: see workers/bookkeeping.py, which writes it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.store import Client, faults
from projections.readers.check import Mismatch

NAMED: Final = 100
"""Messages and domains that are named; of the others there is the count."""


class Unbalanced(msgspec.Struct, frozen=True, kw_only=True):
    domain: str
    difference: int
    """Recipients received and not accounted for; below 0: accounted for more than once."""
    odd: int
    """Recipients named by events that cannot be."""


class BooksCheck(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    at: int
    """When the sums of all domains were looked at last (ns), about every minute."""
    unbalanced: tuple[Unbalanced, ...] = ()
    """The first hundred domains whose sums are wrong."""
    unbalanced_count: int = 0
    walked_at: int = 0
    """When the last walk through all messages ended (ns); 0: none has yet."""
    walk_took: int = 0
    """ns."""
    messages: int = 0
    """That the last walk looked at."""
    mismatches: tuple[Mismatch, ...] = ()
    """Of the last walk, and those that the walk under way has found so far: all of them certain."""
    mismatch_count: int = 0

    @property
    def balanced(self) -> bool:
        return not self.unbalanced_count and not self.mismatch_count


_decode: Final = msgspec.msgpack.Decoder(BooksCheck).decode


async def last_check(redis: Client) -> BooksCheck | None:
    """None: it was never checked, because no watcher has run yet. Raises StoreAwayError."""
    with faults():
        stored: Any = await redis.get(keys.BOOKS_CHECK)
    try:
        return _decode(stored) if stored else None
    except msgspec.DecodeError:  # of another release; the next is written within a minute
        return None
