"""Lists in files as people have them, line by line: one thing on each, or CSV with a header. Nothing grows, whatever a file holds. Pure."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_SEPARATORS: Final = ",;\t"


def decoded(lines: Iterable[bytes], longest: int) -> Iterator[tuple[int, str, str]]:
    """(number, text, what is wrong) of lines that say something: not of empty ones, nor of those that begin with #.

    `lines` may hand out a line of more than `longest` octets in pieces, all but the last of them longer than that.
    """
    number = 0
    complete = True
    for line in lines:
        continued = not complete
        number += not continued
        complete = line.endswith(b"\n") or len(line) <= longest
        if continued:
            continue
        if len(line) > longest:
            yield number, "", "the line is too long"
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            yield number, "", "not UTF-8"
            continue
        if text and not text.startswith("#"):
            yield number, text, ""


def header(text: str, needed: str) -> tuple[str, list[str]] | None:
    """The separator of fields and the names of columns, of a line that names the column `needed`; None of another line."""
    for separator in _SEPARATORS:
        with contextlib.suppress(csv.Error):
            names = [name.strip().lower() for name in row(text, separator)]
            if needed in names:
                return separator, names
    return None


def row(text: str, separator: str) -> Sequence[str]:
    """The fields of a line. Raises csv.Error."""
    return next(csv.reader([text], delimiter=separator, strict=True), [])
