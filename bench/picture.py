"""What was measured as an SVG with a panel for each column, readable in black and white and without its table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

import msgspec

COLUMNS: Final = 2
WIDTH: Final = 480
"""Of a panel."""
HEIGHT: Final = 220
TOP: Final = 44
"""Of a panel, for its name and the highest value; above all panels as much for the title."""
BOTTOM: Final = 28
LEFT: Final = 52
RIGHT: Final = 16
WIDE: Final = 30.0
"""Times the lowest value from which on the highest is drawn on a logarithmic scale: else the low ones could not be told apart."""
STYLE: Final = (
    "text{font:11px system-ui,sans-serif;fill:#333;paint-order:stroke;stroke:#fff;stroke-width:3px}.title{font-size:15px;font-weight:600}.name{font-size:12px;font-weight:600}"
    ".axis{fill:#777}.grid{stroke:#ddd}.line{fill:none;stroke:#2457a6;stroke-width:2}.dot{fill:#2457a6}.bar{fill:#8fb0dd}"
)


class Panel(msgspec.Struct, frozen=True):
    """One thing that was measured, a value for each row of the chart; None where there is none."""

    name: str
    values: tuple[float | None, ...]


class Chart(msgspec.Struct, frozen=True):
    """`joined`: the rows are steps of one growing quantity, so a line joins them; else each is a bar."""

    title: str
    rows: tuple[str, ...]
    panels: tuple[Panel, ...]
    joined: bool = True


def svg(chart: Chart) -> str:
    """The whole picture. Values are written beside their dots."""
    lines = -(-len(chart.panels) // COLUMNS)
    width, height = COLUMNS * WIDTH, TOP + lines * HEIGHT
    told = "; ".join(f"{panel.name}: {', '.join(map(number, panel.values))}" for panel in chart.panels)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{escape(chart.title)}</title><desc>{escape(told)}</desc><style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="{LEFT}" y="26">{escape(chart.title)}</text>',
    ]
    for place, panel in enumerate(chart.panels):
        row, column = divmod(place, COLUMNS)
        drawn.append(f'<g transform="translate({column * WIDTH},{TOP + row * HEIGHT})">')
        drawn += _panel(chart, panel)
        drawn.append("</g>")
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _panel(chart: Chart, panel: Panel) -> Iterator[str]:
    scale = Scale([value for value in panel.values if value is not None])
    name = f"{panel.name} (logarithmic)" if scale.logarithmic else panel.name
    yield f'<text class="name" x="{LEFT}" y="18">{escape(name)}</text>'
    for mark in scale.marks:
        y = _y(scale.part(mark))
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="axis" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{mark:,.10g}</text>'
    room = (WIDTH - LEFT - RIGHT) / len(chart.rows)
    across = [LEFT + room * (place + 0.5) for place in range(len(chart.rows))]
    points = [
        (x, _y(scale.part(value)), value) for x, value in zip(across, panel.values, strict=True) if value is not None
    ]
    if chart.joined:
        yield f'<polyline class="line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)}"/>'
    for x, y, value in points:
        if chart.joined:
            yield f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
        else:
            yield f'<rect class="bar" x="{x - room * 0.3:.1f}" y="{y:.1f}" width="{room * 0.6:.1f}" height="{_y(0) - y:.1f}"/>'
        yield f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{number(value)}</text>'
    for row, x in zip(chart.rows, across, strict=True):
        yield f'<text class="axis" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{escape(row)}</text>'


def _y(part: float) -> float:
    """Where a value stands that is so much of the whole axis."""
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * part


class Scale:
    """The axis of some values: from nothing on, or in powers of ten where they are too far apart for that."""

    def __init__(self, values: Sequence[float]) -> None:
        most, least = max(values, default=0.0), min(values, default=0.0)
        self.logarithmic = least > 0 and most / least >= WIDE
        if self.logarithmic:
            low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
            self.marks = tuple(10.0**power for power in range(low, high + 1))
        else:
            top = ceiling(most)
            self.marks = (0.0, top / 2, top)

    def part(self, value: float) -> float:
        """Of the axis, 0 to 1."""
        if self.logarithmic:
            low, high = math.log10(self.marks[0]), math.log10(self.marks[-1])
            return (math.log10(value) - low) / (high - low)
        return value / self.marks[-1]


def ceiling(value: float) -> float:
    """Not below `value`, and well read on an axis, as its half is: 1, 2, 4, 6, 8, 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * (1 - 1e-9))


def number(value: float | None) -> str:
    """As many digits as say something."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
