"""Tables of the operator's own: whether each can be read. Nothing raises."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from cli.check.finding import FATAL, GOOD, Finding
from pipeline.faults import ConfigurationError

if TYPE_CHECKING:
    from pipeline.settings import Settings


def about_replies(settings: Settings) -> list[Finding]:
    """Whether the operator's own table of replies can be read."""
    from pipeline import diagnosis

    if not settings.replies_table:
        return []
    try:
        table = diagnosis.in_force(settings.replies_table)
    except ConfigurationError as fault:
        return [Finding(FATAL, "replies", str(fault), fault.remedy)]
    return [Finding(GOOD, "replies", f"{settings.replies_table}: version {table.version}, {len(table.rules):,} rules")]


def about_brands(settings: Settings) -> list[Finding]:
    """Whether the operator's own table of brands can be read."""
    from pipeline.scanning.builtin.tables import brands

    if not settings.brands:
        return []
    try:
        table = brands(settings.brands)
    except ConfigurationError as fault:
        return [Finding(FATAL, "brands", str(fault), fault.remedy)]
    return [Finding(GOOD, "brands", f"{settings.brands}: {len(table.organisations):,} domains")]


def about_countries(settings: Settings) -> list[Finding]:
    """Whether the operator's own table of countries can be read."""
    from pipeline import country

    if not settings.country_table:
        return []
    try:
        built = country.in_force(settings.country_table).built
    except ConfigurationError as fault:
        return [Finding(FATAL, "countries", str(fault), fault.remedy)]
    made = dt.datetime.fromtimestamp(built, dt.UTC)
    return [Finding(GOOD, "countries", f"{settings.country_table}: made on {made:%Y-%m-%d}")]
