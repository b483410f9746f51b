"""The benchmark measures what it says: each part is tried on a system whose answer is known."""

from __future__ import annotations

import asyncio
import os
import smtplib
import tempfile
from pathlib import Path

import psutil
import pytest

from bench.load import Lone, Sink, blast
from bench.report import Figures, table
from bench.systems import LOAD_DOMAIN, LONE_DOMAIN, BenchError, Postfix, takes_mail
from tests.support import servers


@pytest.mark.parametrize("reuse", [False, True])
def test_every_message_of_a_load_is_counted_once(tmp_path, reuse):
    servers.need("smtp-sink")
    with Sink(tmp_path, "x") as sink:
        accepted, arrived = blast(sink.port, sink, 50, 4096, reuse=reuse)
        assert accepted > 0
        assert arrived > 0
        assert sink.count == 50


def test_a_refused_load_ends_the_benchmark_with_the_reply(tmp_path):
    servers.need("smtp-sink")
    with (
        servers.smtp_sink(tmp_path / "refusing", "-f", "rcpt") as refusing,
        Sink(tmp_path, "x") as sink,
        pytest.raises(BenchError, match="500"),
    ):
        blast(refusing.port, sink, 5, 4096, reuse=False)


@pytest.mark.parametrize("size", [0, 4096, 3 << 20])
async def test_a_lone_message_is_timed_from_connection_and_from_dot(size):
    lone = Lone()
    async with await lone.listen():
        for _ in range(3):
            from_start, from_dot = await lone.send(lone.port, size)
            assert 0 < from_dot < from_start


async def test_the_lone_server_takes_a_message_in_any_pieces_and_what_is_pipelined_after_it():
    lone = Lone()
    async with await lone.listen():
        reader, writer = await asyncio.open_connection("127.0.0.1", lone.port)
        await reader.readline()
        writer.write(b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n")
        assert [(await reader.readline())[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        for piece in (b"Subject: x\r\n\r\n..\r\n.", b"\r", b"\nQU", b"IT\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        assert [(await reader.readline())[:3] for _ in range(2)] == [b"250", b"221"]
        writer.close()
        assert lone.waiting == 1


def test_the_table_shows_medians_and_the_ratio():
    figures = Figures()
    for ours, theirs in ((100.0, 50.0), (300.0, 10.0), (200.0, 90.0)):
        figures.add("4 KiB", "end to end", "messages/s", "Gatepost", ours)
        figures.add("4 KiB", "end to end", "messages/s", "Postfix", theirs)
    figures.add("34 MiB", "CPU", "s", "Postfix", 0.5)
    shown = [line.split() for line in table(figures).splitlines()]
    assert ["end", "to", "end", "messages/s", "200", "50.0", "4.00"] in shown
    assert ["CPU", "s", "-", "0.50", "-"] in shown


def test_the_postfix_that_is_measured_relays_for_the_listed_addresses_alone_and_leaves_nothing_behind():
    servers.need("postfix")
    if os.geteuid() != 0:
        servers.missing("root, which Postfix's master runs as,")
    with tempfile.TemporaryDirectory(prefix="gpb-", dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with Sink(directory, "x") as sink:
            routes = {LOAD_DOMAIN: sink.port, LONE_DOMAIN: sink.port}
            with Postfix(directory / "postfix", routes) as system:
                assert takes_mail(system.port, LONE_DOMAIN)
                with smtplib.SMTP("127.0.0.1", system.port) as client:
                    client.ehlo()
                    client.mail("s@client.example")
                    assert client.rcpt(f"nobody@{LOAD_DOMAIN}")[0] == 550
                    assert client.rcpt("user@elsewhere.example")[0] == 554
                blast(system.port, sink, 20, 4096, reuse=False)
                family = system.processes()
                assert len(family) > 5
            assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)
