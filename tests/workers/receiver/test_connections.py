"""Connections that end, wait, flood, or come too many."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pipeline.faults import ConfigurationError
from pipeline.settings import Settings
from pipeline.units import Duration, Endpoint
from tests.support.receiver import receiver
from workers.receiver import connection as connection_module
from workers.receiver import serve

SHORT = Duration.parse("300ms")
BIG = b"x" * 998 + b"\r\n"

STATES = {
    "connected": b"",
    "half a command": b"MAIL FR",
    "greeted": b"EHLO x\r\n",
    "sender": b"EHLO x\r\nMAIL FROM:<>\r\n",
    "recipient": b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<user@example.test>\r\n",
    "data": b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<user@example.test>\r\nDATA\r\n",
    "some data": b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<user@example.test>\r\nDATA\r\nSubject: x\r\n.",
    "much data": b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<user@example.test>\r\nDATA\r\n" + BIG * 400,
    "refused data": b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<user@example.test>\r\nDATA\r\na\nb" + BIG * 400,
    "handshake": b"STARTTLS\r\n\x16\x03",
}


@pytest.mark.parametrize("sent", STATES.values(), ids=STATES)
async def test_a_client_that_vanishes_leaves_nothing_behind(gate, sent):
    client = await gate.connect()
    await client.expect("220")
    client.send(sent)
    await client.writer.drain()
    client.vanish()
    await gate.idle()
    assert gate.intake.accepted == []


@pytest.mark.parametrize("sent", STATES.values(), ids=STATES)
async def test_a_client_that_stops_sending_is_let_go_and_leaves_nothing_behind(gate, sent):
    client = await gate.connect()
    client.send(sent)
    client.writer.write_eof()
    async with asyncio.timeout(10):
        await client.reader.read()
    await gate.idle()
    assert gate.intake.accepted == []


async def test_a_client_that_only_stops_sending_still_gets_all_answers(gate):
    client = await gate.connect()
    client.send(STATES["data"] + b"Subject: x\r\n.\r\nNOOP\r\nRSE")
    client.writer.write_eof()
    await client.expect("220", "250", "250", "250", "354", "250 2.0.0", "250 2.0.0")
    assert await client.closed()
    assert gate.intake.bodies == [b"Subject: x\r\n"]


async def test_an_intake_under_way_is_not_interrupted_by_a_client_that_vanishes(gate):
    gate.intake.gate = asyncio.Event()
    client = await gate.client()
    await client.begin()
    client.send(b"x\r\n.\r\n")
    async with asyncio.timeout(10):
        while not gate.intake.waiting:
            await asyncio.sleep(0.005)
    client.vanish()
    async with asyncio.timeout(10):
        while gate.server.sessions:
            await asyncio.sleep(0.005)
    gate.intake.gate.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*gate.server._common.tasks)
    assert gate.intake.bodies == [b"x\r\n"]


async def test_250_is_not_said_before_the_intake_has_returned(gate):
    gate.intake.gate = asyncio.Event()
    client = await gate.client()
    await client.begin()
    client.send(b"x\r\n.\r\nNOOP\r\n")
    async with asyncio.timeout(10):
        while not gate.intake.waiting:
            await asyncio.sleep(0.005)
    answer = asyncio.ensure_future(client.reply())
    assert not (await asyncio.wait({answer}, timeout=0.05))[0]
    gate.intake.gate.set()
    assert (await answer).startswith("250 2.0.0 accepted as ")
    await client.expect("250 2.0.0")


async def test_a_silent_client_gets_421(tmp_path):
    async with receiver(tmp_path, command_timeout=SHORT) as gate:
        client = await gate.client()
        assert await client.reply() == "421 4.4.2 Timeout, closing the connection"
        assert await client.closed()


async def test_a_client_that_falls_silent_within_the_data_gets_421_and_leaves_nothing_behind(tmp_path):
    async with receiver(tmp_path, command_timeout=SHORT) as gate:
        client = await gate.client()
        await client.begin()
        client.send(BIG * 400)
        await client.expect("421 4.4.2")
        await gate.idle()


async def test_a_client_that_keeps_talking_is_not_timed_out(tmp_path):
    async with receiver(tmp_path, command_timeout=SHORT) as gate:
        client = await gate.client()
        started = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < started + 3 * SHORT.seconds:
            assert await client.ask(b"NOOP") == "250 2.0.0 OK"
            await asyncio.sleep(0.02)


async def test_waiting_for_our_own_work_is_not_the_clients_silence(tmp_path):
    async with receiver(tmp_path, command_timeout=SHORT) as gate:
        gate.intake.gate = asyncio.Event()
        client = await gate.client()
        await client.begin()
        client.send(b"x\r\n.\r\n")
        answer = asyncio.ensure_future(client.reply())
        assert not (await asyncio.wait({answer}, timeout=3 * SHORT.seconds))[0]
        gate.intake.gate.set()
        assert (await answer).startswith("250")


async def test_a_client_that_takes_no_answers_is_cut_off_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(connection_module, "LINGER", 0.1)
    async with receiver(tmp_path, command_timeout=SHORT) as gate:
        client = await gate.client()
        client.writer.transport.pause_reading()
        for _ in range(200):
            client.send(b"HELP\r\n" * 10_000)
        await gate.idle()


async def test_a_client_that_sends_ahead_is_read_no_further_than_the_bound(gate):
    gate.intake.gate = asyncio.Event()
    client = await gate.client()
    await client.begin()
    (connection,) = gate.server._common.connections
    client.send(b"x\r\n.\r\n" + b"NOOP\r\n" * 100_000)
    async with asyncio.timeout(10):
        while not connection._held:
            await asyncio.sleep(0.005)
    assert len(connection._input) < connection_module.READ_AHEAD + (256 << 10)
    gate.intake.gate.set()
    await client.expect("250 2.0.0 accepted")
    answers = 0
    async with asyncio.timeout(60):
        while answers < 100_000:
            answers += (await client.reader.read(1 << 16)).count(b"\n")
    assert answers == 100_000


async def test_more_sessions_than_allowed_get_421(tmp_path):
    async with receiver(tmp_path, max_sessions=2) as gate:
        first, _ = await gate.client(), await gate.client()
        third = await gate.connect()
        assert await third.reply() == "421 4.7.0 Too many sessions, try again later"
        assert await third.closed()
        await first.ask(b"QUIT")
        async with asyncio.timeout(10):
            while gate.server.sessions > 1:
                await asyncio.sleep(0.005)
        await gate.client()


async def test_closing_lets_a_transaction_finish_and_sends_the_idle_away(gate):
    idle, busy, unwilling = await gate.client(), await gate.client(), await gate.client()
    await busy.begin()
    await unwilling.begin()
    closing = asyncio.ensure_future(gate.server.close(grace=1))
    assert await idle.reply() == "421 4.3.2 Service is going down, try again later"
    assert await idle.closed()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", gate.server.port)
    busy.send(b"x\r\n.\r\n")
    await busy.expect("250 2.0.0", "421 4.3.2")
    await unwilling.expect("421 4.3.2")
    assert await unwilling.closed()
    await closing
    assert gate.server.sessions == 0
    assert gate.intake.bodies == [b"x\r\n"]


async def test_closing_says_nothing_about_a_message_that_the_intake_still_works_on(gate):
    gate.intake.gate = asyncio.Event()
    client = await gate.client()
    await client.begin()
    client.send(b"x\r\n.\r\n")
    async with asyncio.timeout(10):
        while not gate.intake.waiting:
            await asyncio.sleep(0.005)
    await gate.server.close(grace=0.01)
    assert await client.closed()
    assert gate.intake.accepted == []


async def test_several_receivers_share_one_port(tmp_path):
    async with receiver(tmp_path / "one") as one:
        address = Endpoint(f"127.0.0.1:{one.server.port}")
        settings = Settings(smtp=address, data=tmp_path, hostname="two.example.test")
        two = await serve(settings, one.parts)
        greetings = set()
        async with asyncio.timeout(10):
            while len(greetings) < 2:
                greetings.add(await (await one.connect()).reply())
        await two.close(grace=0)
    assert greetings == {"220 mx.example.test ESMTP Gatepost", "220 two.example.test ESMTP Gatepost"}


async def test_a_port_in_use_is_one_clear_line(tmp_path, gate):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(smtp=Endpoint(f"127.0.0.1:{taken.getsockname()[1]}"), data=tmp_path)
        with pytest.raises(ConfigurationError, match=r"cannot listen on 127\.0\.0\.1:\d+: EADDRINUSE") as caught:
            await serve(settings, gate.parts)
    assert caught.value.remedy


async def test_a_host_name_that_is_none_is_one_clear_line(tmp_path, gate):
    with pytest.raises(ConfigurationError, match="hostname 'mx one': not a domain name"):
        await serve(Settings(data=tmp_path, hostname="mx one"), gate.parts)


async def test_a_socket_that_listens_already_can_be_handed_over(tmp_path, gate):
    sock = socket.create_server(("127.0.0.1", 0))
    settings = Settings(data=tmp_path, hostname="handed.example.test")
    server = await serve(settings, gate.parts, sock=sock)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    assert (await reader.readline()).startswith(b"220 handed")
    writer.close()
    await writer.wait_closed()
    await server.close(grace=0)
