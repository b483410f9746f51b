"""As much of HTTP/1.1 (RFC 9112) as it takes to ask an engine: one request at a time, answers bounded in every way.

Taken is an answer with Content-Length, in chunks, or up to the end of the connection. Everything that could be read in two ways is
refused: what follows on a kept connection must be the answer to our next request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from pipeline.bodies import Buffer
from pipeline.scanning.engines.connections import Connection
from pipeline.scanning.faults import NotUnderstood

MAX_HEAD: Final = 16 << 10
MAX_BODY: Final = 4 << 20
MAX_CHUNKS: Final = 10_000
MAX_VALUE: Final = 998
"""Octets of a field that we send."""

_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*+([^\r\n\0]*)")
_LENGTH: Final = re.compile(rb"[0-9]{1,10}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*+(?:;[^\r\n]*)?")
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f]")


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    fields: dict[bytes, bytes]
    """By name in lower case; of several with one name the last."""


def request(method: str, path: str, host: str, fields: Iterable[tuple[str, str]], size: int) -> bytes:
    """The head of a request. What strangers chose (a HELO, an address) cannot end its line."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {_value(host) or 'localhost'}", "Connection: keep-alive"]
    lines += [f"{name}: {_value(value)}" for name, value in fields if value]
    if method != "GET":
        lines.append(f"Content-Length: {size}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")


def _value(text: str) -> str:
    return _UNSAFE.sub("?", text[:MAX_VALUE]).strip()


async def ask(connection: Connection, head: bytes, content: Buffer = b"") -> tuple[Answer, bool]:
    """One request; and whether the connection can be kept. Raises NotUnderstood, Broken."""
    if len(content) <= 16 << 10:
        connection.write(head + content[:])
    else:
        connection.write(head)
        await connection.pour(content)
    status, version, fields = await _head(connection)
    while 100 <= status < 200:
        status, version, fields = await _head(connection)
    body, ends = await _body(connection, status, fields)
    kept = not ends and version == 1 and b"close" not in fields.get(b"connection", b"").lower()
    return Answer(status, body, fields), kept


async def _head(connection: Connection) -> tuple[int, int, dict[bytes, bytes]]:
    first, *lines = (await connection.until(b"\r\n\r\n", MAX_HEAD)).split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise NotUnderstood("no HTTP")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise NotUnderstood("a header field that is none")
        name = field[1].lower()
        if name == b"content-length" and fields.get(name, field[2]) != field[2]:
            raise NotUnderstood("two lengths")
        fields[name] = field[2].rstrip(b" \t")
    return int(status[2]), int(status[1]), fields


async def _body(connection: Connection, status: int, fields: dict[bytes, bytes]) -> tuple[bytes, bool]:
    """And whether the connection ends with it."""
    if status in (204, 304):
        return b"", False
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked" or b"content-length" in fields:
            raise NotUnderstood("a transfer coding that we did not ask for")
        return await _chunks(connection), False
    length = fields.get(b"content-length")
    if length is None:
        return await connection.rest(MAX_BODY), True
    if _LENGTH.fullmatch(length) is None or int(length) > MAX_BODY:
        raise NotUnderstood("a body that is too long")
    return await connection.exactly(int(length)), False


async def _chunks(connection: Connection) -> bytes:
    found = bytearray()
    for _ in range(MAX_CHUNKS):
        size = _CHUNK.fullmatch(await connection.until(b"\r\n", MAX_VALUE))
        if size is None:
            raise NotUnderstood("a chunk without a size")
        count = int(size[1], 16)
        if count == 0:
            for _ in range(100):
                if not await connection.until(b"\r\n", MAX_HEAD):
                    return bytes(found)
            break
        if len(found) + count > MAX_BODY:
            raise NotUnderstood("a body that is too long")
        found += await connection.exactly(count)
        if await connection.exactly(2) != b"\r\n":
            raise NotUnderstood("a chunk that does not end where it says")
    raise NotUnderstood("too many chunks")
