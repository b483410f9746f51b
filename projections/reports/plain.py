"""What a report adds up to as plain text: for a terminal, and for a mail program that shows nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pipeline.amounts import age
from projections.reports.chart import PARTS, bars
from projections.reports.model import Heading
from projections.reports.page import about, by_class, by_status, percent, sentences, whose
from projections.reports.totals import Totals
from projections.reports.words import Words
from projections.reports.writing import one_line

BAR: Final = 40
"""Characters of the highest bar."""
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def text(heading: Heading, totals: Totals, words: Words) -> str:
    """All of it, with what it is of."""
    title = words.title.format(whose(heading, words))
    return "\n".join([title, *about(heading, words), "", *summary(heading, totals, words)]) + "\n"


def summary(heading: Heading, totals: Totals, words: Words) -> Iterator[str]:
    if not totals.rows:
        yield words.none
        return
    yield from sentences(totals, words)
    yield from _counted(words.by_status, by_status(totals, words))
    yield from _counted(words.by_class, by_class(heading, totals))
    times = totals.percentiles()
    if times:
        yield from ("", words.times, *(f"  {name:<4} {age(value):>10}" for name, value in times))
    found = bars(heading, totals)
    top = max((bar.height for bar in found), default=0)
    names = ", ".join(words.statuses[part] for part in PARTS)
    yield from ("", f"{words.chart}: {names}")
    width = max(len(bar.label) for bar in found)
    for bar in found:
        numbers = "".join(f" {count:>9,}" for count in bar.counts)
        yield f"  {bar.label:<{width}}{numbers}  {drawn(bar.height, top)}".rstrip()


def drawn(height: int, top: int) -> str:
    """A bar of block characters, to an eighth of one; what is not nothing is never drawn as nothing."""
    if not height:
        return ""
    full, rest = divmod(max(1, round(height / top * BAR * 8)), 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _counted(title: str, pairs: Sequence[tuple[str, int]]) -> Iterator[str]:
    if not pairs:
        return
    total = sum(count for _, count in pairs)
    width = max(len(one_line(name)) for name, _ in pairs)
    yield from ("", title)
    for name, count in pairs:
        yield f"  {one_line(name):<{width}} {count:>10,}  {percent(count, total):>7}"
