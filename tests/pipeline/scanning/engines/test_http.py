"""HTTP as engines speak it: answers in every form that is allowed, and in none that is not."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scanning.engines import http
from pipeline.scanning.engines.connections import Connection, Connections
from pipeline.scanning.engines.http import MAX_BODY, MAX_HEAD, Answer, ask, request
from pipeline.scanning.faults import Broken, EngineFault, NotUnderstood
from tests.pipeline.scanning.engines.peers import Peer, saying

HEAD = request("POST", "/checkv2", "engine.test", [("From", "a@b.example")], 2)
OK = b"HTTP/1.1 200 OK\r\n"


async def asked(answer: bytes) -> Answer:
    async with Peer(saying(answer, after=b"\r\n\r\nhi")) as peer:

        async def talk(connection: Connection):
            return await ask(connection, HEAD, b"hi")

        return await Connections(peer.address, most=1).exchange(talk)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (OK + b"content-length:5\r\nX: y\r\n\r\nhello", b"hello"),
        (OK + b"\r\nup to the end", b"up to the end"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n2;x=y\r\nhe\r\n3 \r\nllo\r\n0\r\nTrailer: x\r\n\r\n", b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.0 204 No Content\r\n\r\n", b""),
    ],
)
async def test_every_form_of_a_body_is_read(answer, body):
    assert (await asked(answer)).body == body


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"\r\n\r\n",
        OK + b"no field\r\n\r\n",
        OK + b" Folded: x\r\n\r\n",
        OK + b"Content-Length: five\r\n\r\nhello",
        OK + b"Content-Length: -1\r\n\r\nhello",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (MAX_BODY + 1),
        OK + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1),
        OK + b"X: " + b"y" * MAX_HEAD + b"\r\n\r\n",
        OK + b"X: y\r\n" * MAX_HEAD,
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10_001,
    ],
)
async def test_what_can_be_read_in_two_ways_or_is_too_much_is_refused(answer):
    with pytest.raises(NotUnderstood):
        await asked(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        OK + b"Content-Length: 5\r\n\r\nhell",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
async def test_half_an_answer_is_none(answer):
    with pytest.raises(Broken):
        await asked(answer)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        (b"Content-Length: 2\r\n", True),
        (b"Content-Length: 2\r\nConnection: close\r\n", False),
        (b"Content-Length: 2\r\nConnection: Keep-Alive, Close\r\n", False),
    ],
)
async def test_a_connection_is_kept_unless_the_other_side_says_otherwise(fields, kept):
    async def serve(reader, writer):
        while await reader.readuntil(b"\r\n\r\nhi"):
            writer.write(OK + fields + b"\r\nok")

    async with Peer(serve) as peer:
        pool = Connections(peer.address, most=1)

        async def talk(connection):
            return await ask(connection, HEAD, b"hi")

        for _ in range(2):
            assert (await pool.exchange(talk)).body == b"ok"
        assert peer.connections == (1 if kept else 2)
        pool.close()


@given(st.text(max_size=2000), st.text(max_size=50))
def test_nothing_that_a_stranger_chose_ends_a_line_of_the_request(helo, host):
    head = request("POST", "/", host, [("Helo", helo), ("Next", "x")], 7)
    assert head.count(b"\r\n\r\n") == 1
    lines = head.split(b"\r\n")
    assert [line.partition(b":")[0] for line in lines if line.startswith((b"Helo", b"Next"))] in (
        [b"Helo", b"Next"],
        [b"Next"],
    )
    assert not any(ord(letter) < 32 for line in lines for letter in line.decode("utf-8"))
    assert lines[-3] == b"Content-Length: 7"


@given(st.binary(max_size=300) | st.binary(max_size=300).map(OK.__add__))
async def test_any_octets_are_an_answer_or_a_fault(octets):
    connection = Connection()
    connection.data_received(octets)
    connection.eof_received()
    with contextlib.suppress(EngineFault):
        status, _, fields = await http._head(connection)
        await http._body(connection, status, fields)
