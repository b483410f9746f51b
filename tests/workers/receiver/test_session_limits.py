"""Limits of one session: messages, commands that lead to nothing, unknown recipients."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.clients import Account
from pipeline.clock import Clock
from pipeline.limits import Limiter
from pipeline.settings import Settings
from tests.support.receiver import receiver
from tests.workers.receiver.test_tls import blind
from workers.receiver import guard as guard_module
from workers.receiver.guard import NO_BOUNDS, TARPIT, TARPIT_TOTAL, Bounds, Guard

MESSAGE = b"Subject: hello\r\n\r\nbody\r\n"
MAIL = b"MAIL FROM:<a@b.example>\r\n"
NOBODY = b"RCPT TO:<nobody@example.test>\r\n"
LIMITED = {"unlimited_networks": ()}
ENOUGH = "421 4.7.0 Enough messages over this connection: connect again for the next"
ERRORS = "421 4.7.0 Too many commands that led to no message, closing the connection"
LAST = "421 4.7.0 Too many unknown recipients in this session: remove them from your list, then connect again"


async def announced(client) -> set[str]:
    await client.expect("220")
    client.send(b"EHLO x\r\n")
    return {line[4:] for line in await client.lines() if "LIMITS" in line}


async def test_the_limits_of_a_session_are_announced_before_and_after_starttls(tmp_path):
    async with receiver(tmp_path, session_messages=7, max_recipients=200, **LIMITED) as gate:
        client = await gate.connect()
        assert await announced(client) == {"LIMITS MAILMAX=7 RCPTMAX=200"}
        await client.start_tls(blind())
        client.send(b"EHLO x\r\n")
        assert "250-LIMITS MAILMAX=7 RCPTMAX=200" in await client.lines()


async def test_who_has_no_limits_is_told_only_how_many_recipients_a_message_may_have(gate):
    assert await announced(await gate.connect()) == {"LIMITS RCPTMAX=1000"}


async def test_after_so_many_messages_the_session_is_closed(tmp_path):
    async with receiver(tmp_path, session_messages=3, **LIMITED) as gate:
        client = await gate.client()
        for _ in range(3):
            assert (await client.deliver(MESSAGE)).startswith("250")
        assert await client.ask(b"MAIL FROM:<>") == ENOUGH
        assert await client.closed()
        assert len(gate.intake.accepted) == 3


async def test_a_mail_that_failed_counts_as_one(tmp_path):
    async with receiver(tmp_path, session_messages=3, **LIMITED) as gate:
        client = await gate.client()
        client.send(b"MAIL FROM:<a b@c.example>\r\n" + MAIL + MAIL + MAIL)
        await client.expect("501", "250", "503", "421 4.7.0 Enough")


NOTHING = [
    (b"NOOP\r\n", "250"),
    (b"RSET\r\n", "250"),
    (b"VRFY user\r\n", "252"),
    (b"HELP\r\n", "214"),
    (b"EXPN staff\r\n", "502"),
    (b"AUTH PLAIN\r\n", "502"),
    (b"junk\r\n", "500"),
    (b"\r\n", "500"),
    (b"NOOP\n", "500"),
    (b"X" * 3000 + b"\r\n", "500"),
    (b"RSET now\r\n", "501"),
    (b"EHLO a b\r\n", "501"),
    (b"HELO\r\n", "501"),
    (b"HELO again\r\n", "250"),
    (b"RCPT TO:<user@example.test>\r\n", "503"),
    (b"DATA\r\n", "503"),
    (b"MAIL FROM:<a b@c.example>\r\n", "501"),
    (b"MAIL FROM:<a@b.example> SIZE=99999999\r\n", "552"),
    (MAIL + b"RCPT TO:<x@elsewhere.example>\r\nRSET\r\n", "250 550 250"),
    (MAIL + MAIL + b"RSET\r\n", "250 503 250"),
    (MAIL + b"DATA\r\nRSET\r\n", "250 503 250"),
    (MAIL + b"RCPT TO:<user@example.test>\r\nDATA\r\na\nb\r\n.\r\n", "250 250 354 550"),
]


@pytest.mark.parametrize(("words", "codes"), NOTHING, ids=lambda value: str(value)[:40])
async def test_commands_that_lead_to_nothing_end_the_session(tmp_path, words, codes):
    """Each of these says as often as 421 may take: 12 wasted commands, whether they come with one or two at a time."""
    each = 2 if words.endswith(b"RSET\r\n") and codes != "250" else 1
    async with receiver(tmp_path, session_wasted=12, **LIMITED) as gate:
        client = await gate.client()
        for _ in range(12 // each):
            client.send(words)
            await client.expect(*codes.split())
        client.send(b"NOOP\r\n")
        assert await client.reply() == ERRORS
        assert await client.closed()


async def test_another_greeting_leads_to_nothing_but_the_one_after_starttls_does(tmp_path):
    async with receiver(tmp_path, session_wasted=1, **LIMITED) as gate:
        client = await gate.client()
        await client.start_tls(blind())
        await client.ask(b"EHLO client.example")
        assert (await client.deliver(MESSAGE)).startswith("250")
        assert (await client.ask(b"EHLO client.example")).startswith("250 ")
        client.send(b"EHLO client.example\r\n")
        assert (await client.lines())[-1] == ERRORS


async def test_pipelined_waste_is_ended_where_it_is_too_much_and_nothing_after_it_is_done(tmp_path):
    async with receiver(tmp_path, session_wasted=5, **LIMITED) as gate:
        client = await gate.client()
        client.send(b"NOOP\r\n" * 6 + MAIL + b"RCPT TO:<user@example.test>\r\nDATA\r\n" + MESSAGE + b".\r\n")
        await client.expect(*["250 2.0.0"] * 5, "421 4.7.0")
        assert await client.closed()
        assert gate.intake.accepted == []


async def test_normal_use_is_never_near_the_limit(tmp_path):
    """What mail servers say besides: a NOOP to keep a connection, a RSET before or after each message, one bad recipient."""
    async with receiver(tmp_path, session_wasted=6, session_unknown=1000, **LIMITED) as gate:
        client = await gate.client()
        for _ in range(50):
            client.send(b"NOOP\r\nRSET\r\n" + MAIL + NOBODY + b"RCPT TO:<x@elsewhere.example>\r\n")
            await client.expect("250", "250", "250", "550 5.1.1", "550 5.7.1")
            client.send(b"RSET\r\n")
            await client.expect("250")
            assert (await client.deliver(MESSAGE)).startswith("250")


async def test_many_unlisted_recipients_of_good_mail_are_put_off_and_nobody_is_thrown_out(tmp_path):
    async with receiver(tmp_path, max_recipients=100, session_wasted=5, **LIMITED) as gate:
        client = await gate.client()
        client.send(MAIL + b"".join(b"RCPT TO:<u%d@all.test>\r\n" % n for n in range(200)))
        await client.expect("250", *["250 2.1.5"] * 100, *["452 4.5.3"] * 100)
        client.send(b"DATA\r\n" + MESSAGE + b".\r\n")
        await client.expect("354", "250")


async def test_nobody_may_be_put_off_for_ever(tmp_path):
    async with receiver(tmp_path, max_recipients=100, **LIMITED) as gate:
        gate.pressure.reason = "disk"
        client = await gate.client()
        for _ in range(50):
            client.send(MAIL + b"RSET\r\n")
            await client.expect("452 4.3.1", "250")
        client.send(MAIL * 51)
        await client.expect(*["452 4.3.1"] * 50, "421 4.7.0")


async def test_the_last_unknown_recipient_ends_the_session_and_none_before(tmp_path, monkeypatch):
    monkeypatch.setattr(guard_module, "TARPIT", 0.001)
    async with receiver(tmp_path, session_unknown=6, **LIMITED) as gate:
        client = await gate.client()
        client.send(MAIL + NOBODY * 6 + b"NOOP\r\n")
        await client.expect("250", *["550 5.1.1"] * 5, "421 4.7.0")
        assert await client.closed()
        again = await gate.client()
        again.send(MAIL + NOBODY * 3 + b"RCPT TO:<user@example.test>\r\n" + NOBODY)
        await again.expect("250", *["550 5.1.1"] * 3, "250 2.1.5", "550 5.1.1")


async def resting(gate, count=1):
    async with asyncio.timeout(10):
        while sum(connection._resting is not None for connection in gate.server._common.connections) < count:
            await asyncio.sleep(0.005)


@pytest.fixture
def for_ever(monkeypatch):
    """A delay that no test would outlive."""
    monkeypatch.setattr(guard_module, "TARPIT", 3600.0)
    monkeypatch.setattr(guard_module, "TARPIT_TOTAL", 36_000.0)


@pytest.mark.usefixtures("for_ever")
async def test_from_half_of_the_unknown_recipients_on_answers_are_held_back_and_nobody_else_waits(tmp_path):
    async with receiver(tmp_path, session_unknown=6, **LIMITED) as gate:
        client = await gate.client()
        client.send(MAIL + NOBODY * 5 + b"NOOP\r\n")
        await client.expect("250", *["550 5.1.1"] * 3)
        await resting(gate)
        client.send(b"NOOP\r\n" * 100)
        other = await gate.client()
        assert (await other.deliver(MESSAGE)).startswith("250")
        (connection,) = [one for one in gate.server._common.connections if one._resting]
        connection._rouse()
        await client.expect("550 5.1.1")
        await resting(gate)


@pytest.mark.usefixtures("for_ever")
@pytest.mark.parametrize("how", ["vanishes", "is shut out", "is cut"])
async def test_who_is_held_back_can_end_at_any_time(tmp_path, how):
    async with receiver(tmp_path, session_unknown=4, **LIMITED) as gate:
        client = await gate.client()
        client.send(MAIL + NOBODY * 3)
        await client.expect("250", "550", "550")
        await resting(gate)
        if how == "vanishes":
            client.vanish()
        elif how == "is shut out":
            closing = asyncio.ensure_future(gate.server.close(grace=0.05))
            assert await client.reply() == "421 4.3.2 Service is going down, try again later"
            await closing
        else:
            next(iter(gate.server._common.connections)).cut()
        await gate.left()
        assert await client.closed()


@pytest.mark.usefixtures("for_ever")
async def test_who_sends_much_while_it_is_held_back_is_read_no_further_than_the_bound(tmp_path):
    async with receiver(tmp_path, session_unknown=4, **LIMITED) as gate:
        client = await gate.client()
        client.send(MAIL + NOBODY * 3)
        await resting(gate)
        (connection,) = gate.server._common.connections
        client.send(NOBODY * 50_000)
        async with asyncio.timeout(10):
            while not connection._held:
                await asyncio.sleep(0.005)
        assert len(connection._input) < (64 << 10) + (256 << 10)


def test_the_delays_of_one_session_have_a_bound():
    guard = Guard(Limiter(None, Settings(), clock=Clock(int)), Account("x", [1e9] * 5, 1), Bounds(unknown=1000))
    delays = []
    for _ in range(999):
        assert asyncio.run(guard.unknown()) is None
        delays.append(guard.tarpit())
    assert delays[:500] == [0] * 500
    assert delays[500] == TARPIT
    assert sum(delays) == TARPIT_TOTAL
    assert delays[-1] == 0


async def test_without_limits_nothing_is_too_much():
    guard = Guard(Limiter(None, Settings(), clock=Clock(int)), None, NO_BOUNDS)
    for _ in range(10_000):
        assert await guard.message() is None
        assert await guard.recipient() is None
        assert await guard.wasted() is None
        assert await guard.unknown() is None
        assert guard.tarpit() == 0
    guard.delivered()
    guard.leave()
    guard.leave()
