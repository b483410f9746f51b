"""Lists of addresses as people have them: one on each line, or CSV whose header names a column `address`. Pure.

A header may name `kind` (mailbox, alias, group, forwarder; empty is a mailbox) and `targets` (addresses with spaces, commas,
semicolons or bars between them) too; further columns are passed over. Fields are separated by comma, semicolon or tab, as the
header is. Empty lines and lines that begin with # are skipped; so is a byte order mark.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, get_args

from pipeline.address import Address, AddressError, listed
from pipeline.lines import decoded
from pipeline.lines import header as header_of
from pipeline.lines import row as row_of
from pipeline.sources.model import Kind

MAX_LINE: Final = 64 << 10
"""Octets of a line: a group of a thousand targets has some 30 KiB."""

_ADDRESS: Final = "address"
_KINDS: Final[dict[str, Kind]] = {"": "mailbox", **{kind: kind for kind in get_args(Kind)}}
_BETWEEN_TARGETS: Final = re.compile(r"[\s,;|]+")


class Line(NamedTuple):
    """One line that says something: an address, or what is wrong with it."""

    number: int
    address: Address | None
    kind: Kind = "mailbox"
    targets: tuple[str, ...] = ()
    fault: str = ""


class _Header(NamedTuple):
    separator: str
    address: int
    kind: int | None
    targets: int | None


def read(lines: Iterable[bytes], domain: str = "", longest: int = MAX_LINE) -> Iterator[Line]:
    """What the lines say, in order. `domain`: for addresses without one. A line of more than `longest` octets is bad.

    `lines` may hand out such a line in pieces, so that nothing grows: all but the last of them longer than `longest`.
    """
    header: _Header | None = None
    first = True
    for number, text, fault in decoded(lines, longest):
        if fault:
            yield Line(number, None, fault=fault)
            continue
        if first:
            first = False
            header = _header(text)
            if header is not None:
                continue
        try:
            yield _line(number, text, header, domain)
        except (AddressError, csv.Error) as error:
            yield Line(number, None, fault=f"{text[:100]}: {error}")


def _header(text: str) -> _Header | None:
    """None when this line is no header that names a column `address`."""
    found = header_of(text, _ADDRESS)
    if found is None:
        return None
    separator, names = found
    kind, targets = (names.index(name) if name in names else None for name in ("kind", "targets"))
    return _Header(separator, names.index(_ADDRESS), kind, targets)


def _line(number: int, text: str, header: _Header | None, domain: str) -> Line:
    if header is None:
        return Line(number, _address(text, domain))
    row = row_of(text, header.separator)
    if header.address >= len(row):
        raise AddressError(f"has no column {header.address + 1}")
    kind, targets = ("" if at is None or at >= len(row) else row[at].strip() for at in (header.kind, header.targets))
    if kind.lower() not in _KINDS:
        raise AddressError(f"{kind[:20]} is no kind; expected {', '.join(get_args(Kind))}")
    words = [word for word in _BETWEEN_TARGETS.split(targets) if word]
    return Line(
        number,
        _address(row[header.address], domain),
        _KINDS[kind.lower()],
        tuple(str(_address(word, domain)) for word in words),
    )


def _address(text: str, domain: str) -> Address:
    word = text.strip()
    if not word:
        raise AddressError("the address is empty")
    return listed(f"{word}@{domain}" if domain and "@" not in word else word)
