"""From the connection to the greeting: whom a load balancer speaks for, who may come in, who can wait."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from pipeline import keys
from pipeline.store import open_client
from pipeline.units import SECOND, Duration
from tests.support.receiver import receiver
from tests.workers.receiver.test_clients import AT_ONCE, Clock
from tests.workers.receiver.test_proxy import BAD, checksummed, tcp, tlv, v2
from tests.workers.receiver.test_tls import blind
from workers.receiver import arrival as arrival_module

MESSAGE = b"Subject: hello\r\n\r\nbody\r\n"
LIMITED = {"unlimited_networks": ()}
BEHIND_PROXY = {"proxy_networks": (ipaddress.ip_network("127.0.0.0/8"),)}
EARLY = "554 5.5.1 You spoke before our greeting, which a mail server waits for (RFC 5321 4.3.1)"
HOUR = Duration(60 * SECOND)
"""The longest delay there is: no test would wait for its end."""
MOMENT = Duration(SECOND // 20)


async def waiting(gate, count: int = 1) -> None:
    """Until so many connections wait for something before their greeting."""
    async with asyncio.timeout(10):
        while sum(c._wakeup is not None and not c._greeted for c in gate.server._common.connections) < count:
            await asyncio.sleep(0.005)


# Early talkers, and the wait for the greeting


@pytest.mark.parametrize(
    "words", [b"EHLO client.example\r\n", b"E", b"\r\n", b"\x16\x03\x01", b"X" * 100_000, b"QUIT\r\n"]
)
async def test_who_speaks_before_the_greeting_gets_554_and_nothing_of_it_is_done(tmp_path, words):
    async with receiver(tmp_path, greeting_delay=HOUR, **LIMITED) as gate:
        client = await gate.connect()
        client.send(words)
        assert await client.reply() == EARLY
        assert await client.closed()
        await gate.left()


async def test_who_waits_is_greeted_and_goes_on_as_ever(tmp_path):
    async with receiver(tmp_path, greeting_delay=MOMENT, **LIMITED) as gate:
        client = await gate.client()
        assert (await client.deliver(MESSAGE)).startswith("250")


async def test_the_wait_for_the_greeting_is_not_the_clients_silence(tmp_path):
    delay = Duration(SECOND // 2)
    async with receiver(
        tmp_path, greeting_delay=delay, command_timeout=Duration(2 * MOMENT), hello_time=delay, **LIMITED
    ) as gate:
        client = await gate.client()
        assert await client.reply() == "421 4.4.2 Timeout, closing the connection"


async def test_who_spoke_while_its_limits_were_looked_at_spoke_early(tmp_path, redis_server):
    redis = Held(open_client(redis_server.url))
    async with receiver(tmp_path, redis=redis, **LIMITED) as gate:
        client = await gate.connect()
        client.send(b"EHLO client.example\r\n")
        async with asyncio.timeout(10):
            while not any(connection._input for connection in gate.server._common.connections):
                await asyncio.sleep(0.005)
        redis.go_on.set()
        assert await client.reply() == EARLY
    await redis.aclose()


class Held:
    """A Redis whose answers wait for `go_on`."""

    def __init__(self, redis) -> None:
        self._redis = redis
        self.go_on = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._redis, name)

    async def execute_command(self, *words, **options):
        await self.go_on.wait()
        return await self._redis.execute_command(*words, **options)


async def test_who_has_delivered_good_mail_is_not_kept_waiting_for_a_week(tmp_path, redis_server):
    redis, clock = open_client(redis_server.url), Clock()
    settings = {"redis": redis, "clock": clock, "greeting_delay": MOMENT, **LIMITED}
    async with receiver(tmp_path / "one", **settings) as one:
        first = await one.client()
        assert (await first.deliver(MESSAGE)).startswith("250")
        await one.left_alone()
        assert await redis.exists(keys.client("127.0.0.1") + "good")
    async with receiver(tmp_path / "two", **{**settings, "greeting_delay": HOUR}) as two:
        known = await two.client()
        assert (await known.deliver(MESSAGE)).startswith("250")
        stranger = await two.connect("127.0.0.2")
        await waiting(two)
        stranger.send(b"EHLO x\r\n")
        assert await stranger.reply() == EARLY
    await redis.aclose()


async def test_mail_that_was_refused_makes_nobody_known(tmp_path, redis_server):
    redis = open_client(redis_server.url)
    async with receiver(tmp_path, redis=redis, greeting_delay=MOMENT, **LIMITED) as gate:
        client = await gate.client()
        assert (await client.deliver(b"bare\nnewline")).startswith("550")
        await gate.left_alone()
        assert await redis.keys("*good") == []
    await redis.aclose()


async def test_networks_without_limits_are_not_kept_waiting(tmp_path):
    async with receiver(tmp_path, greeting_delay=HOUR) as gate:
        await gate.client()


async def test_nobody_else_waits_for_a_greeting_that_is_held_back(tmp_path):
    async with receiver(tmp_path, greeting_delay=HOUR, unlimited_networks=(ipaddress.ip_network("127.0.0.2"),)) as gate:
        for _ in range(20):
            await gate.connect()
        await waiting(gate, 20)
        assert (await (await gate.client(source="127.0.0.2")).deliver(MESSAGE)).startswith("250")


@pytest.mark.parametrize("how", ["vanishes", "stops sending"])
async def test_a_client_that_goes_while_it_waits_leaves_nothing_behind(tmp_path, how):
    async with receiver(tmp_path, greeting_delay=HOUR, client_connections=1, **LIMITED) as gate:
        client = await gate.connect()
        await waiting(gate)
        if how == "vanishes":
            client.vanish()
        else:
            client.writer.write_eof()
            async with asyncio.timeout(10):
                await client.reader.read()
        await gate.left()


async def test_a_receiver_that_closes_says_so_to_those_who_wait_for_their_greeting(tmp_path):
    async with receiver(tmp_path, greeting_delay=HOUR, **LIMITED) as gate:
        client = await gate.connect()
        await waiting(gate)
        closing = asyncio.ensure_future(gate.server.close(grace=5))
        assert await client.reply() == "421 4.3.2 Service is going down, try again later"
        await closing


async def test_a_receiver_that_closes_while_a_client_is_asked_about_greets_it_no_more(tmp_path, redis_server):
    redis = Held(open_client(redis_server.url))
    async with receiver(tmp_path, redis=redis, **LIMITED) as gate:
        client = await gate.connect()
        async with asyncio.timeout(10):
            while not gate.limiter.clients:
                await asyncio.sleep(0.005)
        closing = asyncio.ensure_future(gate.server.close(grace=5))
        await asyncio.sleep(0)
        redis.go_on.set()
        assert await client.reply() == "421 4.3.2 Service is going down, try again later"
        await closing
    await redis.aclose()


# The PROXY protocol

HEADERS = {
    "v1 TCP4": (b"PROXY TCP4 198.51.100.7 192.0.2.25 4711 25\r\n", ("198.51.100.7", 4711)),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::7 2001:db8::25 4711 25\r\n", ("2001:db8::7", 4711)),
    "v2 TCP4": (tcp("198.51.100.7", 4711, tlv(4, bytes(300))), ("198.51.100.7", 4711)),
    "v2 TCP6": (checksummed("2001:db8::7"), ("2001:db8::7", 4711)),
    "v2 mapped": (tcp("::ffff:198.51.100.7", 4711), ("198.51.100.7", 4711)),
}
ITSELF = {"v1 UNKNOWN": b"PROXY UNKNOWN\r\n", "v2 LOCAL": v2(0x20, 0, b""), "v2 unix": v2(0x21, 0x31, bytes(216))}


@pytest.mark.parametrize(("header", "peer"), HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("step", [1, 7, 10_000])
async def test_the_client_is_the_one_the_balancer_names(tmp_path, header, peer, step):
    async with receiver(tmp_path, **BEHIND_PROXY) as gate:
        client = await gate.connect()
        for start in range(0, len(header), step):
            client.send(header[start : start + step])
            await asyncio.sleep(0)
        await client.hello()
        assert (await client.deliver(MESSAGE)).startswith("250")
        who = gate.intake.last.client
        assert (who.address, who.port) == peer
        assert list(gate.limiter._accounts) == ["2001:db8::/64" if ":" in peer[0] else peer[0]]
        await client.start_tls(blind())
        client.send(b"EHLO client.example\r\n")
        await client.lines()
        assert (await client.deliver(MESSAGE)).startswith("250")
        who = gate.intake.last.client
        assert (who.address, who.port, who.protocol) == (*peer, "ESMTPS")


@pytest.mark.parametrize("header", ITSELF.values(), ids=ITSELF)
async def test_who_speaks_for_itself_keeps_its_address(tmp_path, header):
    async with receiver(tmp_path, **BEHIND_PROXY) as gate:
        client = await gate.connect()
        client.send(header)
        await client.hello()
        await client.deliver(MESSAGE)
        assert gate.intake.last.client.address == "127.0.0.1"
        assert gate.limiter.clients == 0


@pytest.mark.parametrize("header", ITSELF.values(), ids=ITSELF)
async def test_a_balancer_that_looks_whether_we_are_there_has_no_limits_and_does_not_wait(tmp_path, header):
    settings = {**BEHIND_PROXY, **LIMITED, "greeting_delay": HOUR, "client_connections": 1, "client_connection_rate": 1}
    async with receiver(tmp_path, **settings) as gate:
        for _ in range(3):
            client = await gate.connect()
            client.send(header)
            await client.hello()
        assert gate.limiter.clients == 0


async def test_limits_are_those_of_the_client_behind_the_balancer(tmp_path):
    """Here the balancer itself has none."""
    async with receiver(tmp_path, client_connections=1, **BEHIND_PROXY) as gate:
        for address, expected in (
            ("2001:db8::1", "220"),
            ("2001:db8::2", AT_ONCE),
            ("2001:db8:0:1::1", "220"),
            ("127.0.0.9", "220"),
        ):
            client = await gate.connect()
            client.send(tcp(address, 1))
            assert (await client.reply()).startswith(expected)


async def test_a_client_behind_a_balancer_that_speaks_early_is_told_so(tmp_path):
    async with receiver(tmp_path, greeting_delay=HOUR, **BEHIND_PROXY) as gate:
        client = await gate.connect()
        client.send(tcp("198.51.100.7", 1) + b"EHLO client.example\r\n")
        assert await client.reply() == EARLY
        assert await client.closed()


async def test_what_follows_a_header_of_a_client_without_limits_is_not_lost(tmp_path):
    async with receiver(tmp_path, **BEHIND_PROXY) as gate:
        client = await gate.connect()
        client.send(v2(0x20, 0, b"") + b"EHLO client.example\r\nQUIT\r\n")
        await client.expect("220", "250", "221")


@pytest.mark.parametrize("header", BAD.values(), ids=BAD)
async def test_without_a_header_a_connection_from_a_balancer_is_dropped_without_a_word(tmp_path, header, capsys):
    async with receiver(tmp_path, **BEHIND_PROXY) as gate:
        client = await gate.connect()
        client.send(header)
        client.writer.write_eof()
        assert await client.closed()
        await gate.left()
        assert "no_proxy_header" in capsys.readouterr().out


async def test_a_header_is_not_waited_for_for_ever(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(arrival_module, "PROXY_TIME", 0.05)
    async with receiver(tmp_path, **BEHIND_PROXY) as gate:
        client = await gate.connect()
        client.send(b"PROXY TCP4 ")
        assert await client.closed()
        assert "no_proxy_header" in capsys.readouterr().out


async def test_bad_headers_are_logged_once_and_nothing_of_them(tmp_path, capsys):
    async with receiver(tmp_path, **BEHIND_PROXY) as gate:
        for _ in range(20):
            client = await gate.connect()
            client.send(b"PROXY \x1b[31mEVIL\r\n")
            assert await client.closed()
        logged = capsys.readouterr().out
        assert logged.count("no_proxy_header") == 1
        assert "EVIL" not in logged
        assert "127.0.0.1" in logged


async def test_a_balancer_that_only_looks_whether_we_are_there_is_no_news(tmp_path, capsys):
    async with receiver(tmp_path, **BEHIND_PROXY) as gate:
        (await gate.connect()).vanish()
        (await gate.connect()).writer.write_eof()
        await gate.left()
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("header", [header for header, _ in HEADERS.values()], ids=HEADERS)
async def test_nobody_else_is_believed(tmp_path, header):
    async with receiver(tmp_path, proxy_networks=(ipaddress.ip_network("192.0.2.0/24"),)) as gate:
        client = await gate.client()
        client.send(header)
        assert (await client.reply()).startswith("500 5.5.2")
        (connection,) = gate.server._common.connections
        assert connection.session.address == "127.0.0.1"
