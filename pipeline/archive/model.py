"""What the archive offers to those who read it, whatever it is kept in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container
from typing import Final, Protocol

from pipeline.events import Event, Recorded
from pipeline.log import Damaged, Page

DIRECTORY: Final = -1
"""The partition number under which the directory's log is archived. It is never trimmed in Redis."""


class Archive(Protocol):
    """All times are milliseconds of the entries' ids, which Redis's clock gave them when they were appended."""

    async def first(self, partition: int) -> str:
        """The first entry that is still there; "" when there is none."""

    async def last(self, partition: int) -> str:
        """The last entry that is sealed; "0" when there is none."""

    async def read(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> list[Recorded | Damaged]:
        """Up to `count` entries behind `after` ("0": from the first), in order, none behind `until`; [] when none is archived there.

        `kinds`: only events of these; then what cannot be read is left out too. Raises CorruptError for a segment that is missing
        or is not what its seal says.
        """

    async def page(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> Page:
        """As `Log.page`, but that its `count` is too small: events of other kinds are not read at all. 0 still means that there are no
        more entries.
        """

    def find(self, partition: int, term: int, start: int, end: int) -> AsyncIterator[Recorded]:
        """Events with a term (see pipeline/terms.py), the newest first, from `start` to before `end` (ms)."""

    def attempts(self, partition: int, domain: str, after: str, end: int) -> AsyncIterator[Recorded]:
        """The domain's delivery attempts (deferred, delivered, failed, undeliverable, route_deferred) in order, behind `after`, before
        `end` (ms).
        """
