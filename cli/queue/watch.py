"""`gatepost queue --watch`: the queue again and again, on a screen of its own or line by line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from cli.queue.changes import Change, changes
from cli.queue.keyboard import Asked, listening
from cli.queue.reading import Seen, read
from cli.render import age, clean, count, local, rfc3339, size
from cli.session import SIGNALLED, session
from pipeline.faults import ConfigurationError, StoreError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from cli.options import Common
    from cli.session import Session

SECONDS: Final = 2.0
LEAST: Final = 0.2
MOST: Final = 3600.0
HISTORY: Final = 2 * 60
"""Counts of what waited before that are drawn: an hour."""
BAR: Final = 30_000_000_000
"""ns, as the watcher counts."""
NEWS: Final = 50


async def watch_queue(common: Common, words: Sequence[str]) -> int:
    """`words`: a domain, a number of seconds, both or none. Raises ConfigurationError."""
    domain, seconds = asked_for(words)
    async with session(common, views=True) as opened:
        with listening() as asked:
            if sys.stdout.isatty() and not common.json:
                await _on_a_screen(opened, domain, seconds, asked)
            else:
                await _line_by_line(opened, domain, seconds, asked, as_json=common.json)
    return SIGNALLED + asked.number if asked.number else 0


def asked_for(words: Sequence[str]) -> tuple[str | None, float]:
    """A number is no domain, so either may be left out."""
    domain, seconds = None, SECONDS
    for position, word in enumerate(words):
        try:
            seconds = float(word)
        except ValueError:
            if position:
                raise ConfigurationError(f"--watch: {word!a} is no number of seconds") from None
            domain = word
    if not LEAST <= seconds <= MOST:
        raise ConfigurationError(f"--watch: expected {LEAST:g} to {MOST:g} seconds, not {seconds:g}")
    return domain, seconds


class Watching:
    """Looks, and remembers what is new."""

    def __init__(self, opened: Session, domain: str | None) -> None:
        self._opened = opened
        self._domain = domain
        self.seen: Seen | None = None
        self.waited: list[tuple[int, int]] = []
        """(when, messages), the oldest first."""
        self.news: deque[tuple[int, Change]] = deque(maxlen=NEWS)
        """The newest first."""
        self.fault = ""

    async def look(self) -> list[Change]:
        """What is new. What cannot be read just now stays as it was, and `fault` says so."""
        try:
            seen = await read(self._opened, self._domain, history=HISTORY)
        except StoreError as fault:
            self.fault = str(fault)
            return []
        new = list(changes(self.seen.report, seen.report)) if self.seen is not None else []
        self.news.extendleft((seen.now, change) for change in new)
        if self.seen is None and self._domain is None:
            self.waited = list(seen.rates.waiting)
        self._wait(seen.now, seen.report.messages)
        self.seen, self.fault = seen, ""
        return new

    def _wait(self, now: int, messages: int) -> None:
        """A bar for each half minute: the newest is of now."""
        if len(self.waited) > 1 and now - self.waited[-2][0] < BAR:
            self.waited.pop()
        self.waited.append((now, messages))
        del self.waited[:-HISTORY]


async def _on_a_screen(opened: Session, domain: str | None, seconds: float, asked: Asked) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, markup=False, emoji=False)
    watching = Watching(opened, domain)
    loop = asyncio.get_running_loop()
    await watching.look()
    due = loop.time() + seconds
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while not asked.over.is_set():
            live.update(_drawn(watching, console, seconds), refresh=True)
            await asked.wait(max(0.0, due - loop.time()))
            if not asked.over.is_set() and loop.time() >= due:
                await watching.look()
                due = loop.time() + seconds


def _drawn(watching: Watching, console: Console, seconds: float) -> Any:
    from rich.console import Group
    from rich.text import Text

    from cli.queue.screen import Shown, screen

    width, height = console.size
    lines: list[Text] = []
    if watching.fault:
        lines.append(Text(clean(watching.fault), "red", no_wrap=True, overflow="ellipsis"))
    if watching.seen is not None:
        shown = Shown(watching.seen, watching.waited, list(watching.news), seconds)
        lines += screen(shown, width, height - len(lines))
    return Group(*lines)


async def _line_by_line(opened: Session, domain: str | None, seconds: float, asked: Asked, *, as_json: bool) -> None:
    watching = Watching(opened, domain)
    while not asked.over.is_set():
        news = [words for words, _ in await watching.look()]
        if watching.fault:
            sys.stderr.write(f"gatepost: {clean(watching.fault)}\n")
        elif watching.seen is not None:
            sys.stdout.write((_object if as_json else _line)(watching.seen, news) + "\n")
        sys.stdout.flush()
        await asked.wait(seconds)


def _line(seen: Seen, news: Sequence[str]) -> str:
    report, moved = seen.report, seen.moved[0]
    words = [f"{count(report.messages, 'message')} waiting", size(report.bytes)]
    if report.oldest:
        words.append(f"oldest {age(seen.now - report.oldest)}")
    if moved is not None:
        words.append(f"a minute: {moved.arrived:,.1f} come, {moved.delivered:,.1f} delivered")
    return f"{local(seen.now)}  " + "; ".join([", ".join(words), *news])


def _object(seen: Seen, news: Sequence[str]) -> str:
    from cli.forms import destination_form, queue_total_form, queued_domain_form

    report, rates = seen.report, seen.rates
    return json.dumps({
        "at": rfc3339(seen.now),
        **queue_total_form(seen),
        "domains": [queued_domain_form(one, rates) for one in report.domains],
        "destinations": [destination_form(server, rates) for server in report.servers],
        "new": list(news),
    })  # fmt: skip
