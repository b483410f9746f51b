"""The chart of a report as SVG: no script, no style of its own but classes, and said in words for who does not see it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from projections.reports.chart import PARTS, Bar
from projections.reports.words import Words

WIDTH: Final = 960
HEIGHT: Final = 240
_LEFT: Final = 64
_TOP: Final = 12
_BOTTOM: Final = 28
_LABELS: Final = 8
"""Bars that have their date below them, at most."""


def svg(bars: Sequence[Bar], words: Words) -> str:
    """Nothing for no bars."""
    if not bars:
        return ""
    top = ceiling(max(bar.height for bar in bars))
    room, floor = (WIDTH - _LEFT) / len(bars), HEIGHT - _BOTTOM
    described = words.chart_described.format(bars[0].label, bars[-1].label, f"{max(bar.height for bar in bars):,}")
    lines = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="chart-title chart-desc">',
        f'<title id="chart-title">{escape(words.chart)}</title><desc id="chart-desc">{escape(described)}</desc>',
    ]
    for value in (0, top / 2, top):
        y = floor - (floor - _TOP) * value / top
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="axis" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.10g}</text>')
    every = -(-len(bars) // _LABELS)
    for number, bar in enumerate(bars):
        x, y = _LEFT + number * room, float(floor)
        told = ", ".join(f"{words.statuses[part]} {count:,}" for part, count in zip(PARTS, bar.counts, strict=True))
        lines.append(f"<g><title>{bar.label}: {escape(told)}</title>")
        for part, count in zip(PARTS, bar.counts, strict=True):
            height = (floor - _TOP) * count / top
            y -= height
            if count:
                lines.append(
                    f'<rect class="{part}" x="{x + room * 0.1:.1f}" y="{y:.1f}" width="{room * 0.8:.1f}" height="{height:.1f}"/>'
                )
        lines.append("</g>")
        if number % every == 0:
            lines.append(f'<text class="axis" x="{x + room * 0.1:.1f}" y="{HEIGHT - 8}">{bar.label[:10]}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def ceiling(value: int) -> int:
    """An even number not below `value` that reads well on an axis: 2, 4, 10, 20, 40, 60, 80, 100, 200, ..."""
    size = 1
    while True:
        for step in (2, 4, 6, 8, 10):
            if step * size >= value:
                return step * size
        size *= 10
