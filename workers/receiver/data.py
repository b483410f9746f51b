"""The DATA decoder: chunks off the wire in, the message's bytes out (RFC 5321 4.1.1.4, 4.5.2).

Pure and incremental, and it works on whole chunks with the bulk operations of bytes. What it never departs from:

- Only CR LF . CR LF ends a message, wherever it is split over chunks. Everything else that looks like an end (LF.LF,
  LF.CRLF, CR.CRLF, CRLF.LF, ...) is content: that is what SMTP smuggling lives on.
- A bare CR, a bare LF or a NUL is noticed wherever it is split, and in normalising mode never comes out.
- How the input is cut into chunks makes no difference to the output.

Between chunks it holds back the longest end of the input that might begin an end of data: four octets at most. The
CR LF of the DATA command itself counts as the start of the first line, so an empty message ends at once.
"""

from __future__ import annotations

import io
from typing import Final

END: Final = b"\r\n.\r\n"
_STUFFED: Final = END[:3]
_BEGINNINGS: Final = tuple(END[:length] for length in (4, 3, 2, 1))
_EMPTY: Final = memoryview(b"")
_MAY_END_AT_ONCE: Final = (b"", b".")


class DataDecoder:
    """Decodes one message. Feed it until it hands back what follows the end."""

    __slots__ = ("_held", "_newlines", "_normalise", "_skip", "eight_bit", "nul", "size")

    def __init__(self, *, normalise: bool = False) -> None:
        self.size = 0
        """Octets given out so far."""
        self.nul = False
        self.eight_bit = False
        """An octet above 127 has been seen."""
        self._normalise = normalise
        self._held = END[:2]
        self._skip = 2
        # It only looks: one pass in C that tells CRLF, CR and LF apart, twice as fast as counting the three.
        self._newlines = io.IncrementalNewlineDecoder(None, translate=False)

    @property
    def bare(self) -> bool:
        """A CR or LF that was not part of a CRLF has been seen."""
        return self._newlines.newlines not in (None, "\r\n")

    def feed(self, chunk: bytes) -> tuple[memoryview, bytes | None]:
        """(content, rest): what the chunk adds to the message, and the bytes after the end, None before the end."""
        if self._skip == len(self._held) and chunk[:1] not in _MAY_END_AT_ONCE:
            # Nothing of the first chunk belongs to the line end before it, so it is not copied.
            self._held, self._skip = b"", 0
        data = self._held + chunk if self._held else chunk
        dot = data.find(_STUFFED)
        end = data.find(END, dot) if dot >= 0 else -1
        if end >= 0:
            stop, rest = end + 2, data[end + len(END) :]
        else:
            stop, rest = len(data) - _held_back(data), None
            self._held = data[stop:]
            end = stop
        if stop == 0:
            return _EMPTY, rest
        start, self._skip = self._skip, 0
        self._inspect(data, start, stop)
        if 0 <= dot < end:
            content = memoryview(data[:stop].replace(_STUFFED, END[:2]))[start:]
        else:
            content = memoryview(data)[start:stop]
        if self._normalise and (self.nul or self.bare):
            content = memoryview(_normalised(bytes(content)))
        self.size += len(content)
        return content, rest

    def _inspect(self, data: bytes, start: int, stop: int) -> None:
        # A CR that might still become a CRLF is always held back, so this stretch can be judged as final.
        text = str(memoryview(data)[start:stop], "latin-1")
        self._newlines.decode(text, final=True)
        if not text.isascii():
            self.eight_bit = True
        if not self.nul:
            self.nul = data.find(0, start, stop) >= 0


def _held_back(data: bytes) -> int:
    """Length of the longest end of `data` that is a beginning of the end of data."""
    for beginning in _BEGINNINGS:
        if data.endswith(beginning):
            return len(beginning)
    return 0


def _normalised(content: bytes) -> bytes:
    unified = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return unified.replace(b"\0", b"")
