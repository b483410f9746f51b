"""How things look: one place for times, sizes, tables and colours, so that every command looks the same.

Nothing reaches the terminal as markup, and text of strangers passes `clean` first: a subject, an address or a server's reply
cannot move the cursor, change a title or reverse the direction of a line. Colours are a help, never the only sign; there
are none when the output is not a terminal or NO_COLOR is set. A pipe gets whole lines, however long they are.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO, TypeAlias

from pipeline.amounts import age as age  # noqa: PLC0414 - how things look is asked for here
from pipeline.amounts import size as size  # noqa: PLC0414

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Cell: TypeAlias = "str | Text"

GOOD: Final = "green"
WARN: Final = "yellow"
BAD: Final = "red"
QUIET: Final = "dim"
STRONG: Final = "bold"

GAP: Final = "  "
"""Between the columns of a table."""
_PIPE_WIDTH: Final = 1 << 16
"""Columns of an output that is not a terminal: nothing is wrapped or cut for whoever reads it."""
_SECOND: Final = 1_000_000_000


def clean(text: str) -> str:
    r"""Text of a stranger for a terminal: letters of any language stay, everything that does something becomes `\x1b`.

    Control characters, line separators, marks that change the direction of writing, and what no font has.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def lines_of(text: str) -> list[str]:
    """A reply of several lines, each cleaned; the LF between them is the only control character that is kept."""
    return [clean(line) for line in text.split("\n")]


def count(number: int, what: str, plural: str = "") -> str:
    """`1 message`, `12,345 messages`."""
    return f"{number:,} {what if number == 1 else plural or what + 's'}"


def relative(at: int, now: int) -> str:
    """`in 11 min`, `4 min ago`, `now`."""
    if abs(at - now) < _SECOND:
        return "now"
    return f"in {age(at - now)}" if at > now else f"{age(now - at)} ago"


def _moment(at: int, zone: dt.tzinfo | None) -> dt.datetime:
    seconds, rest = divmod(max(0, at), _SECOND)
    return (dt.datetime.fromtimestamp(seconds, dt.UTC) + dt.timedelta(microseconds=rest // 1000)).astimezone(zone)


def local(at: int) -> str:
    """`2026-11-23 15:57:03`, in the zone of this machine (or TZ)."""
    return _moment(at, None).strftime("%Y-%m-%d %H:%M:%S")


def local_ms(at: int) -> str:
    return _moment(at, None).isoformat(" ", "milliseconds")[:23]


def utc_ms(at: int) -> str:
    return _moment(at, dt.UTC).isoformat("T", "milliseconds")[:23] + "Z"


def rfc3339(at: int) -> str | None:
    """Microseconds, UTC; None for 0, which means never or not known."""
    return _moment(at, dt.UTC).isoformat("T", "microseconds")[:26] + "Z" if at else None


def zone(at: int) -> str:
    """The name of the local zone at a moment: `CET`."""
    return _moment(at, None).tzname() or "local"


def document(content: Any, stream: TextIO | None = None) -> None:
    """One JSON document. ASCII only, so that no text of a stranger does anything to a terminal."""
    target = stream or sys.stdout
    target.write(json.dumps(content, indent=2) + "\n")


def complain(*lines: str, end: str = "\n") -> None:
    """Lines on standard error, cleaned."""
    for line in lines:
        sys.stderr.write(clean(line) + end)
    sys.stderr.flush()


def _seen_enough() -> NoReturn:
    """The library would end with 1 here; who read us (head, less) has seen enough, and `cli.main` knows what that means."""
    raise BrokenPipeError


class Screen:
    """What a command says on standard output."""

    def __init__(self) -> None:
        self._made: Console | None = None

    @property
    def console(self) -> Console:
        if self._made is None:
            from rich.console import Console

            width = None if sys.stdout.isatty() else _PIPE_WIDTH
            self._made = Console(
                file=sys.stdout, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True
            )
            self._made.on_broken_pipe = _seen_enough  # type: ignore[method-assign]
        return self._made

    def say(self, *parts: Cell | tuple[str, str], end: str = "\n") -> None:
        """One line: strings, texts, or (string, style)."""
        from rich.text import Text

        self.console.print(Text.assemble(*parts), end=end)

    def heading(self, text: str) -> None:
        self.say((text, STRONG))

    def facts(self, rows: Iterable[tuple[str, Cell | tuple[str, str]]]) -> None:
        """Names in one column, what they are in the next; rows without a value are left out."""
        known = [(name, value) for name, value in rows if value and (not isinstance(value, tuple) or value[0])]
        width = max((len(name) for name, _ in known), default=0)
        for name, value in known:
            self.say((f"{name:<{width}}  ", QUIET), value)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Cell | tuple[str, str]]]) -> None:
        """A table without lines. A column whose name begins with `>` is set flush right.

        On a terminal that is too narrow for it each row becomes a block of its own: nothing is ever cut off.
        """
        from rich.text import Text

        heads = [Text(name.removeprefix(">").upper(), QUIET) for name in columns]
        cells = [[Text.assemble(cell) for cell in row] for row in rows]
        widths = [max(cell.cell_len for cell in column) for column in zip(heads, *cells, strict=True)]
        if self.narrower_than(sum(widths) + len(GAP) * (len(widths) - 1)):
            self._blocks(columns, cells)
            return
        for row in (heads, *cells):
            line = Text()
            for name, width, cell in zip(columns, widths, row, strict=True):
                room = " " * (width - cell.cell_len)
                line.append_text(Text.assemble(room, cell) if name.startswith(">") else Text.assemble(cell, room))
                line.append(GAP)
            line.rstrip()
            self.console.print(line)

    def _blocks(self, columns: Sequence[str], cells: Sequence[Sequence[Text]]) -> None:
        from rich.text import Text

        names = [name.removeprefix(">") for name in columns]
        for row in cells:
            self.console.print(row[0])
            line = Text("  ")
            for name, cell in zip(names[1:], row[1:], strict=True):
                if cell:
                    separator = " · " if len(line) > 2 else ""
                    line = Text.assemble(line, (f"{separator}{name} ", QUIET), cell)
            self.console.print(line)

    def narrower_than(self, columns: int) -> bool:
        """Whether the output is a terminal with less room than that."""
        return self.console.is_terminal and self.console.width < columns

    def quote(self, text: str, indent: int = 2) -> None:
        """The words of another server, line by line, as they were."""
        for line in lines_of(text):
            self.say(" " * indent, ("│ ", QUIET), line)
