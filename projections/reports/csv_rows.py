"""A report as CSV (RFC 4180): a header line, a line per row, CRLF; all of every reply, in its lines.

Spreadsheets take a cell that begins with one of a few characters to be a formula, and what strangers wrote is in these cells: such a
cell gets an apostrophe in front, which they show as nothing. Where a comma is part of a number they cut at semicolons and at the ends
of lines instead, so what follows one of these is a cell's beginning too.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from projections.reports.model import Row
from projections.reports.totals import Totals
from projections.reports.writing import exact, joined, whole

COLUMNS: Final = (
    "time", "domain", "status", "id", "sender", "recipients", "size", "attempt", "server", "address", "tls", "stage", "code",
    "enhanced", "class", "reason", "reply", "seconds_in_queue", "possible_duplicate",
)  # fmt: skip
"""Promises."""
_FORMULA: Final = re.compile(r'(^|[;\n])(?=[ "]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])')
_QUOTED: Final = frozenset('",\r\n')
MARK: Final = "\ufeff"
"""In front of a file for people: without it Excel reads UTF-8 as something else."""


class CsvWriter:
    def __init__(self, zone: dt.tzinfo, *, mark: bool = False) -> None:
        self._zone = zone
        self._mark = mark

    def head(self) -> str:
        return (MARK if self._mark else "") + ",".join(COLUMNS) + "\r\n"

    def row(self, row: Row) -> str:
        cells = (
            exact(row.at, self._zone), cell(row.domain), row.status, cell(row.message), cell(row.sender), cell(joined(row.recipients)),
            str(row.size), str(row.tries), cell(row.server), cell(row.address), cell(row.tls), cell(row.stage),
            str(row.code) if row.code else "", cell(row.enhanced), cell(row.about), cell(row.reason), cell(row.reply),
            f"{row.waited / 1e9:.3f}", "yes" if row.duplicate else "no",
        )  # fmt: skip
        return ",".join(cells) + "\r\n"

    def tail(self, totals: Totals) -> str:
        """Nothing: a table of one kind of rows is what programs want."""
        del totals
        return ""


def cell(text: str) -> str:
    """One text of a stranger, as it stands between two commas."""
    if text.isalnum():
        return text
    text = _FORMULA.sub(r"\1'", whole(text))
    if _QUOTED.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'
