"""Lists of addresses as people have them: one on each line, or CSV with a column named `address`. Pure."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from cli.names import address_of
from pipeline.address import Address, AddressError

SHOWN: Final = 50
"""Bad lines that are shown one by one."""
_COLUMN: Final = "address"
_SEPARATORS: Final = ",;\t"
_LONGEST: Final = 4000
"""Octets of a line: an address has 510 at most, a CSV row some more fields."""


class Listed(msgspec.Struct):
    addresses: list[Address]
    """Each once, in the order of the file."""
    bad: dict[int, str]
    """Line number -> what is wrong with it."""


def read(lines: Iterable[bytes], domain: str = "") -> Listed:
    """What the lines list. `domain`: for entries without one; those of another are bad then.

    Empty lines and lines that begin with # are skipped; so is a byte order mark.
    """
    found: dict[tuple[str, str], Address] = {}
    bad: dict[int, str] = {}
    column: tuple[int, str] | None = None
    first = True
    for number, text in _decoded(lines, bad):
        if first:
            first = False
            column = _header(text)
            if column is not None:
                continue
        try:
            address = _entry(text if column is None else _field(text, *column), domain)
        except (AddressError, csv.Error) as error:
            bad[number] = f"{text[:100]}: {error}"
        else:
            found.setdefault((address.key, address.domain), address)
    return Listed(list(found.values()), bad)


def _decoded(lines: Iterable[bytes], bad: dict[int, str]) -> Iterator[tuple[int, str]]:
    """(number, text) of lines that say something."""
    number = 0
    complete = True
    for line in lines:
        number += complete
        complete = line.endswith(b"\n") or len(line) < _LONGEST
        if len(line) > _LONGEST:
            bad[number] = "too long for an address"
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            bad[number] = "not UTF-8"
            continue
        if text and not text.startswith("#") and number not in bad:
            yield number, text


def _header(text: str) -> tuple[int, str] | None:
    """The column and the separator, when this line is a header that names a column `address`."""
    for separator in _SEPARATORS:
        with contextlib.suppress(csv.Error):
            names = [name.strip().lower() for name in _row(text, separator)]
            if _COLUMN in names:
                return names.index(_COLUMN), separator
    return None


def _row(text: str, separator: str) -> Sequence[str]:
    return next(csv.reader([text], delimiter=separator, strict=True), [])


def _field(text: str, index: int, separator: str) -> str:
    row = _row(text, separator)
    if index >= len(row):
        raise AddressError(f"has no column {index + 1}")
    return row[index]


def _entry(text: str, domain: str) -> Address:
    word = text.strip()
    if not word:
        raise AddressError("the address is empty")
    if domain and "@" not in word:
        word = f"{word}@{domain}"
    address = address_of(word)
    if domain and address.domain != domain:
        raise AddressError(f"is not of {domain}")
    return address
