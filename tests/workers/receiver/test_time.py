"""What has to be over by when, whatever a client says meanwhile."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pipeline.units import Duration
from tests.support.receiver import receiver
from tests.workers.receiver.test_tls import blind
from workers.receiver import connection as connection_module

SHORT = Duration.parse("300ms")
LONG = Duration.parse("1h")
LIMITED = {"unlimited_networks": (), "session_wasted": 1_000_000, "client_wasted_rate": 0}
IDLE = "421 4.4.2 Timeout, closing the connection"
SLOW = "421 4.4.2 This has taken too long, closing the connection"
OVER = "421 4.4.2 This session has lasted long enough: connect again for the next message"
USER = b"RCPT TO:<user@example.test>\r\n"


@contextlib.asynccontextmanager
async def saying(client, words: bytes):
    """The client says it again and again, without looking at the answers."""

    async def say() -> None:
        while True:
            client.send(words)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(say())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def last_words(client) -> str:
    """The reply before the connection ended."""
    reply = ""
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            while line := await client.reader.readline():
                reply = line.decode().strip()
    return reply


@pytest.mark.parametrize("words", [b"", b"N", b"NOOP\r\n", b"RSET\r\n", b"EHLO a b\r\n"])
async def test_who_does_not_greet_in_time_is_let_go(tmp_path, words):
    async with receiver(tmp_path, hello_time=SHORT, command_timeout=LONG, **LIMITED) as gate:
        client = await gate.connect()
        await client.expect("220")
        async with saying(client, words):
            assert await last_words(client) == SLOW


async def test_who_has_greeted_may_stay(tmp_path):
    async with receiver(tmp_path, hello_time=SHORT, command_timeout=LONG, **LIMITED) as gate:
        clients = [await gate.client(), await gate.client(b"HELO client.example")]
        silent = await gate.connect()
        # One that does not greet comes last, so when it is let go the others' time would be over too.
        assert await last_words(silent) == SLOW
        for client in clients:
            assert (await client.ask(b"NOOP")).startswith("250")


async def test_after_starttls_there_is_a_new_greeting_to_wait_for(tmp_path):
    async with receiver(tmp_path, hello_time=SHORT, command_timeout=LONG, **LIMITED) as gate:
        client = await gate.client()
        await client.start_tls(blind())
        async with saying(client, b"NOOP\r\n"):
            assert await last_words(client) == SLOW


@pytest.mark.parametrize(
    "words", [b"", b"R", b"NOOP\r\n", USER, b"MAIL FROM:<x@y.example>\r\n", b"RCPT TO:<x@elsewhere.example>\r\n"]
)
async def test_an_envelope_has_to_be_complete_in_time(tmp_path, words):
    async with receiver(tmp_path, envelope_time=SHORT, command_timeout=LONG, **LIMITED) as gate:
        client = await gate.client()
        assert (await client.ask(b"MAIL FROM:<a@b.example>")).startswith("250")
        async with saying(client, words):
            assert await last_words(client) == SLOW


@pytest.mark.parametrize("unlimited", [True, False])
@pytest.mark.parametrize("words", [b"", b"x", b"x\r\n", b"\r\n..\r", b"\n" * 1000])
async def test_a_message_has_to_come_in_time_and_what_there_was_of_it_is_gone(tmp_path, words, unlimited):
    limits = {} if unlimited else LIMITED
    async with receiver(tmp_path, data_time=SHORT, command_timeout=LONG, **limits) as gate:
        client = await gate.client()
        await client.begin()
        async with saying(client, words):
            assert await last_words(client) == SLOW
            await gate.left()
        assert gate.drafts.left_behind == []
        assert gate.intake.accepted == []


async def test_the_time_for_one_transaction_is_not_what_is_left_of_the_last(tmp_path):
    async with receiver(tmp_path, envelope_time=SHORT, data_time=SHORT, command_timeout=LONG) as gate:
        client = await gate.client()
        loop = asyncio.get_running_loop()
        until = loop.time() + 3 * SHORT.seconds
        while loop.time() < until:
            assert (await client.deliver(b"x")).startswith("250")
        assert (await client.ask(b"MAIL FROM:<>")).startswith("250")
        assert (await client.ask(b"RSET")).startswith("250")
        silent = await gate.client()
        await silent.ask(b"MAIL FROM:<>")
        assert await last_words(silent) == SLOW
        assert (await client.ask(b"NOOP")).startswith("250")


async def test_a_command_that_trickles_in_is_silence(tmp_path):
    async with receiver(tmp_path, command_timeout=SHORT, **LIMITED) as gate:
        client = await gate.client()
        async with saying(client, b"X"):
            assert await last_words(client) == IDLE


async def test_who_takes_no_answers_is_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(connection_module, "LINGER", 0.1)
    async with receiver(tmp_path, command_timeout=SHORT, **LIMITED) as gate:
        client = await gate.client()
        client.writer.transport.pause_reading()
        client.send(b"HELP\r\n" * 900_000)
        await gate.left()


async def test_a_session_ends_between_two_messages(tmp_path):
    async with receiver(tmp_path, session_time=SHORT, **LIMITED) as gate:
        silent, busy = await gate.client(), await gate.client()
        async with saying(busy, b"NOOP\r\n"):
            assert await last_words(busy) == OVER
        assert await last_words(silent) == OVER


@pytest.mark.parametrize("begun", ["MAIL", "DATA"])
async def test_a_transaction_that_is_under_way_may_still_end(tmp_path, begun):
    async with receiver(tmp_path, session_time=SHORT, **LIMITED) as gate:
        client = await gate.client()
        await client.ask(b"MAIL FROM:<a@b.example>")
        if begun == "DATA":
            client.send(USER + b"DATA\r\nSubject: x\r\n")
            await client.expect("250", "354")
        (connection,) = gate.server._common.connections
        async with asyncio.timeout(10):
            while not connection._overdue:
                await asyncio.sleep(0.005)
        if begun == "MAIL":
            client.send(USER + b"DATA\r\nSubject: x\r\n")
            await client.expect("250", "354")
        client.send(b"\r\nlate\r\n.\r\n")
        await client.expect("250 2.0.0 accepted", "421 4.4.2 This session has lasted long enough")
        assert gate.intake.bodies == [b"Subject: x\r\n\r\nlate\r\n"]
        assert await client.closed()


async def test_a_transaction_that_is_under_way_when_the_session_ends_has_no_more_time_than_any(tmp_path):
    async with receiver(tmp_path, session_time=SHORT, data_time=SHORT, **LIMITED) as gate:
        client = await gate.client()
        await client.begin()
        async with saying(client, b"x"):
            assert await last_words(client) == SLOW


async def test_a_client_without_limits_may_stay_as_long_as_it_likes(tmp_path):
    async with receiver(tmp_path, session_time=SHORT) as gate:
        client = await gate.client()
        (connection,) = gate.server._common.connections
        assert connection._session_ends == float("inf")
        assert (await client.deliver(b"x")).startswith("250")


async def test_what_we_take_time_for_is_not_held_against_the_client(tmp_path):
    settings = {"session_time": SHORT, "data_time": SHORT, "envelope_time": SHORT, "command_timeout": SHORT}
    async with receiver(tmp_path, **settings, **LIMITED) as gate:
        gate.intake.gate = asyncio.Event()
        client = await gate.client()
        await client.begin()
        client.send(b"x\r\n.\r\n")
        answer = asyncio.ensure_future(client.reply())
        assert not (await asyncio.wait({answer}, timeout=3 * SHORT.seconds))[0]
        gate.intake.gate.set()
        assert (await answer).startswith("250")
        await client.expect("421 4.4.2 This session has lasted long enough")
