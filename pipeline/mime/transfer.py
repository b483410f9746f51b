"""Content-Transfer-Encoding undone (RFC 2045 6): in chunks, on a slice of a buffer, whatever the octets are.

Only one chunk and its decoded form are in memory at a time. Garbage is passed over as mail programs pass over it; nothing raises.
"""

from __future__ import annotations

import binascii
import mmap
import re
from collections.abc import Iterator
from typing import Final, TypeAlias

Buffer: TypeAlias = bytes | mmap.mmap
"""A message as it was received. Large ones are mapped files: sliced and searched in place, never copied whole."""

CHUNK: Final = 256 << 10
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64: Final = bytes(octet for octet in range(256) if octet not in _ALPHABET)
_MAX_SEGMENTS: Final = 1000
"""Padding ends a run of base64; some programs read on behind it, so we do. More ends than this in a chunk are noise."""
_SOFT_BREAK: Final = re.compile(rb"=[ \t]++(?=\r?\n)")


def base64_octets(data: bytes) -> bytes:
    """All of `data` decoded, and a last incomplete group as far as it goes."""
    return b"".join(map(_whole, _runs(data.translate(None, _NOT_BASE64))))


def _runs(clean: bytes) -> list[bytes]:
    first = clean.find(b"=")
    if first < 0:
        return [clean]
    if clean.count(b"=", first) > _MAX_SEGMENTS:
        return [clean.replace(b"=", b"")]
    return clean.split(b"=")


def _whole(run: bytes) -> bytes:
    over = len(run) % 4
    if over == 1:
        run, over = run[:-1], 0
    return binascii.a2b_base64(run + b"=" * (4 - over) if over else run)


def _base64(content: Buffer, start: int, end: int, chunk: int) -> Iterator[bytes]:
    carry = b""
    for at in range(start, end, chunk):
        clean = carry + content[at : min(at + chunk, end)].translate(None, _NOT_BASE64)
        *ended, rest = _runs(clean)
        whole = len(rest) & ~3
        carry = rest[whole:]
        yield b"".join(map(_whole, ended)) + binascii.a2b_base64(rest[:whole])
    yield _whole(carry)


def _quoted_printable(content: Buffer, start: int, end: int, chunk: int) -> Iterator[bytes]:
    carry = b""
    for at in range(start, end, chunk):
        stop = min(at + chunk, end)
        data = carry + content[at:stop]
        # `=41` and a soft break `=CRLF` must not be cut in two.
        cut = data.rfind(b"=", max(len(data) - 3, 0)) if stop < end else -1
        carry = b"" if cut < 0 else data[cut:]
        data = data if cut < 0 else data[:cut]
        if b"= " in data or b"=\t" in data:
            data = _SOFT_BREAK.sub(b"=", data)
        yield binascii.a2b_qp(data)


def _as_it_is(content: Buffer, start: int, end: int, chunk: int) -> Iterator[bytes]:
    for at in range(start, end, chunk):
        yield content[at : min(at + chunk, end)]


_DECODERS: Final = {"base64": _base64, "quoted-printable": _quoted_printable}


def decode(content: Buffer, start: int, end: int, encoding: str, chunk: int = CHUNK) -> Iterator[bytes]:
    """The octets behind `content[start:end]`, a chunk at a time; chunks may be empty. `encoding` in lower case, any other is 8bit."""
    return _DECODERS.get(encoding, _as_it_is)(content, start, end, chunk)


def head(content: Buffer, start: int, end: int, encoding: str, limit: int) -> bytes:
    """The first `limit` decoded octets, reading hardly more of the encoded ones than that takes."""
    if encoding not in _DECODERS:
        return content[start : min(end, start + limit)]
    if encoding == "base64" and end - start <= limit:
        return base64_octets(content[start:end])
    return beginning(decode(content, start, end, encoding, min(limit + limit // 2, CHUNK)), limit)


def beginning(pieces: Iterator[bytes], limit: int) -> bytes:
    """The first `limit` octets of them, taking no more of them than that takes."""
    out = bytearray()
    for piece in pieces:
        out += piece
        if len(out) >= limit:
            break
    return bytes(out[:limit])
