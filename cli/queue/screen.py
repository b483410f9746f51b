"""The live screen of `gatepost queue --watch`: one look at the queue, drawn for a terminal of any size.

What matters most comes first and stays when the terminal is small: totals, then domains, then servers, then what is new. No line is
longer than the terminal is wide, so nothing scrolls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from rich.text import Text

from cli.queue.changes import Change, first_line
from cli.queue.reading import Seen
from cli.queue.words import ages, domain_state, gone_in, next_attempt, per_minute, server_state
from cli.render import QUIET, STRONG, age, clean, count, local, relative, size

if TYPE_CHECKING:
    from projections.readers import DomainQueue, ServerQueue

BARS: Final = "▁▂▃▄▅▆▇█"
NARROW: Final = 80
"""Columns below which less is said of each."""

Row = Sequence[tuple[str, str]]
"""Cells: text and colour."""


def sparkline(values: Sequence[int], width: int) -> str:
    """The newest at the right end; a bar is the most of what it stands for, so no peak is lost."""
    if not values or width < 1:
        return ""
    width = min(width, len(values))
    parts = [values[number * len(values) // width : (number + 1) * len(values) // width] for number in range(width)]
    peaks = [max(part) for part in parts]
    top = max(peaks)
    if not top:
        return BARS[0] * width
    return "".join(BARS[0] if not peak else BARS[max(1, peak * (len(BARS) - 1) // top)] for peak in peaks)


class Shown(msgspec.Struct, frozen=True):
    """All that is drawn."""

    seen: Seen
    waited: Sequence[tuple[int, int]]
    """(when, messages), the oldest first; at least one."""
    news: Sequence[tuple[int, Change]]
    """When and what, the newest first."""
    interval: float
    """Seconds between two looks."""


def screen(shown: Shown, width: int, height: int) -> list[Text]:
    """At most `height` lines."""
    seen, news = shown.seen, shown.news
    lines = [*_head(shown, width)]
    left = height - len(lines) - 1
    domains = [one for one in seen.report.domains if one.messages]
    domains.sort(key=lambda one: (-one.messages, one.domain))
    servers = [server for server in seen.report.servers if server.server]
    told = min(len(news), max(0, left // 4))
    shared = max(0, left - (told + 2 if told else 0))
    most = min(len(domains), max(0, shared if shared < 12 else shared * 3 // 5) - 2)
    if most > 0:
        lines += _table(_domain_heads(width), [_domain_row(one, seen, width) for one in domains[:most]], width)
        lines += _more(len(domains) - most, "domain", width)
        shared -= most + 3
    fits = min(len(servers), (shared - 2) // 2)
    if fits > 0:
        lines.append(Text())
        for server in servers[:fits]:
            lines += _server_lines(server, seen, width)
        lines += _more(len(servers) - fits, "server", width)
    if told:
        lines.append(Text())
        lines += [
            _cut(Text.assemble((local(at)[11:] + "  ", QUIET), (words, colour)), width)
            for at, (words, colour) in news[:told]
        ]
    return lines[: max(1, height - 1)]


def _head(shown: Shown, width: int) -> Iterator[Text]:
    seen = shown.seen
    report, moved, now = seen.report, seen.moved[0], seen.now
    title = Text.assemble((f"{report.messages:,} waiting", STRONG), f"  {size(report.bytes)}")
    if report.oldest:
        title.append(f"  oldest {age(now - report.oldest)}")
    yield _cut(Text.assemble(title, (f"  {local(now)}  every {shown.interval:g} s, q quits", QUIET)), width)
    yield _cut(Text.assemble(("by age  ", QUIET), ages(report.ages) or "nothing waits"), width)
    if moved is None:
        yield _cut(Text("rates are known after a minute", QUIET), width)
    else:
        left = gone_in(*seen.draining)
        gone = f", gone in {left}" if left else ""
        words = f"{moved.arrived:,.1f} come, {moved.delivered:,.1f} delivered{gone}"
        yield _cut(Text.assemble(("a minute  ", QUIET), words), width)
    values = [number for _, number in shown.waited]
    top = f"  most {max(values):,}"
    since = f" since {local(shown.waited[0][0])[11:16]}"
    bars = sparkline(values, max(1, width - len("waiting  ") - len(top + since)))
    yield _cut(Text.assemble(("waiting  ", QUIET), (bars, "cyan"), (top + since, QUIET)), width)
    yield Text()


def _domain_heads(width: int) -> list[str]:
    few = ["domain", ">waiting", ">oldest", "next"]
    return (
        few
        if width < NARROW
        else ["domain", ">waiting", ">size", ">oldest", ">a minute", ">gone in", "next", "destination"]
    )


def _domain_row(one: DomainQueue, seen: Seen, width: int) -> Row:
    now, rate = seen.now, seen.rates.of([one.domain])[0]
    state, colour = domain_state(one, now)
    oldest = age(now - one.oldest) if one.oldest else ""
    name = (clean(one.domain), colour or STRONG)
    following = next_attempt(one.next_try, now) or "held"
    if width < NARROW:
        return [name, (f"{one.messages:,}", ""), (oldest, ""), (following, colour)]
    return [
        name, (f"{one.messages:,}", ""), (size(one.bytes), ""), (oldest, ""), (per_minute(rate), ""),
        (gone_in(0 if one.state == "held" else one.messages - one.held, rate), ""), (following, ""), (state, colour),
    ]  # fmt: skip


def _server_lines(server: ServerQueue, seen: Seen, width: int) -> Iterator[Text]:
    """Its state, and its last words."""
    state, colour = server_state(server, seen.now)
    rate = per_minute(seen.rates.of(server.domains)[0])
    following = next_attempt(server.next_try, seen.now)
    facts = [count(server.messages, "message"), f"next {following}" if following else "", rate]
    yield _cut(
        Text.assemble(
            (clean(server.server), STRONG), "  ", (state, colour), ("  " + ", ".join(filter(None, facts)), QUIET)
        ),
        width,
    )
    if server.error is None or not server.error.attempts:
        yield Text()
        return
    when = relative(server.error.at, seen.now)
    yield _cut(Text.assemble((f"  {when} │ ", QUIET), first_line(server.error.attempts[-1].reply)), width)


def _table(heads: Sequence[str], rows: Sequence[Row], width: int) -> Iterator[Text]:
    cells = [[Text(text, colour) for text, colour in row] for row in rows]
    names = [Text(name.removeprefix(">").upper(), QUIET) for name in heads]
    widths = [max(cell.cell_len for cell in column) for column in zip(names, *cells, strict=True)]
    # A long name must not push out how much waits.
    others = sum(widths[1:5]) + 2 * len(widths[1:5])
    widths[0] = max(8, min(widths[0], width - others))
    for row in (names, *cells):
        line = Text()
        for name, room, cell in zip(heads, widths, row, strict=True):
            cell.truncate(room, overflow="ellipsis")
            space = " " * (room - cell.cell_len)
            line.append_text(Text.assemble(space, cell) if name.startswith(">") else Text.assemble(cell, space))
            line.append("  ")
        line.rstrip()
        yield _cut(line, width)


def _more(number: int, what: str, width: int) -> Iterator[Text]:
    if number > 0:
        yield _cut(Text(f"and {count(number, 'more ' + what)}", QUIET), width)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line
