"""The pages' server, and clients that mean no good."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
from collections.abc import AsyncIterator

import pytest

from pipeline.faults import ConfigurationError
from pipeline.units import EngineAddress
from tests.support.servers import free_port
from workers.monitoring import http
from workers.monitoring.http import Answer, Pages, listening


@contextlib.asynccontextmanager
async def served(page=None) -> AsyncIterator[str]:
    async def echo(path, accept):
        if path == "/boom":
            raise ValueError("secret")
        return Answer(200, f"{path}|{accept}\n")

    pages = Pages(page or echo)
    port = free_port()
    sock = listening(EngineAddress(f"127.0.0.1:{port}"))
    await pages.start(sock)
    try:
        yield port
    finally:
        await pages.close()
        sock.close()


async def said(port, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
            return await asyncio.wait_for(reader.read(), 10)
        return b""
    finally:
        writer.close()


async def test_get_is_answered_and_the_connection_closed():
    async with served() as port:
        answer = await said(port, b"GET /metrics?x=y HTTP/1.1\r\nHost: a\r\nACCEPT: text/plain\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" in head
    assert b"Content-Length: %d" % len(body) in head
    assert body == b"/metrics| text/plain\n"


async def test_head_is_answered_without_the_body():
    async with served() as port:
        answer = await said(port, b"HEAD /metrics HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"DELETE / HTTP/1.1\r\n\r\n", 405),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\n\r\n", 400),
        (b"GET /" + b"a" * 1000 + b" HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\n\r\n", 400),
        (b"EHLO me\r\n\r\n", 400),
        (b"GET /boom HTTP/1.1\r\n\r\n", 500),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431),
    ],
)
async def test_what_is_no_plain_get_is_refused(request_, status, monkeypatch):
    async with served() as port:
        answer = await said(port, request_)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"secret" not in answer
        assert (await said(port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_says_nothing_is_cut_off(monkeypatch):
    monkeypatch.setattr(http, "HEAD_TIME", 0.05)
    async with served() as port:
        assert await said(port, b"GET / HT") == b""


async def test_headers_without_an_end_are_read_no_further_than_the_limit():
    async with served() as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(10_000):
                writer.write(b"X: y\r\n" * 100)
                await writer.drain()
            pytest.fail("six megabytes of headers were taken")
        writer.close()


async def test_connections_above_the_limit_are_closed_and_the_others_answered():
    async with served() as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(http.MAX_CONNECTIONS)]
        assert await said(port, b"GET / HTTP/1.1\r\n\r\n") == b""
        held[0][1].write(b"GET /held HTTP/1.1\r\n\r\n")
        assert b"/held" in await held[0][0].read()
        assert b"/more" in await said(port, b"GET /more HTTP/1.1\r\n\r\n")
        for _, writer in held:
            writer.close()


async def test_a_page_that_takes_too_long_is_503(monkeypatch):
    monkeypatch.setattr(http, "ANSWER_TIME", 0.05)

    async def slow(path, accept):
        await asyncio.Event().wait()

    async with served(slow) as port:
        assert (await said(port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 503 ")


def test_a_unix_socket_is_for_this_user_only_and_one_left_over_is_replaced(tmp_path):
    path = tmp_path / "m.sock"
    for _ in range(2):
        with listening(EngineAddress(f"unix:{path}")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_no_socket_is_never_removed(tmp_path):
    (tmp_path / "mail").write_text("precious")
    with pytest.raises(ConfigurationError, match="something else"):
        listening(EngineAddress(f"unix:{tmp_path / 'mail'}"))
    assert (tmp_path / "mail").read_text() == "precious"


def test_a_port_in_use_is_refused_in_words():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
            listening(EngineAddress(f"127.0.0.1:{port}"))
