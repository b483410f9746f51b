"""What the nightly self-check found: whether each view is what the events say."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline import keys
from pipeline.store import Client, faults
from projections.readers.common import decoded


class CheckedView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One view that was rebuilt and compared."""

    view: str
    events: int
    seconds: float
    differences: int = 0
    named: tuple[str, ...] = ()
    """The first twenty, in a line each: the partition, the key and the field, what the live view says and what the events say."""
    failed: str = ""
    """Why it could not be compared; empty when it was."""
    skipped: str = ""
    """Why it was not compared, where that is nothing to worry about: there was no time, or the first events are gone for good."""

    @property
    def equal(self) -> bool:
        return not self.differences and not self.failed


class SelfCheck(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    night: str
    """The day whose check it is, YYYY-MM-DD in the time zone of the settings."""
    started: int
    """ns since 1970, as is `ended`."""
    ended: int
    views: tuple[CheckedView, ...]

    @property
    def equal(self) -> bool:
        """Whether every view is what the events say."""
        return all(view.equal for view in self.views)

    @property
    def differences(self) -> int:
        return sum(view.differences for view in self.views)

    @property
    def events(self) -> int:
        """Folded, over all views."""
        return sum(view.events for view in self.views)


decode_check = msgspec.msgpack.Decoder(SelfCheck).decode


async def last_selfcheck(redis: Client) -> SelfCheck | None:
    """The last one that ended; None when there was none yet."""
    with faults():
        stored: Any = await redis.hget(keys.SELFCHECK, "last")
    return decoded(decode_check, stored, "selfcheck") if stored else None
