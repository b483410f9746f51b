"""A report on a terminal, a row at a time: columns are as wide as the window allows, and what does not fit is cut with an ellipsis.

A pipe gets all of every cell. Where a window is too narrow for all columns the least telling ones are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cli.render import GAP, age, size
from projections.reports.model import DELIVERED, FAILED, UNDELIVERABLE, Heading, Row
from projections.reports.plain import summary
from projections.reports.words import WORDS, Words
from projections.reports.writing import one_line, shown

if TYPE_CHECKING:
    from cli.render import Screen
    from projections.reports.totals import Totals

_GREEN, _YELLOW, _RED, _BOLD, _DIM, _PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True)
class Column:
    name: str
    width: int
    """At least."""
    share: int = 0
    """Of the room that is left."""
    rank: int = 0
    """Those of the highest rank are the first to be left out."""
    right: bool = False


COLUMNS: Final = (
    Column("time", 25),
    Column("status", 13),
    Column("try", 3, rank=1, right=True),
    Column("domain", 12, 1, rank=2),
    Column("from", 14, 3, rank=1),
    Column("to", 14, 3),
    Column("size", 8, rank=3, right=True),
    Column("in queue", 10, rank=2, right=True),
    Column("server", 14, 3, rank=2),
    Column("tls", 8, 1, rank=4),
    Column("class", 12, rank=3),
    Column("answer", 16, 8),
    Column("id", 22, rank=5),
)
_NARROWEST: Final = 40
PIPE: Final = 5
"""Columns for each share where the width has no end: most cells are no longer, so that they stand below each other."""


class TableWriter:
    def __init__(self, heading: Heading, screen: Screen) -> None:
        console = screen.console
        self._heading = heading
        self._words: Words = WORDS["en"]
        self._coloured = console.is_terminal and not console.no_color
        self._width = max(_NARROWEST, console.width) if console.is_terminal else 0
        """0: a pipe, as wide as it takes."""
        columns = [one for one in COLUMNS if one.name != "domain" or len(heading.domains) != 1]
        self._columns = (
            _fitting(columns, self._width) if self._width else [(one, one.width + PIPE * one.share) for one in columns]
        )

    def head(self) -> str:
        return self._painted(_DIM, self._line({one.name: one.name.upper() for one, _ in self._columns})) + "\n"

    def row(self, row: Row) -> str:
        status = self._words.statuses[row.status] + ("?" if row.duplicate else "")
        server = one_line(row.server) + (f" [{one_line(row.address)}]" if row.address else "")
        cells = {
            "time": shown(row.at, self._heading.zone), "status": status, "try": str(row.tries) if row.tries else "",
            "domain": one_line(row.domain), "from": one_line(row.sender) or ("<>" if row.message else ""),
            "to": one_line(", ".join(row.recipients)), "size": size(row.size) if row.message else "",
            "in queue": age(row.waited), "server": server, "tls": one_line(row.tls), "class": one_line(row.about),
            "answer": one_line(row.reply), "id": one_line(row.message),
        }  # fmt: skip
        text = self._line(cells)
        if not self._coloured:
            return text + "\n"
        start = _offset(self._columns)
        end = start + len(status)
        return text[:start] + self._painted(_colour(row), text[start:end]) + text[end:] + "\n"

    def tail(self, totals: Totals) -> str:
        lines = [
            line if line[:1] in ("", " ") else self._painted(_BOLD, line)
            for line in summary(self._heading, totals, self._words)
        ]
        return "\n".join(["", *lines]) + "\n" if totals.rows else "\n".join(lines) + "\n"

    def _line(self, cells: dict[str, str]) -> str:
        parts = []
        for column, width in self._columns:
            text = cells[column.name]
            if self._width:
                text = _cut(text, width)
            room = " " * (width - _cells(text))
            parts.append(room + text if column.right else text + room)
        return GAP.join(parts).rstrip()

    def _painted(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._coloured else text


def _fitting(columns: list[Column], width: int) -> list[tuple[Column, int]]:
    """The columns that have room, each with its width."""
    kept = list(columns)
    while sum(one.width for one in kept) + len(GAP) * (len(kept) - 1) > width and any(one.rank for one in kept):
        worst = max(one.rank for one in kept)
        kept = [one for one in kept if one.rank < worst]
    left = width - sum(one.width for one in kept) - len(GAP) * (len(kept) - 1)
    shares = sum(one.share for one in kept)
    return [(one, max(4, one.width + left * one.share // shares)) for one in kept]


def _offset(columns: list[tuple[Column, int]]) -> int:
    return columns[0][1] + len(GAP)


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _cut(text: str, width: int) -> str:
    if _cells(text) <= width:
        return text
    if text.isascii():
        return text[: width - 1] + "…"
    from rich.cells import set_cell_size

    return set_cell_size(text, width - 1) + "…"


def _colour(row: Row) -> str:
    if row.status == DELIVERED:
        return _GREEN
    return _RED if row.status in (FAILED, UNDELIVERABLE) else _YELLOW
