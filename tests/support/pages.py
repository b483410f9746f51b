"""A web server of the test's own, over HTTP or HTTPS, which records what it is asked.

async with Pages({"/list.csv": Page(b"anna@example.test\n", headers={"ETag": '"1"'})}) as pages:
    ...  # ask pages.url("/list.csv")
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

from aiohttp import web


@dataclasses.dataclass
class Page:
    """`raw`: the whole answer as it goes over the wire, after which the connection is closed."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    raw: bytes | None = None
    stall: bool = False
    chunks: int = 0
    """Send the body so many times, in chunks."""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """`pages`: path -> a page, or a list of them, the last of which is repeated."""

    def __init__(self, pages: Mapping[str, Page | list[Page]], *, tls: ssl.SSLContext | None = None) -> None:
        self.pages = dict(pages)
        self.tls = tls
        self.requests: list[web.BaseRequest] = []
        self.port = 0
        self._used: dict[str, int] = {}
        self._end = asyncio.Event()

    def url(self, path: str) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}{path}"

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end.set()
        await self._runner.cleanup()

    def page(self, request: web.BaseRequest) -> Page:
        pages = self.pages.get(request.path, Page(b"not here", 404))
        if isinstance(pages, Page):
            return pages
        nth = self._used.get(request.path, 0)
        self._used[request.path] = nth + 1
        return pages[min(nth, len(pages) - 1)]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        page = self.page(request)
        if page.stall:
            await self._end.wait()
        if page.raw is not None:
            assert request.transport is not None
            request.transport.write(page.raw)  # type: ignore[attr-defined]
            request.transport.close()
            raise asyncio.CancelledError
        headers = dict(page.headers)
        if not page.chunks:
            return web.Response(body=page.body, status=page.status, headers=headers)
        response = web.StreamResponse(status=page.status, headers=headers)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(page.chunks):
                await response.write(page.body)
            await response.write_eof()
        return response
