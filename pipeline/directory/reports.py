"""Reports of a domain's outbound mail that go out by mail from time to time: what is stored of them, and what may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.address import AddressError, parse
from pipeline.faults import ConfigurationError

EVERY: Final = ("day", "week", "month")
FORMATS: Final = ("csv", "html", "text")
"""csv: summary with the rows attached; html: the summary; text: the summary as plain text alone."""
MOST: Final = 20
LONGEST_NAME: Final = 40


class ReportSchedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    """Within its domain."""
    every: str
    """day: of yesterday; week: of Monday to Sunday, on Monday; month: of the last month, on the first."""
    to: str
    at: int = 0
    """Minutes after midnight, as clocks of the domain's zone show them."""
    format: str = "csv"
    statuses: tuple[str, ...] = ()
    """Only these; all when empty."""
    since: int = 0
    """When it was set up (ns): what was due before is not sent."""


def check(reports: Sequence[ReportSchedule]) -> None:
    """Raises ConfigurationError."""
    if len(reports) > MOST:
        raise ConfigurationError(f"{len(reports)} reports by mail; a domain may have {MOST}")
    if len({one.name for one in reports}) < len(reports):
        raise ConfigurationError("two reports by mail have the same name", remedy="Give one another --name.")
    for one in reports:
        _check(one)


def _check(one: ReportSchedule) -> None:
    if not one.name or len(one.name) > LONGEST_NAME or not one.name.replace("-", "").replace("_", "").isalnum():
        raise ConfigurationError(
            f"{one.name!a} is no name for a report", remedy="Letters, digits, - and _, at most 40."
        )
    if one.every not in EVERY:
        raise ConfigurationError(f"every {one.every!a}", remedy=f"One of {', '.join(EVERY)}.")
    if one.format not in FORMATS:
        raise ConfigurationError(f"no format {one.format!a} for a mail", remedy=f"One of {', '.join(FORMATS)}.")
    if not 0 <= one.at < 24 * 60:
        raise ConfigurationError("no such time of day", remedy="Write it as 07:00.")
    if not all(status.isidentifier() for status in one.statuses):
        raise ConfigurationError("no such status")
    try:
        named = parse(one.to).domain
    except AddressError as error:
        raise ConfigurationError(f"{one.to!a}: {error}", remedy="Write it as boss@example.com.") from None
    if not named or named.startswith("["):
        raise ConfigurationError(f"{one.to!a} names no domain", remedy="Write it as boss@example.com.")
