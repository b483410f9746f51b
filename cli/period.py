"""A stretch of time as people name it: `--from`, `--to`, `--days`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter

from pipeline.faults import ConfigurationError

MOST_DAYS: Final = 100_000
END: Final = 1 << 62
"""ns: in the year 2116."""
DAY: Final = 86400 * 1_000_000_000


@Parameter(name="*")
@dataclass(frozen=True)
class Period:
    from_: Annotated[
        str, Parameter(name="--from", help="Since this day or moment, such as 2026-11-20 or 2026-11-20T13:00Z.")
    ] = ""
    to: Annotated[str, Parameter(help="Until this day (which belongs to it) or moment.")] = ""
    days: Annotated[int, Parameter(help="The last so many days.")] = 0

    @property
    def given(self) -> bool:
        return bool(self.from_ or self.to or self.days)

    def bounds(self, now: int, zone: dt.tzinfo | None = None) -> tuple[int, int]:
        """(first, last) in ns since 1970, both inside. `zone`: whose days they are; None: this machine's, or TZ.

        Raises ConfigurationError.
        """
        if self.days and self.from_:
            raise ConfigurationError("--days and --from are two beginnings", remedy="Give one of them.")
        if not 0 <= self.days <= MOST_DAYS:
            raise ConfigurationError(f"--days is {self.days}; expected 1 to {MOST_DAYS:,}")
        last = _moment("--to", self.to, zone)[1] if self.to else END
        if self.days:
            return max(0, min(now, last) - self.days * DAY), last
        first = _moment("--from", self.from_, zone)[0] if self.from_ else 0
        if first > last:
            raise ConfigurationError(f"--from {self.from_} is later than --to {self.to}")
        return first, last


WHOLE: Final = Period()


def _moment(option: str, text: str, zone: dt.tzinfo | None) -> tuple[int, int]:
    """(its beginning, its end) in ns: a day has both, and a moment that clocks show twice; else both are the moment."""
    from pipeline.zones import parsed, system_zone

    try:
        return parsed(text, zone or system_zone())
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{option}: {text!a} is no time", remedy="Write 2026-11-20, 2026-11-20T13:00 or 2026-11-20T13:00Z."
        ) from None
