"""A web server for three pages, in a hundred lines, because a process that is looked at should not grow by it.

aiohttp would add 10 MiB to each of a dozen processes. This knows GET and HEAD, answers once per connection, and is strict: whoever
is slow, says too much, or comes with too many connections at once, is cut off. It listens on a socket that only the operator reaches.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
import socket
import stat
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec
import structlog

from pipeline.faults import ConfigurationError
from pipeline.units import EngineAddress

MAX_HEAD: Final = 8192
"""Octets of a request: its line and all header fields."""
MAX_CONNECTIONS: Final = 16
HEAD_TIME: Final = 5.0
"""Seconds for the whole request to come, and for the answer to go."""
ANSWER_TIME: Final = 10.0
"""Seconds for making the answer."""
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"

_REQUEST: Final = re.compile(r"([A-Z]{1,16}) (/[!-~]{0,255}) HTTP/1\.[01]")
_log = structlog.get_logger(__name__)


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: str
    type: str = TEXT

    @classmethod
    def ok(cls, **facts: object) -> Answer:
        return cls(200, json.dumps({"status": "ok", **facts}) + "\n", JSON)

    @classmethod
    def not_now(cls, reason: str, **facts: object) -> Answer:
        return cls(503, json.dumps({"status": "failing", "reason": reason, **facts}) + "\n", JSON)


Page = Callable[[str, str], Awaitable[Answer]]
"""(path without its query, the request's Accept) -> the answer."""

NOT_FOUND: Final = Answer(404, "There are /metrics, /healthz and /readyz.\n")


class Pages:
    """Serves `page` from `start` to `close`, in the loop that calls `start`."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, sock: socket.socket) -> None:
        self._server = await asyncio.start_server(self._accept, sock=sock, limit=MAX_HEAD)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(tuple(self._open))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # A client that breaks off, or is too slow, is nobody's trouble but its own.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                async with asyncio.timeout(HEAD_TIME):
                    head = await _head(reader)
                answer, with_body = await self._answer(head)
                async with asyncio.timeout(HEAD_TIME):
                    writer.write(_written(answer, with_body=with_body))
                    writer.write_eof()
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _answer(self, head: str | None) -> tuple[Answer, bool]:
        """What is said to a request, and whether its body too."""
        if head is None:
            return Answer(431, "The request is too long.\n"), True
        line, _, fields = head.partition("\r\n")
        found = _REQUEST.fullmatch(line)
        if found is None:
            return Answer(400, "This is no HTTP request.\n"), True
        method, path = found[1], found[2].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return Answer(405, "GET or HEAD.\n"), True
        try:
            async with asyncio.timeout(ANSWER_TIME):
                return await self._page(path, _accepted(fields)), method == "GET"
        except TimeoutError:
            return Answer(503, "It took too long.\n"), True
        except Exception:  # noqa: BLE001 - a mistake of ours must not end the server
            _log.exception("a page could not be made", path=path[:40])
            return Answer(500, "Unforeseen; see the log.\n"), True


async def _head(reader: asyncio.StreamReader) -> str | None:
    """A request up to its empty line; None when it is too long. What comes behind is never read."""
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        return None


def _accepted(fields: str) -> str:
    """The value of Accept (RFC 9110 12.5.1)."""
    found = [line.partition(":")[2] for line in fields.split("\r\n") if line[:7].lower() == "accept:"]
    return ",".join(found)


def _written(answer: Answer, *, with_body: bool) -> bytes:
    body = answer.body.encode()
    allow = "Allow: GET, HEAD\r\n" if answer.status == HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\nContent-Type: {answer.type}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        f"{allow}Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (body if with_body else b"")


def listening(place: EngineAddress) -> socket.socket:
    """A socket at HOST:PORT or unix:/PATH; the latter for this user only. Raises ConfigurationError."""
    try:
        if place.path:
            return _at_path(Path(place.path))
        family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((place.host, place.port))
            sock.listen(MAX_CONNECTIONS)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"metrics cannot be shown on {place}: {error.strerror or error}",
            remedy="Set metrics to an address of this machine and a free port, or to unix:/PATH.",
        ) from None
    return sock


def _at_path(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "there is something else")
        path.unlink()  # of a process that was killed
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(MAX_CONNECTIONS)
    except OSError:
        sock.close()
        raise
    return sock


def forget(path: str) -> None:
    """Take a socket's name away, if it has one."""
    if path:
        Path(path).unlink(missing_ok=True)
