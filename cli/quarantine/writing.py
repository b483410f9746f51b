"""Where the octets of kept mail are written: a pipe, a file, a directory of files, an mbox; never a terminal."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from pipeline.faults import ConfigurationError, RefusedError

if TYPE_CHECKING:
    from pipeline.bodies import Buffer
    from pipeline.state import Message

CHUNK: Final = 256 << 10
_FROM_LINE: Final = re.compile(rb"(?m)^(>*From )")


class Target:
    """Raises ConfigurationError for what cannot be meant, RefusedError for a terminal and for a file that is there."""

    def __init__(self, ids: Sequence[str], to: Path | None, mbox: Path | None, *, json: bool) -> None:
        if not ids:
            raise ConfigurationError("no id given", remedy="See `gatepost quarantine list`.")
        if to is not None and mbox is not None:
            raise ConfigurationError("--to and --mbox are two places", remedy="Give one of them.")
        self._to = to
        self._mbox = mbox
        self._many = to is not None and (len(ids) > 1 or to.is_dir() or str(to).endswith(os.sep))
        self._json = json
        if to is None and mbox is None:
            self._refuse_terminal(ids)
        try:
            if self._many and to is not None:
                to.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(f"{to}: {error.strerror}", remedy="Name a directory.") from None

    def _refuse_terminal(self, ids: Sequence[str]) -> None:
        if self._json:
            raise ConfigurationError("the octets of a message are no JSON", remedy="Say where to: --to FILE.")
        if len(ids) > 1:
            raise ConfigurationError(
                f"{len(ids)} messages do not go into one stream", remedy="Say --to DIRECTORY, or --mbox FILE."
            )
        if sys.stdout.isatty():
            raise RefusedError(
                "the bytes of bad mail do not belong on a terminal",
                remedy=f"Write them to a file: gatepost quarantine download {ids[0]} > message.eml",
            )

    def write(self, message: Message, content: Buffer) -> str | None:
        """Where it is; None for a pipe."""
        if self._mbox is not None:
            with _opened(self._mbox, "ab") as file:
                _as_mbox(file, message, content)
            return str(self._mbox)
        if self._to is None:
            _copy(sys.stdout.buffer, content)
            sys.stdout.buffer.flush()
            return None
        path = self._to / f"{message.id}.eml" if self._many else self._to
        with _opened(path, "xb") as file:
            _copy(file, content)
        return str(path)

    def tell(self, written: Sequence[dict[str, Any]]) -> None:
        from cli.render import Screen, document, size

        if self._json:
            document({"messages": list(written)})
        elif self._to is not None or self._mbox is not None:
            screen = Screen()
            for one in written:
                screen.say((one["id"], "bold"), f" written to {one['file']}, {size(one['size'])}")


def _opened(path: Path, mode: str) -> BinaryIO:
    """Bad mail is for whoever asked for it, and for nobody else on this machine."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if mode == "xb" else os.O_APPEND)
    try:
        return os.fdopen(os.open(path, flags, 0o600), "wb" if mode == "xb" else "ab")
    except FileExistsError:
        raise RefusedError(f"{path} is there already", remedy="Name another file.") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def _chunks(content: Buffer) -> Iterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]


def _copy(file: BinaryIO, content: Buffer) -> None:
    file.writelines(_chunks(content))


def _as_mbox(file: BinaryIO, message: Message, content: Buffer) -> None:
    """With the line ends of a text file, and every line quoted that could be taken for the next message (mboxrd)."""
    sender = "".join(letter for letter in message.sender if letter.isprintable() and letter != " ") or "MAILER-DAEMON"
    date = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(message.received_at / 1e9))
    file.write(f"From {sender} {date}\n".encode())
    rest = b""
    for chunk in _chunks(content):
        # A line is quoted whole: what is behind the last line break waits for the next chunk.
        lines, found, rest = (rest + chunk).rpartition(b"\n")
        file.write(_FROM_LINE.sub(rb">\1", (lines + found).replace(b"\r\n", b"\n")))
    file.write(_FROM_LINE.sub(rb">\1", rest) + (b"\n\n" if rest else b"\n"))
