"""Messages in files: single ones, mailboxes (RFC 4155), folders of them, and what comes over standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from pipeline.faults import ConfigurationError

LONGEST: Final = 64 << 20
"""Octets of a message; a longer one is passed over."""
FROM: Final = b"From "


class Found(msgspec.Struct, frozen=True):
    """A message as it would come in, or why there is none."""

    name: str
    content: bytes = b""
    problem: str = ""


def messages(paths: Sequence[str]) -> Iterator[Found]:
    """All of them, file by file. Raises ConfigurationError for a path that is not there."""
    for path in paths:
        if path != "-" and not Path(path).exists():
            raise ConfigurationError(f"there is no {path}", remedy="Name files, folders, or - for standard input.")
    for path in paths:
        if path == "-":
            yield from _of_stream("-", sys.stdin.buffer)
        else:
            for file in _files(Path(path)):
                try:
                    with file.open("rb") as stream:
                        yield from _of_stream(str(file), stream)
                except OSError as error:
                    yield Found(str(file), problem=error.strerror or type(error).__name__)


def interleaved(kinds: Iterable[tuple[bool, Sequence[str]]]) -> Iterator[tuple[bool, Found]]:
    """(whether it is spam, message), in turns as long as there are both: what is learnt last would else weigh otherwise."""
    turns = [(spam, messages(paths)) for spam, paths in kinds]
    while turns:
        for spam, source in list(turns):
            found = next(source, None)
            if found is None:
                turns.remove((spam, source))
            else:
                yield spam, found


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for found in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
        if not hidden and found.is_file():
            yield found


def _of_stream(name: str, stream: BinaryIO) -> Iterator[Found]:
    """One message, or those of a mailbox: it begins with `From `, and so does each message behind an empty line."""
    lines: list[bytes] = []
    size = number = 0
    mailbox = blank = False
    while line := stream.readline(1 << 20):
        if not number and not size and line.startswith(FROM):
            mailbox = True
            number = 1
            continue
        if mailbox and blank and line.startswith(FROM):
            yield _message(f"{name}:{number}", lines, size)
            lines, size, blank = [], 0, False
            number += 1
            continue
        blank = not line.strip(b"\r\n")
        size += len(line)
        if size <= LONGEST:
            lines.append(line)
    if size:
        yield _message(f"{name}:{number}" if mailbox else name, lines, size)


def _message(name: str, lines: list[bytes], size: int) -> Found:
    if size > LONGEST:
        return Found(name, problem="too large")
    content = b"".join(lines)
    if not content.strip():
        return Found(name, problem="empty")
    return Found(name, content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
