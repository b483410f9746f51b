"""The benchmark of sending sends what it says, and says what was refused."""

from __future__ import annotations

import asyncio

import pytest

from bench.load import Sink
from bench.sending import CONTENTS, alone, send
from bench.systems import BenchError
from tests.support import servers


def test_each_message_is_at_the_server(tmp_path):
    servers.need("smtp-sink")
    with Sink(tmp_path, "x") as sink:
        for content in CONTENTS.values():
            before = sink.count
            assert asyncio.run(send(sink.port, content, 0.05)) > 0
            assert sink.count > before
            assert alone(content, 0.01) > 0


def test_a_refusal_ends_it(tmp_path):
    with servers.smtp_sink(tmp_path / "refusing", "-f", ".") as refusing, pytest.raises(BenchError, match="500"):
        asyncio.run(send(refusing.port, next(iter(CONTENTS.values())), 0.1))


def test_sizes_are_what_their_names_say():
    for name, content in CONTENTS.items():
        number, unit = name.replace(",", "").split()[:2]
        octets = int(number) << {"KiB": 10, "MiB": 20}[unit]
        assert octets - 100 < len(content) <= octets
        assert content.endswith(b"\r\n")
