"""Connections to engines: reused, thrown away, tried once more, bounded."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pipeline.scanning.engines import connections
from pipeline.scanning.engines.connections import CHUNK, HELD, Connection, Connections
from pipeline.scanning.faults import Broken, EngineFault, NotUnderstood
from pipeline.units import EngineAddress
from tests.pipeline.scanning.engines.peers import Peer, endless, hanging_up, saying, silent
from tests.support.servers import free_port


async def echoing(reader, writer):
    while line := await reader.readline():
        writer.write(line)


async def echo_once(reader, writer):
    writer.write(await reader.readline())


def line(text: bytes, *, again: bool = True):
    async def talk(connection: Connection) -> tuple[bytes, bool]:
        connection.write(text + b"\n")
        return await connection.until(b"\n", 1000), again

    return talk


async def test_a_connection_is_used_for_one_exchange_after_the_other():
    async with Peer(echoing) as peer:
        pool = Connections(peer.address, most=2)
        assert [await pool.exchange(line(text)) for text in (b"a", b"b", b"c")] == [b"a", b"b", b"c"]
        assert peer.connections == 1
        pool.close()


async def test_one_that_cannot_serve_the_next_exchange_is_not_kept():
    async with Peer(echoing) as peer:
        pool = Connections(peer.address, most=2)
        assert [await pool.exchange(line(text, again=False)) for text in (b"a", b"b")] == [b"a", b"b"]
        assert peer.connections == 2


async def test_what_fails_on_a_kept_connection_that_is_dead_is_tried_once_more_on_a_fresh_one():
    async def deaf_at_second(reader, writer):
        writer.write(await reader.readline())
        await reader.readline()

    async with Peer(deaf_at_second) as peer:
        pool = Connections(peer.address, most=2)
        assert await pool.exchange(line(b"a")) == b"a"
        assert await pool.exchange(line(b"b")) == b"b"
        assert peer.connections == 2
        pool.close()


async def test_a_kept_connection_that_the_other_side_closed_is_not_even_tried():
    async with Peer(echo_once) as peer:
        pool = Connections(peer.address, most=1)
        for text in (b"a", b"b"):
            assert await pool.exchange(line(text)) == text


async def test_a_kept_connection_on_which_something_came_unasked_is_thrown_away():
    async def chatty(reader, writer):
        writer.write(await reader.readline() + b"and more\n")
        await reader.read()

    async with Peer(chatty, echoing) as peer:
        pool = Connections(peer.address, most=1)
        assert await pool.exchange(line(b"a")) == b"a"
        assert await pool.exchange(line(b"b")) == b"b"
        pool.close()


async def test_what_fails_on_a_fresh_connection_is_the_engine_s_trouble():
    async with Peer(hanging_up) as peer:
        with pytest.raises(Broken):
            await Connections(peer.address, most=1).exchange(line(b"a"))
        assert peer.connections == 1


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "unix:/nonexistent/socket"])
async def test_one_that_is_not_there_is_told_with_its_address(address):
    address = EngineAddress(address.format(port=free_port()))
    with pytest.raises(EngineFault, match="cannot be reached") as caught:
        await Connections(address, most=1).exchange(line(b"a"))
    assert str(address) in caught.value.whole


async def test_a_unix_socket_is_an_address_too(tmp_path):
    over = asyncio.Event()

    async def serve(reader, writer):
        await echoing(reader, writer)
        writer.close()
        over.set()

    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    async with server:
        pool = Connections(EngineAddress(f"unix:{tmp_path / 's'}"), most=1)
        assert await pool.exchange(line(b"a", again=False)) == b"a"
        await over.wait()


async def test_no_more_are_open_at_once_than_there_may_be():
    most, open_now, peak = 3, 0, 0
    full = asyncio.Event()

    async def counting(reader, writer):
        nonlocal open_now, peak
        open_now += 1
        peak = max(peak, open_now)
        if open_now == most:
            full.set()
        await full.wait()
        writer.write(await reader.readline())
        open_now -= 1

    async with Peer(counting) as peer:
        pool = Connections(peer.address, most=most)
        answers = await asyncio.gather(*(pool.exchange(line(b"%d" % n, again=False)) for n in range(10)))
    assert answers == [b"%d" % n for n in range(10)]
    assert peak == most


async def test_a_cancelled_exchange_gives_its_place_back_and_its_connection_to_nobody():
    async with Peer(silent, echoing) as peer:
        pool = Connections(peer.address, most=1)
        task = asyncio.create_task(pool.exchange(line(b"a")))
        while not peer.connections:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await pool.exchange(line(b"b")) == b"b"
        assert peer.connections == 2
        pool.close()


async def test_idle_connections_are_kept_for_a_while_only(monkeypatch):
    monkeypatch.setattr(connections, "KEEP", -1.0)
    async with Peer(echoing) as peer:
        pool = Connections(peer.address, most=1)
        for text in (b"a", b"b"):
            assert await pool.exchange(line(text)) == text
        assert peer.connections == 2
        pool.close()


@pytest.mark.parametrize("read", ["until", "rest"])
async def test_what_never_ends_is_given_up_and_held_in_bounds(read):
    held = 0

    async def talk(connection):
        nonlocal held
        try:
            return await getattr(connection, read)(*([b"\n"] if read == "until" else []), 100_000), False
        finally:
            held = len(connection._buffer)

    async with Peer(endless) as peer:
        with pytest.raises(NotUnderstood):
            await Connections(peer.address, most=1).exchange(talk)
    assert held <= 2 * HELD + (256 << 10)


@pytest.mark.parametrize(("said", "fault"), [(b"half", Broken), (b"x" * 2000 + b"\n", NotUnderstood)])
async def test_half_a_line_and_one_that_is_too_long_are_no_answer(said, fault):
    async with Peer(saying(said)) as peer:
        with pytest.raises(fault):
            await Connections(peer.address, most=1).exchange(line(b"a"))


async def test_a_large_message_is_poured_in_pieces_and_the_other_side_may_stop_it():
    async def full(reader, writer):
        await reader.readexactly(CHUNK)
        writer.write(b"enough\n")
        await reader.read()

    content = bytes(50 << 20)
    written = 0

    async def talk(connection):
        nonlocal written
        connection._transport.set_write_buffer_limits(high=CHUNK)
        plain = connection.write

        def counted(data):
            nonlocal written
            written += len(data)
            plain(data)

        connection.write = counted
        await connection.pour(content)
        return await connection.until(b"\n", 100), False

    async with Peer(full) as peer:
        assert await Connections(peer.address, most=1).exchange(talk) == b"enough"
    assert written < len(content)


async def test_what_it_said_before_it_hung_up_is_read_though_we_are_still_writing():
    async def refusing(reader, writer):
        writer.write(b"too much\n")
        await writer.drain()
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        await reader.read(1)

    async def talk(connection):
        while not connection.ended:
            await connection._change()
        return await connection.until(b"\n", 100), False

    async with Peer(refusing) as peer:
        assert await Connections(peer.address, most=1).exchange(talk) == b"too much"
