"""Which kept messages are meant, and walking through them page by page with something to see meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

if TYPE_CHECKING:
    from cli.session import Session
    from projections.readers.quarantine import Kept, Page, Query

PAGE: Final = 500


@Parameter(name="*")
@dataclass(frozen=True)
class Filters:
    domain: Annotated[str, Parameter(help="Only mail for this domain.")] = ""
    sender: Annotated[
        str, Parameter(help="Only from this address, or @domain, or <> for none; or whose sender contains this.")
    ] = ""
    recipient: Annotated[str, Parameter(help="Only for this address; or for those that contain this.")] = ""
    subject: Annotated[str, Parameter(help="Only with these words in the subject; inv* or *voice for parts.")] = ""
    class_: Annotated[
        str,
        Parameter(
            name=["--class", "--reason"],
            help="Only what is kept as this: spam, phishing, virus, content, spoof, bulk, undeliverable.",
        ),
    ] = ""
    country: Annotated[str, Parameter(help="Only from clients of this country, such as DE.")] = ""
    test: Annotated[str, Parameter(help="Only where this test fired, such as GTUBE.")] = ""
    from_: Annotated[
        str, Parameter(name="--from", help="Only what is kept since this day or moment, such as 2026-11-20.")
    ] = ""
    to: Annotated[str, Parameter(name="--until", help="Only until this day (which belongs to it) or moment.")] = ""
    days: Annotated[int, Parameter(help="Only of the last so many days.")] = 0

    @property
    def any(self) -> bool:
        return self != NONE

    def query(self, now: int) -> Query:
        """Raises ConfigurationError."""
        from cli.names import domain_of
        from cli.period import END, Period
        from projections.readers.quarantine import Query

        first, last = Period(self.from_, self.to, self.days).bounds(now)
        return Query(
            domain=domain_of(self.domain) if self.domain else "",
            sender=self.sender,
            recipient=self.recipient,
            subject=self.subject,
            class_=self.class_.strip().lower(),
            country=self.country.strip(),
            test=self.test.strip(),
            since=first,
            until=last + 1 if last < END else 0,
        )


NONE: Final = Filters()


class Walk:
    """What matches, the newest first. `after`: where the last page ended; empty when there is no more."""

    def __init__(self, opened: Session, query: Query, *, after: str = "", shown: bool = True) -> None:
        from cli.session import actor
        from workers.quarantine import Quarantine

        self._quarantine = Quarantine(opened.wiring, by=actor())
        self._query = query
        self._shown = shown
        self.after = after

    async def take(self, limit: int) -> list[Kept]:
        """Up to `limit` messages. Raises ConfigurationError for an `after` that no page said."""
        from cli.progress import Progress

        page = await self._page(limit)
        found = list(page.messages)
        if len(found) >= limit or not self.after:
            return found
        with Progress("looking through", page.candidates, shown=self._shown) as progress:
            progress.advance(page.looked)
            while len(found) < limit and self.after:
                page = await self._page(limit - len(found))
                found += page.messages
                progress.advance(page.looked)
        return found

    async def every(self) -> AsyncIterator[Kept]:
        while True:
            page = await self._page(PAGE)
            for one in page.messages:
                yield one
            if not self.after:
                return

    async def _page(self, limit: int) -> Page:
        from pipeline.faults import ConfigurationError

        try:
            page = await self._quarantine.search(self._query, limit=limit, after=self.after)
        except ValueError as error:
            raise ConfigurationError(f"--after: {error}", remedy="Take it from the end of the page before.") from None
        self.after = page.after
        return page
