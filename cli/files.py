"""Files that commands read: by name, or - for standard input."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from cli.progress import Progress

STEP: Final = 1000
"""Lines between two signs of progress."""
SHOWN: Final = 50
"""Bad lines that are shown one by one."""


@contextlib.contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """Raises ConfigurationError."""
    from pipeline.faults import ConfigurationError

    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as stream:
            yield stream
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {file}: {error.strerror}", remedy="Give a file that exists, or - for standard input."
        ) from None


def to_be_written(file: Path) -> None:
    """Raises ConfigurationError unless a new file may take this name: a folder, a device or a pipe would be replaced by one."""
    from pipeline.faults import ConfigurationError

    if not file.name or (file.exists() and not file.is_file()):
        raise ConfigurationError(
            f"{str(file)!a} is no name for a file", remedy="Name a file that is new or may be replaced."
        )


def lines(stream: BinaryIO, longest: int, bar: Progress) -> Iterator[bytes]:
    """One without an end comes in pieces, each longer than `longest`, so nothing grows."""
    number = 0
    while line := stream.readline(longest + 1):
        number += 1
        if number % STEP == 0:
            bar.advance(STEP)
        yield line


def content_of(file: str, most: int) -> bytes:
    """All of it, when that is `most` octets or fewer. Raises ConfigurationError."""
    from cli.render import size
    from pipeline.faults import ConfigurationError

    with opened(file) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ConfigurationError(f"{file} is larger than {size(most)}", remedy="No message that comes in is larger.")
    return content


def refuse_bad(file: str, bad: Mapping[int, str]) -> None:
    """Raises ConfigurationError when there are bad lines: by number, what is wrong with each."""
    from cli.render import complain, count
    from pipeline.faults import ConfigurationError

    if not bad:
        return
    complain(*(f"{file}:{number}: {reason}" for number, reason in list(bad.items())[:SHOWN]))
    if len(bad) > SHOWN:
        complain(f"... and {len(bad) - SHOWN:,} more")
    raise ConfigurationError(
        f"{count(len(bad), 'bad line')} in {file}", remedy="Mend them and import again; nothing was changed."
    )
