"""Allow and block lists as files: one entry on each line, or CSV whose header names a column `entry`. Pure.

A header may name `action` (allow, block), `note`, `expires` (2027-01-31, or with a time: 2027-01-31T12:00:00Z) and `content` (yes) too;
further columns are passed over. Fields are separated by comma, semicolon or tab, as the header is. Empty lines and lines that begin
with # are skipped; so is a byte order mark.
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pipeline.directory.lists.entries import ALLOW, BLOCK, Form, Rule, parse
from pipeline.faults import ConfigurationError
from pipeline.lines import decoded, header, row
from pipeline.units import SECOND

MAX_LINE: Final = 4096
"""Octets."""
COLUMNS: Final = ("entry", "action", "note", "expires", "content")
_YES: Final = {"yes": True, "true": True, "1": True, "": False, "no": False, "false": False, "0": False}


class Line(NamedTuple):
    """One line that says something: an entry, or what is wrong with it."""

    number: int
    rule: Rule | None
    fault: str = ""


def read(lines: Iterable[bytes], *, action: str = "", person: str = "") -> Iterator[Line]:
    """What the lines say, in order. `action`: of lines that do not say one.

    `lines` may hand out a line that is too long in pieces, so that nothing grows: all but the last of them longer than MAX_LINE.
    """
    columns: Mapping[str, int] = {"entry": 0}
    separator = ""
    first = True
    for number, text, fault in decoded(lines, MAX_LINE):
        if fault:
            yield Line(number, None, fault)
            continue
        if first:
            first = False
            found = header(text, "entry")
            if found is not None:
                separator, names = found
                columns = {name: names.index(name) for name in COLUMNS if name in names}
                continue
        try:
            fields = row(text, separator) if separator else [text]
            yield Line(number, _rule(fields, columns, action, person))
        except (ConfigurationError, csv.Error) as error:
            yield Line(number, None, str(error))


def _rule(row: Sequence[str], columns: Mapping[str, int], action: str, person: str) -> Rule:
    fields = {name: _bare(row[at].strip()) if at < len(row) else "" for name, at in columns.items()}
    said = fields.get("action", "").lower() or action
    if not said:
        raise ConfigurationError("neither allow nor block")
    content = fields.get("content", "").lower()
    if content not in _YES:
        raise ConfigurationError(f"{content[:20]!a} is neither yes nor no")
    return parse(
        fields.get("entry", ""),
        said,
        person=person,
        content=_YES[content],
        note=fields.get("note", ""),
        expires=moment(fields.get("expires", "")),
    )


def moment(text: str) -> int:
    """A day, which it lasts to the end of, or a moment; ns, 0 for neither. Raises ConfigurationError."""
    if not text:
        return 0
    try:
        found = dt.datetime.fromisoformat(text) + dt.timedelta(days=len(text) <= 10)
    except (ValueError, OverflowError):
        raise ConfigurationError(f"{text[:30]!a} is no date", remedy="Write it as 2027-01-31.") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=dt.UTC)
    seconds = int(found.timestamp())
    if not 0 < seconds < 1 << 33:
        raise ConfigurationError(f"{text[:30]!a} is no date that can be kept")
    return seconds * SECOND


def write(rules: Iterable[Rule]) -> Iterator[str]:
    """The lines of a CSV file, which `read` reads as the same entries."""
    yield _line(COLUMNS)
    for rule in rules:
        yield _line((written(rule), rule.action, rule.note, _day(rule.expires), "yes" if rule.content else ""))


def written(rule: Rule) -> str:
    """An entry as it is typed."""
    if rule.form is Form.COUNTRY:
        return f"country:{rule.entry}"
    local, at, domain = rule.entry.rpartition("@")
    if rule.form is Form.ADDRESS and at and not local.translate(_PLAIN).isalnum():
        with contextlib.suppress(ConfigurationError):
            if parse(rule.entry, ALLOW).entry == rule.entry:
                return rule.entry
        escaped = local.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"@{domain}'
    return rule.entry


_PLAIN: Final = str.maketrans(".-_+", "aaaa")


def _line(row: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([f"'{cell}" if _FORMULA.match(cell) else cell for cell in row])
    return out.getvalue()


_FORMULA: Final = re.compile(r"'*+[=+@-]")
"""A local part is written by a stranger, and a spreadsheet computes what begins so; an apostrophe before it says that it is text."""


def _bare(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _day(at: int) -> str:
    return dt.datetime.fromtimestamp(at // SECOND, dt.UTC).isoformat().replace("+00:00", "Z") if at else ""


def ordered(rules: Iterable[Rule]) -> list[Rule]:
    """Blocks behind allows, the most specific first, then by name."""
    return sorted(rules, key=lambda rule: (rule.person, rule.action == BLOCK, -list(Form).index(rule.form), rule.entry))
