"""Rows of growth: what was measured at each step, as a table and as a chart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.picture import Chart, Panel, number, svg

FEW: Final = 3
"""Figures that stand side by side; more of them are a line each, and the steps side by side."""


class Row(msgspec.Struct, frozen=True):
    """One step: of what, how far, and its figures by their names, as far as it has them."""

    measure: str
    name: str
    figures: dict[str, float]


class Look(msgspec.Struct, frozen=True):
    """How a measure is shown. `shown`: the figures in its chart; none: all."""

    title: str
    shown: tuple[str, ...] = ()
    joined: bool = True


def of_measures(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.measure, []).append(row)
    return found


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Plain text, a block for each measure."""
    for measure, these in of_measures(rows).items():
        names = list(dict.fromkeys(name for row in reversed(these) for name in row.figures))
        yield ""
        if len(names) <= FEW:
            yield f"{measure:<20}" + "".join(f"{name:>16}" for name in names)
            for row in these:
                yield f"  {row.name:<18}" + "".join(f"{number(row.figures.get(name)):>16}" for name in names)
        else:
            yield f"{measure:<44}" + "".join(f"{row.name:>12}" for row in these)
            for name in names:
                yield f"  {name:<42}" + "".join(f"{number(row.figures.get(name)):>12}" for row in these)


def chart(rows: Sequence[Row], look: Look) -> Chart:
    panels = tuple(
        Panel(name, tuple(row.figures.get(name) for row in rows)) for name in look.shown or tuple(rows[0].figures)
    )
    return Chart(look.title, tuple(row.name for row in rows), panels, look.joined)


def draw(rows: Iterable[Row], looks: dict[str, Look], directory: Path) -> list[Path]:
    """An SVG for each measure; where they are."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for measure, these in of_measures(rows).items():
        path = directory / f"{measure}.svg"
        path.write_text(svg(chart(these, looks[measure])), encoding="utf-8")
        drawn.append(path)
    return drawn
