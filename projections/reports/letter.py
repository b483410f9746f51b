"""A report as a mail: a summary as text and as HTML, and the rows as a file.

Many mail programs show neither SVG nor a style sheet, so the chart is a table of bars and every style stands at its element.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from html import escape
from typing import Final

import msgspec

from pipeline.amounts import age
from pipeline.ownmail import Attachment, Letter
from projections.reports import plain
from projections.reports.chart import PARTS, Bar, bars
from projections.reports.model import DEFERRED, DELIVERED, FAILED, Heading
from projections.reports.page import about, by_class, by_status, percent, sentences, whose
from projections.reports.totals import Totals
from projections.reports.words import Words, words_in
from projections.reports.writing import one_line, span

AS_IT_IS: Final = 1 << 20
"""Octets of rows up to which they are attached as CSV; above, gzip."""
LARGEST: Final = 8 << 20
"""Octets of an attachment, and what the packing has in hand besides: with base64 11 MiB, which most servers take."""
BAR: Final = 240
"""Pixels of the highest bar."""
COLOURS: Final = {DELIVERED: "#2a7f4f", DEFERRED: "#b07908", FAILED: "#b3261e"}
_CELL: Final = "padding:2px 12px 2px 0;text-align:left;border-bottom:1px solid #d5d9de"
_RIGHT: Final = "padding:2px 12px 2px 0;text-align:right;border-bottom:1px solid #d5d9de"
_GZIP: Final = 31


class Rows:
    """The attached file in the making: whole pieces of it, as many as fit. At most 10 MiB of memory."""

    def __init__(self, *, as_it_is: int = AS_IT_IS, largest: int = LARGEST) -> None:
        self._as_it_is = as_it_is
        self._largest = largest
        self._made = bytearray()
        self._packing: zlib._Compress | None = None
        self._full = False
        self.rows = 0
        """In it."""
        self._last = False

    def put(self, text: str) -> None:
        octets = text.encode("utf-8", "replace")
        if self._packing is None and len(self._made) + len(octets) > self._as_it_is:
            self._packing = zlib.compressobj(wbits=_GZIP)
            self._made = bytearray(self._packing.compress(bytes(self._made)))
        self._full = self._full or len(self._made) > self._largest
        self._last = not self._full
        if self._last:
            self._made += self._packing.compress(octets) if self._packing is not None else octets

    def told(self, rows: int) -> None:
        """So many rows were in what was put last."""
        self.rows += rows if self._last else 0

    def attachment(self, name: str) -> Attachment:
        if self._packing is None:
            return Attachment(name=f"{name}.csv", kind="text/csv", content=bytes(self._made))
        return Attachment(
            name=f"{name}.csv.gz", kind="application/gzip", content=bytes(self._made + self._packing.flush())
        )


class Told(msgspec.Struct, frozen=True, kw_only=True):
    to: str
    hostname: str
    html: bool = True
    rows: Rows | None = None
    """None: they are not attached."""


def letter(heading: Heading, totals: Totals, told: Told) -> Letter:
    words = words_in(heading.language)
    first, last = span(heading)
    when = first if first == last else words.period.format(first, last)
    notes = [*_notes(heading, totals, told, words), words.closing.format(one_line(told.hostname))]
    text = plain.text(heading, totals, words) + "\n" + "\n\n".join(notes) + "\n"
    name = f"{'_'.join(heading.domains)}-{first[:10]}-{last[:10]}"
    return Letter(
        to=told.to,
        subject=words.subject.format(whose(heading, words), when),
        text=text,
        html=_page(heading, totals, words, notes) if told.html else "",
        attachments=(told.rows.attachment(name),) if told.rows is not None and totals.rows else (),
        language=heading.language,
    )


def _notes(heading: Heading, totals: Totals, told: Told, words: Words) -> list[str]:
    if told.rows is None or not totals.rows:
        return []
    if told.rows.rows < totals.rows:
        return [words.cut.format(f"{told.rows.rows:,}", f"{totals.rows:,}", heading.domains[0], *span(heading))]
    return [words.attached]


def _page(heading: Heading, totals: Totals, words: Words, notes: Sequence[str]) -> str:
    title = escape(words.title.format(whose(heading, words)))
    parts = [
        (
            f'<!doctype html>\n<html lang="{escape(heading.language)}">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
            '<body style="font-family:sans-serif;font-size:15px">\n'
            f'<h1 style="font-size:20px">{title}</h1>\n<p>{"<br>".join(escape(line) for line in about(heading, words))}</p>\n'
        )
    ]
    if totals.rows:
        parts += [f"<p>{escape(line)}</p>\n" for line in sentences(totals, words)]
        parts.append(_table(words.by_status, _counted(by_status(totals, words))))
        if totals.classes:
            parts.append(_table(words.by_class, _counted(by_class(heading, totals))))
        times = totals.percentiles()
        if times:
            parts.append(_table(words.times, [[_cell(name), _cell(age(value), right=True)] for name, value in times]))
        parts.append(_chart(bars(heading, totals), words))
    else:
        parts.append(f"<p>{escape(words.none)}</p>\n")
    parts += [f'<p style="color:#5a6068">{escape(note)}</p>\n' for note in notes]
    return "".join([*parts, "</body>\n</html>\n"])


def _chart(found: Sequence[Bar], words: Words) -> str:
    top = max(bar.height for bar in found)
    rows = []
    for bar in found:
        pieces = []
        for part, count in zip(PARTS, bar.counts, strict=True):
            if count:
                width = max(1, round(BAR * count / top))
                colour = COLOURS[part]
                pieces.append(
                    f'<td style="padding:0;width:{width}px;height:12px;background:{colour}" bgcolor="{colour}"></td>'
                )
        drawn = (
            f'<table cellspacing="0" cellpadding="0" role="presentation"><tr>{"".join(pieces)}</tr></table>'
            if pieces
            else ""
        )
        numbers = [_cell(f"{count:,}", right=True) for count in bar.counts]
        rows.append([_cell(bar.label), *numbers, f'<td style="{_CELL}">{drawn}</td>'])
    heads = [_head(words.day), *(_head(words.statuses[part], COLOURS[part]) for part in PARTS), "<td></td>"]
    return _table(words.chart, [heads, *rows])


def _counted(pairs: Sequence[tuple[str, int]]) -> list[list[str]]:
    total = sum(count for _, count in pairs)
    return [
        [_cell(one_line(name)), _cell(f"{count:,}", right=True), _cell(percent(count, total), right=True)]
        for name, count in pairs
    ]


def _table(title: str, rows: Sequence[Sequence[str]]) -> str:
    lines = "".join(f"<tr>{''.join(row)}</tr>\n" for row in rows)
    return (
        f'<h2 style="font-size:16px">{escape(title)}</h2>\n<table style="border-collapse:collapse">\n{lines}</table>\n'
    )


def _cell(text: str, *, right: bool = False) -> str:
    return f'<td style="{_RIGHT if right else _CELL}">{escape(text)}</td>'


def _head(text: str, colour: str = "#5a6068") -> str:
    return f'<th style="{_CELL};color:{colour}">{escape(text)}</th>'
