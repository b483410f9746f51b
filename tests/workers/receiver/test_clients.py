"""Limits of one client over all its connections and over all receivers: what it is told, and that it gets back what it had."""

from __future__ import annotations

import asyncio
import time

import pytest

from pipeline.store import open_client
from pipeline.units import SECOND
from tests.support.receiver import receiver
from tests.workers.receiver.test_connections import STATES

MESSAGE = b"Subject: hello\r\n\r\nbody\r\n"
MAIL = b"MAIL FROM:<a@b.example>"
USER = b"RCPT TO:<user@example.test>"
NOBODY = b"RCPT TO:<nobody@example.test>"
LIMITED = {"unlimited_networks": ()}
AT_ONCE = "421 4.7.0 Too many connections from your address at once: open fewer, and close those you do not use"
TOO_FAST = "421 4.7.0 Too many connections from your address in a minute: send several messages over each"
UNKNOWN = "421 4.7.0 Too many unknown recipients from your address: remove them from your list, and try again later"
WASTED = (
    "421 4.7.0 Too many commands from your address led to no message: look at what is sent there, and try again later"
)


class Clock:
    """The limits' clock, which stands still unless a test moves it."""

    def __init__(self):
        self.now = time.time_ns()

    def __call__(self):
        return self.now

    def forward(self, seconds):
        self.now += round(seconds * SECOND)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def redis(redis_server):
    """A real one, for receivers to share."""
    client = open_client(redis_server.url)
    yield client
    await client.aclose()


async def test_more_connections_at_once_than_allowed_get_421_and_another_client_does_not(tmp_path, clock):
    async with receiver(tmp_path, clock=clock, client_connections=3, **LIMITED) as gate:
        inside = [await gate.client() for _ in range(3)]
        refused = await gate.connect()
        assert await refused.reply() == AT_ONCE
        assert await refused.closed()
        await gate.client(source="127.0.0.2")
        assert await inside[0].ask(b"QUIT") == "221 2.0.0 Bye"
        assert await inside[0].closed()
        await gate.client()
        assert await (await gate.connect()).reply() == AT_ONCE


async def test_more_connections_in_a_minute_than_allowed_get_421(tmp_path, clock):
    async with receiver(tmp_path, clock=clock, client_connection_rate=3, **LIMITED) as gate:
        for _ in range(3):
            assert (await (await gate.client()).ask(b"QUIT")).startswith("221")
        assert await (await gate.connect()).reply() == TOO_FAST
        clock.forward(20)
        await gate.client()
        assert await (await gate.connect()).reply() == TOO_FAST


async def test_more_messages_in_a_minute_than_allowed_get_451_at_mail_and_the_session_goes_on(tmp_path, clock):
    async with receiver(tmp_path, clock=clock, client_message_rate=3, **LIMITED) as gate:
        first, second = await gate.client(), await gate.client()
        for client in (first, second, first):
            assert (await client.deliver(MESSAGE)).startswith("250")
        assert (await second.ask(MAIL)).startswith("451 4.7.1 Too many messages from your address in a minute")
        assert (await second.ask(USER)).startswith("503")
        other = await gate.client(source="127.0.0.2")
        assert (await other.deliver(MESSAGE)).startswith("250")
        clock.forward(20)
        assert (await second.deliver(MESSAGE)).startswith("250")
        assert len(gate.intake.accepted) == 5


async def test_more_recipients_in_a_minute_than_allowed_get_451_and_the_others_their_mail(tmp_path, clock):
    async with receiver(tmp_path, clock=clock, client_recipient_rate=3, **LIMITED) as gate:
        client = await gate.client()
        client.send(MAIL + b"\r\n" + b"".join(b"RCPT TO:<u%d@all.test>\r\n" % n for n in range(5)) + b"DATA\r\n")
        await client.expect("250", *["250 2.1.5"] * 3, *["451 4.7.1 Too many recipients"] * 2, "354")
        client.send(MESSAGE + b".\r\n")
        await client.expect("250 2.0.0")
        assert [spec.address for spec in gate.intake.last.recipients] == ["u0@all.test", "u1@all.test", "u2@all.test"]
        await client.ask(MAIL)
        assert (await client.ask(USER)).startswith("451 4.7.1")
        assert await client.ask(b"DATA") == "554 5.5.1 No valid recipients"


async def test_unknown_recipients_of_all_its_connections_close_a_client_out(tmp_path, clock):
    async with receiver(tmp_path, clock=clock, client_unknown_rate=4, session_unknown=100, **LIMITED) as gate:
        first, second = await gate.client(), await gate.client()
        await first.ask(MAIL)
        await second.ask(MAIL)
        for client in (first, second, first, second):
            assert (await client.ask(NOBODY)).startswith("550 5.1.1")
        assert (await first.ask(USER)).startswith("250 2.1.5")
        assert await first.ask(NOBODY) == UNKNOWN
        assert await first.closed()
        assert await (await gate.connect()).reply() == UNKNOWN
        # Who is inside and does no harm stays.
        assert (await second.ask(USER)).startswith("250 2.1.5")
        await gate.client(source="127.0.0.2")
        clock.forward(900)
        await gate.client()


async def test_wasted_commands_of_all_its_connections_close_a_client_out(tmp_path, clock):
    async with receiver(tmp_path, clock=clock, client_wasted_rate=6, session_wasted=100, **LIMITED) as gate:
        first, second = await gate.client(), await gate.client()
        for client in (first, second):
            # The first four may be how it works.
            client.send(b"NOOP\r\n" * 7)
            await client.expect(*["250 2.0.0"] * 7)
        assert await first.ask(b"NOOP") == WASTED
        assert await first.closed()
        assert await (await gate.connect()).reply() == WASTED
        clock.forward(600)
        await gate.client()


async def test_a_session_that_delivered_nothing_is_charged_for_all_it_wasted(tmp_path, clock):
    async with receiver(tmp_path, clock=clock, client_wasted_rate=6, **LIMITED) as gate:
        for count in (4, 2):
            client = await gate.client()
            client.send(b"VRFY x\r\n" * count + b"QUIT\r\n")
            await client.expect(*["252 2.0.0"] * count, "221")
            await gate.left()
        assert await (await gate.connect()).reply() == WASTED


async def test_a_session_that_delivered_something_is_not_charged_for_its_few(tmp_path, clock):
    async with receiver(tmp_path, clock=clock, client_wasted_rate=1, **LIMITED) as gate:
        for _ in range(10):
            client = await gate.client()
            client.send(b"NOOP\r\nRSET\r\nVRFY user\r\n")
            await client.expect("250", "250", "252")
            assert (await client.deliver(MESSAGE)).startswith("250")
            assert (await client.ask(b"RSET")).startswith("250")
            assert (await client.ask(b"QUIT")).startswith("221")
            await gate.left()


async def test_what_we_put_off_is_not_charged_to_the_client(tmp_path, clock):
    async with receiver(
        tmp_path, clock=clock, client_message_rate=1, client_wasted_rate=1, session_wasted=10, **LIMITED
    ) as gate:
        client = await gate.client()
        assert (await client.deliver(MESSAGE)).startswith("250")
        for _ in range(20):
            assert (await client.ask(MAIL)).startswith("451 4.7.1")
            assert (await client.ask(b"RSET")).startswith("250")
        assert (await client.ask(b"QUIT")).startswith("221")
        await gate.left()
        await gate.client()


async def test_networks_without_limits_cost_no_call_and_are_not_limited(tmp_path, clock):
    class Nobody:
        """A Redis that must not be asked."""

    tight = dict.fromkeys(
        ["client_connections", "client_connection_rate", "client_message_rate", "client_recipient_rate",
         "client_wasted_rate", "client_unknown_rate", "session_messages", "session_wasted", "session_unknown"], 1,
    )  # fmt: skip
    async with receiver(tmp_path, redis=Nobody(), clock=clock, **tight) as gate:
        clients = [await gate.client() for _ in range(3)]
        for client in clients * 2:
            client.send(b"NOOP\r\nJUNK\r\n" + MAIL + b"\r\n" + NOBODY + b"\r\n" + NOBODY + b"\r\nRSET\r\n")
            await client.expect("250", "500", "250", "550", "550", "250")
            assert (await client.deliver(MESSAGE, b"<>", b"<user@example.test>", b"<other@example.test>")).startswith(
                "250"
            )
        assert gate.limiter.clients == 0


async def test_receivers_that_share_a_store_share_the_limits(tmp_path, clock, redis):
    settings = {"redis": redis, "clock": clock, "client_connections": 3, "client_message_rate": 4, **LIMITED}
    async with receiver(tmp_path / "one", **settings) as one, receiver(tmp_path / "two", **settings) as two:
        clients = [await one.client(), await two.client(), await one.client()]
        assert await (await one.connect()).reply() == AT_ONCE
        assert await (await two.connect()).reply() == AT_ONCE
        for client in clients:
            assert (await client.deliver(MESSAGE)).startswith("250")
        assert (await clients[1].deliver(MESSAGE)).startswith("250")
        for client in clients:
            assert (await client.ask(MAIL)).startswith("451 4.7.1")
        assert (await clients[0].ask(b"QUIT")).startswith("221")
        assert await clients[0].closed()
        async with asyncio.timeout(10):
            while not (await (await two.connect()).reply()).startswith("220"):
                clock.forward(0.02)


async def test_a_receiver_that_is_closed_leaves_its_slots_to_the_others(tmp_path, clock, redis):
    settings = {"redis": redis, "clock": clock, "client_connections": 3, **LIMITED}
    async with receiver(tmp_path / "one", **settings) as one, receiver(tmp_path / "two", **settings) as two:
        idle, busy, stuck = await two.client(), await two.client(), await two.client()
        await busy.begin()
        await stuck.begin()
        assert await (await one.connect()).reply() == AT_ONCE
        closing = asyncio.ensure_future(two.server.close(grace=1))
        assert await idle.reply() == "421 4.3.2 Service is going down, try again later"
        busy.send(b"x\r\n.\r\n")
        await busy.expect("250", "421 4.3.2")
        await closing
        await two.limiter.close()
        clock.forward(0.02)
        for _ in range(3):
            await one.client()


@pytest.mark.parametrize("sent", STATES.values(), ids=STATES)
@pytest.mark.parametrize("how", ["vanishes", "stops sending"])
async def test_whatever_it_did_a_client_that_is_gone_has_its_slot_back(tmp_path, clock, sent, how):
    async with receiver(tmp_path, clock=clock, client_connections=1, client_wasted_rate=0, **LIMITED) as gate:
        client = await gate.connect()
        await client.expect("220")
        client.send(sent)
        await client.writer.drain()
        if how == "vanishes":
            client.vanish()
        else:
            client.writer.write_eof()
            async with asyncio.timeout(10):
                await client.reader.read()
        await gate.left()
        await gate.client()
        (account,) = gate.limiter._accounts.values()
        assert (account.sessions, account.slots) == (1, 1)


async def test_a_client_that_vanishes_while_it_is_asked_about_has_its_slot_back(tmp_path, clock, redis):
    async with receiver(tmp_path, redis=redis, clock=clock, client_connections=5, **LIMITED) as gate:
        for _ in range(3):
            for client in [await gate.connect() for _ in range(5)]:
                client.vanish()
            await gate.left()
            clock.forward(0.02)
        assert [account.sessions for account in gate.limiter._accounts.values()] == [0]
        for _ in range(5):
            await gate.client()


async def test_without_redis_there_are_no_limits(tmp_path, own_redis):
    redis = open_client(own_redis.url)
    own_redis.kill()
    async with receiver(tmp_path, redis=redis, client_connections=1, client_message_rate=1, **LIMITED) as gate:
        for client in [await gate.client() for _ in range(5)]:
            assert (await client.deliver(MESSAGE)).startswith("250")
    await redis.aclose()
