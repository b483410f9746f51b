"""Receivers as processes, one Redis between them, and more clients than anybody wants."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline import keys
from pipeline.store import open_client
from tests.support.servers import Process, RedisServer, eventually, free_port, wait_until

OPEN_FILES = 400
"""Sockets that a flood has open at once, beside those that got in: as many as a user's shell lets a process have."""
HELLO = b"EHLO client.example\r\n"


class Receivers:
    """Processes on one port. Settings are keys of gatepost.toml; networks without limits there are none."""

    def __init__(self, directory: Path, redis: RedisServer, count: int, **settings: object) -> None:
        self.port = free_port()
        (directory / "data").mkdir()
        environ = {
            "GATEPOST_DATA": str(directory / "data"),
            "GATEPOST_REDIS_URL": redis.url,
            "GATEPOST_SMTP": f"127.0.0.1:{self.port}",
            "GATEPOST_HOSTNAME": "gateway.test",
            "GATEPOST_UNLIMITED_NETWORKS": "",
            **{f"GATEPOST_{name.upper()}": str(value) for name, value in settings.items()},
        }
        command = [sys.executable, "-m", "cli.main", "worker", "receiver"]
        self.processes = [Process(command, directory / f"{number}.log", environ) for number in range(count)]

    def wait_ready(self) -> None:
        for process in self.processes:
            process.wait_ready(
                lambda process=process: any(
                    found.status == psutil.CONN_LISTEN for found in psutil.Process(process.pid).net_connections("tcp")
                )
            )

    def stop(self) -> list[int]:
        return [process.stop() for process in self.processes]


@contextlib.contextmanager
def receivers(directory: Path, redis: RedisServer, count: int, **settings: object) -> Iterator[Receivers]:
    running = Receivers(directory, redis, count, **settings)
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


async def flood(port: int, count: int, source: str = "127.0.0.1") -> tuple[list[asyncio.StreamWriter], list[str]]:
    """So many connections as fast as they come: those that were greeted, still open, and what the others were told."""
    inside: list[asyncio.StreamWriter] = []
    told: list[str] = []
    at_once = asyncio.Semaphore(OPEN_FILES)

    async def knock() -> None:
        async with at_once:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            line = (await asyncio.wait_for(reader.readline(), 60)).decode().strip()
            if line.startswith("220 "):
                inside.append(writer)
            else:
                told.append(line)
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    await asyncio.gather(*(knock() for _ in range(count)))
    return inside, told


async def leave(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        writer.close()
    for writer in writers:
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def slots_free(redis: RedisServer) -> None:
    client = open_client(redis.url)

    async def free() -> bool:
        return not await client.keys(keys.client("127.0.0.1") + "slots")

    await eventually(free, what="the giving back of all slots")
    await client.aclose()


async def test_of_a_burst_over_two_receivers_exactly_as_many_get_in_as_may(tmp_path, redis_server):
    limits = {"client_connections": 100, "client_connection_rate": 0, "client_wasted_rate": 0, "client_unknown_rate": 0}
    with receivers(tmp_path, redis_server, 2, **limits) as running:
        inside, told = await flood(running.port, 5000)
        assert len(inside) == 100
        assert len(told) == 4900
        assert set(told) == {
            "421 4.7.0 Too many connections from your address at once: open fewer, and close those you do not use"
        }
        others, _ = await flood(running.port, 10, source="127.0.0.2")
        assert len(others) == 10
        await leave(inside)
        await slots_free(redis_server)
        inside, _ = await flood(running.port, 300)
        assert len(inside) == 100
        await leave(inside + others)
        assert running.stop() == [0, 0]
        assert redis_server.command("KEYS", "*slots") == b"*0\r\n"


async def test_of_a_burst_within_a_minute_exactly_as_many_get_in_as_may(tmp_path, redis_server):
    with receivers(tmp_path, redis_server, 2, client_connections=0, client_connection_rate=300) as running:
        began = time.monotonic()
        inside, told = await flood(running.port, 5000)
        refilled = 300 * (time.monotonic() - began) / 60
        assert 300 <= len(inside) <= 300 + refilled + 1
        assert set(told) == {
            "421 4.7.0 Too many connections from your address in a minute: send several messages over each"
        }
        await leave(inside)


async def test_what_a_receiver_that_was_killed_held_is_free_when_its_lease_is_over(tmp_path, redis_server):
    with receivers(tmp_path, redis_server, 2, client_connections=20, client_connection_rate=0, lease="2s") as running:
        await asyncio.sleep(0)
        inside, _ = await flood(running.port, 300)
        assert len(inside) == 20
        running.processes[0].kill()

        async def another_gets_in() -> bool:
            more, _ = await flood(running.port, 1)
            inside.extend(more)
            return len(inside) > 20

        await eventually(another_gets_in, within=20, what="the end of the lease")
        await leave(inside)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's smaps_rollup")
async def test_a_thousand_idle_sessions_cost_less_than_100_mb(tmp_path, redis_server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        limits = {"client_connections": 0, "client_connection_rate": 0, "max_sessions": 1000}
        with receivers(tmp_path, redis_server, 1, **limits) as running:
            (process,) = running.processes
            before = memory(process)
            clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(1000)]
            for number, client in enumerate(clients):
                client.settimeout(20)
                assert client.recv(200).startswith(b"220 ")
                client.sendall(HELLO if number % 2 else HELLO + b"MAIL FROM:<a@b.example>\r\n")
                assert client.recv(500).startswith(b"250-")
            grown = memory(process) - before
            assert psutil.Process(process.pid).num_fds() > 1000
            assert 0 < grown < 100 << 20
            for client in clients:
                client.close()
            wait_until(lambda: psutil.Process(process.pid).num_fds() < 100, what="the end of the sessions")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory(process: Process) -> int:
    """Octets, shared pages counted once."""
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text("ascii")
    return sum(int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith("Pss:"))
