"""What happens to the bytes of a message, and what a client can do about pipelining and line ends."""

from __future__ import annotations

import pytest

from pipeline.faults import StoreFullError
from pipeline.units import Size
from tests.support.receiver import receiver

ENVELOPE = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<user@example.test>\r\nDATA\r\n"

SMUGGLING = [
    b"\n.\n", b"\n.\r\n", b"\n.\r", b"\r.\r", b"\r.\r\n", b"\r.\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
    b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\r\n.\n\r\n", b"\n\r.\r\n", b"\n\n.\n\n", b"\r\n.\r\0\n",
]  # fmt: skip


@pytest.mark.parametrize("almost", SMUGGLING)
async def test_what_only_looks_like_an_end_ends_nothing_and_is_refused_at_the_real_end(gate, almost):
    client = await gate.client()
    await client.begin()
    client.send(b"Subject: x\r\n\r\none" + almost + ENVELOPE + b"smuggled\r\n.\r\n")
    assert await client.reply() == "550 5.6.0 Message contains bare CR, bare LF or NUL"
    assert await client.ask(b"NOOP") == "250 2.0.0 OK"
    assert gate.intake.accepted == []


@pytest.mark.parametrize("almost", SMUGGLING)
async def test_normalising_makes_one_message_with_clean_line_ends_of_it(tmp_path, almost):
    async with receiver(tmp_path, bare_newlines="normalise") as gate:
        client = await gate.client()
        await client.begin()
        client.send(b"Subject: x\r\n\r\none" + almost + ENVELOPE + b"smuggled\r\n.\r\n")
        await client.expect("250 2.0.0")
        assert await client.ask(b"NOOP") == "250 2.0.0 OK"
        (body,) = gate.intake.bodies
        assert body.endswith(ENVELOPE + b"smuggled\r\n")
        assert b"\0" not in body
        assert body.count(b"\r\n") == body.count(b"\r") == body.count(b"\n")


async def test_normalising_takes_commands_that_end_with_lf(tmp_path):
    async with receiver(tmp_path, bare_newlines="normalise") as gate:
        client = await gate.client()
        client.send(b"NOOP\n")
        await client.expect("250")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no header\r\n",
        b"\r\n",
        b"Subject: 8-bit \xff\xfe\x80\r\n\r\n\xc3\xa4\xff\r\n",
        b"Subject: x\r\n\r\n" + b"y" * 999 + b"\r\n",
        b"Subject: x\r\n\r\n" + b"z" * 102_400 + b"\r\n",
        b"X: " + b"w" * 1_500_000 + b"\r\n\r\n",
        b"\x01\x02\x7f\x1b[31m\r\n",
        b"H: v\r\n" * 10_000 + b"\r\n",
    ],
)
async def test_bytes_arrive_as_they_were_sent(gate, content):
    client = await gate.client()
    await client.begin()
    client.send(content + b".\r\n")
    await client.expect("250 2.0.0")
    assert gate.intake.bodies == [content]


@pytest.mark.parametrize(("content", "eight_bit"), [(b"plain\r\n", False), (b"p\xe4\r\n", True)])
async def test_undeclared_8_bit_content_is_recorded_as_what_it_is(gate, content, eight_bit):
    client = await gate.client()
    await client.deliver(content)
    assert gate.intake.last.eight_bit is eight_bit


async def test_stuffed_dots_are_undone(gate):
    client = await gate.client()
    await client.begin()
    client.send(b"..first\r\n...\r\n.. \r\na.b\r\n..\r\n.\r\n")
    await client.expect("250 2.0.0")
    assert gate.intake.bodies == [b".first\r\n..\r\n. \r\na.b\r\n.\r\n"]


async def test_one_octet_at_a_time_is_understood(gate):
    client = await gate.client()
    transport = client.writer.transport
    for octet in ENVELOPE + b"Subject: x\r\n\r\n..\r\nslow\r\n.\r\nQUIT\r\n":
        transport.write(bytes([octet]))
        await client.writer.drain()
    await client.expect("250", "250", "354", "250 2.0.0", "221")
    assert gate.intake.bodies == [b"Subject: x\r\n\r\n.\r\nslow\r\n"]


async def test_a_whole_session_in_one_segment_is_answered_in_order(gate):
    client = await gate.connect()
    client.send(
        b"EHLO x\r\n" + ENVELOPE + b"one\r\n.\r\n" + ENVELOPE + b"two\r\n.\r\nRSET\r\nNOOP\r\nfoo\r\nQUIT\r\nNOOP\r\n"
    )
    await client.expect(
        "220", "250", "250", "250", "354", "250", "250", "250", "354", "250", "250", "250", "500", "221"
    )
    assert await client.closed()
    assert gate.intake.bodies == [b"one\r\n", b"two\r\n"]


async def test_pipelined_commands_are_answered_in_one_segment(gate):
    client = await gate.client()
    client.send(b"MAIL FROM:<a@b.example>\r\n" + b"RCPT TO:<user@example.test>\r\n" * 20 + b"NOOP\r\n")
    data = await client.reader.read(1 << 16)
    assert data.count(b"\r\n") == 22


async def test_pipelined_data_without_a_recipient_gets_554_and_its_content_is_not_mail(gate):
    client = await gate.client()
    client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\n")
    await client.expect("250", "550 5.1.1", "554 5.5.1")
    client.send(b"Subject: x\r\n.\r\nRSET\r\n")
    await client.expect("500", "500", "250")


async def test_what_follows_the_dot_waits_for_its_reply(gate):
    client = await gate.client()
    await client.begin()
    client.send(b"one\r\n.\r\n" + ENVELOPE)
    await client.expect("250 2.0.0", "250", "250", "354")
    client.send(b"two\r\n.\r\n")
    await client.expect("250 2.0.0")
    assert gate.intake.bodies == [b"one\r\n", b"two\r\n"]


async def test_a_message_of_exactly_the_limit_passes_and_one_octet_more_does_not(tmp_path):
    async with receiver(tmp_path, max_message_size=Size(1_000_000)) as gate:
        client = await gate.client()
        content = b"x" * 99_998 + b"\r\n"
        await client.begin()
        client.send(content * 10 + b".\r\n")
        await client.expect("250 2.0.0")
        await client.begin()
        client.send(content * 9 + b"x" + content + b".\r\nNOOP\r\n")
        await client.expect("552 5.3.4", "250")
        assert gate.intake.bodies == [content * 10]
        assert gate.drafts.left_behind == []


async def test_stuffed_dots_do_not_count_as_size(tmp_path):
    async with receiver(tmp_path, max_message_size=Size(900)) as gate:
        client = await gate.client()
        await client.begin()
        client.send(b"..\r\n" * 300 + b".\r\n")
        await client.expect("250 2.0.0")


async def test_what_is_too_big_is_read_to_its_end_but_not_kept(tmp_path):
    async with receiver(tmp_path, max_message_size=Size(400_000)) as gate:
        client = await gate.client()
        await client.begin()
        client.send((b"x" * 998 + b"\r\n") * 800)
        await client.writer.drain()
        await gate.idle_drafts()
        client.send((b"x" * 998 + b"\r\n") * 400 + b".\r\n")
        await client.expect("552 5.3.4")


async def test_a_client_that_never_ends_is_cut_off(tmp_path):
    async with receiver(tmp_path, max_message_size=Size(100_000)) as gate:
        client = await gate.client()
        await client.begin()
        client.send((b"x" * 998 + b"\r\n") * 500)
        await client.expect("421 4.7.0")
        assert await client.closed()


async def test_a_disk_that_fills_while_a_message_comes_in_is_temporary(gate, monkeypatch):
    client = await gate.client()
    await client.begin()
    (connection,) = gate.server._common.connections

    def full(chunk):
        raise StoreFullError("full")

    monkeypatch.setattr(connection._incoming.draft, "write", full)
    client.send(b"one\r\ntwo\r\n.\r\n")
    await client.expect("452 4.3.1")
    assert (await client.deliver(b"three")).startswith("250")
