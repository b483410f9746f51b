"""Lists of addresses as people have them, for the command line. Pure; `pipeline/sources/csv_lines.py` reads the lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from pipeline.address import Address
from pipeline.sources.csv_lines import MAX_LINE, Line
from pipeline.sources.csv_lines import read as read_lines

LONGEST: Final = MAX_LINE
"""Octets of a line; a longer one is read in pieces."""


class Listed(msgspec.Struct):
    lines: list[Line]
    """Each address once, in the order of the file."""
    bad: dict[int, str]
    """Line number -> what is wrong with it."""

    @property
    def addresses(self) -> list[Address]:
        return [line.address for line in self.lines if line.address is not None]

    @property
    def says_kinds(self) -> bool:
        return any(line.kind != "mailbox" or line.targets for line in self.lines)


def read(lines: Iterable[bytes], domain: str = "") -> Listed:
    """What the lines list. `domain`: for entries without one; those of another are bad then."""
    found: dict[tuple[str, str], Line] = {}
    bad: dict[int, str] = {}
    for line in read_lines(lines, domain):
        if line.address is None:
            bad[line.number] = line.fault
        elif domain and line.address.domain != domain:
            bad[line.number] = f"{line.address}: is not of {domain}"
        else:
            found.setdefault((line.address.key, line.address.domain), line)
    return Listed(list(found.values()), bad)
