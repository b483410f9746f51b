"""Lists of addresses as people have them, for the command line. Pure; `pipeline/sources/csv_lines.py` reads the lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from pipeline.address import Address
from pipeline.sources.csv_lines import read as read_lines

SHOWN: Final = 50
"""Bad lines that are shown one by one."""
_LONGEST: Final = 4000
"""Octets of a line: an address has 510 at most, a CSV row some more fields."""


class Listed(msgspec.Struct):
    addresses: list[Address]
    """Each once, in the order of the file."""
    bad: dict[int, str]
    """Line number -> what is wrong with it."""


def read(lines: Iterable[bytes], domain: str = "") -> Listed:
    """What the lines list. `domain`: for entries without one; those of another are bad then."""
    found: dict[tuple[str, str], Address] = {}
    bad: dict[int, str] = {}
    for line in read_lines(lines, domain, _LONGEST):
        if line.address is None:
            bad[line.number] = line.fault
        elif domain and line.address.domain != domain:
            bad[line.number] = f"{line.address}: is not of {domain}"
        else:
            found.setdefault((line.address.key, line.address.domain), line.address)
    return Listed(list(found.values()), bad)
