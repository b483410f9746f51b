"""What it costs to send a message over an open session: `python -m bench.sending --help`.

A deliverer's own session, in this process, to smtp-sink: the processor time of this process for each message, in user and in
kernel mode, and that of doubling the dots alone.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import uvloop

from bench.load import Sink
from bench.report import OURS, Figures, present, table
from bench.systems import BenchError
from pipeline.outcome import Kind
from pipeline.outgoing import Outgoing
from pipeline.route import Target
from pipeline.settings import Settings
from pipeline.state import Message, Recipient, Stage
from workers.deliverer.commands import stuffed
from workers.deliverer.session import Session

HEAD: Final = (
    b"From: <a@client.example>\r\nTo: <user@bench.example>\r\nSubject: one\r\nMessage-ID: <1@client.example>\r\n\r\n"
)
TOP: Final = b"Received: from client.example ([192.0.2.1])\r\n\tby gateway.example with ESMTP id 1;\r\n\tMon, 23 Nov 2026 10:00:00 +0000\r\n"
RECIPIENT: Final = Recipient(address="user@bench.example", stage=Stage.QUEUED)


def text(size: int, line: bytes) -> bytes:
    return HEAD + line * ((size - len(HEAD)) // len(line))


def encoded(size: int) -> bytes:
    """Base64, as attachments are."""
    lines = base64.encodebytes(random.Random(1).randbytes(size * 3 // 4)).replace(b"\n", b"\r\n")
    return (HEAD + lines)[: size - 2] + b"\r\n"


CONTENTS: Final[Mapping[str, bytes]] = {
    "4 KiB of text": text(4 << 10, b"Some words about lunch. At noon, or later?\r\n"),
    "100 KiB of base64": encoded(100 << 10),
    "100 KiB of text": text(100 << 10, b"Some words about lunch. At noon, or later?\r\n"),
    "100 KiB, a dot in front of each line": text(100 << 10, b".Some words about lunch. At noon, or later?\r\n"),
    "5 MiB of base64": encoded(5 << 20),
}


def message(content: bytes) -> Message:
    return Message(
        id="0k3x9v2qd7m1c0f5tz8a03",
        version=3,
        domain="bench.example",
        sender="a@client.example",
        recipients=(RECIPIENT,),
        size=len(content),
        received_at=0,
        expires=0,
    )


async def send(port: int, content: bytes, seconds: float) -> float:
    """Milliseconds of processor time for one message, over one session, for about so long."""
    target = Target(server=f"127.0.0.1:{port}", host="127.0.0.1", address="127.0.0.1", port=port)
    session = await Session.open(target, hostname="gateway.example", settings=Settings())
    head = message(content)
    sent = 0
    until = time.monotonic() + seconds
    began = time.process_time()
    try:
        while time.monotonic() < until:
            outcomes = await session.deliver(head, [RECIPIENT], Outgoing(TOP, content), lambda: True)
            outcome = outcomes[RECIPIENT.address]
            if outcome.kind is not Kind.ACCEPTED:
                raise BenchError(f"smtp-sink said {outcome.attempt.reply}")
            sent += 1
        return (time.process_time() - began) / sent * 1000
    finally:
        await session.quit(5)
        await asyncio.sleep(0)  # the connection's last callback


def alone(content: bytes, seconds: float) -> float:
    """Milliseconds for the dots alone."""
    done = 0
    until = time.monotonic() + seconds
    began = time.process_time()
    while time.monotonic() < until:
        for _ in stuffed(Outgoing(TOP, content).pieces()):
            pass
        done += 1
    return (time.process_time() - began) / done * 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.sending", description="Measures what sending a message costs.")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each; default 5")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a run; default 1")
    given = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="gpb-") as path, Sink(Path(path), "sending") as sink:
        for _ in range(given.rounds):
            for name, content in CONTENTS.items():
                used = uvloop.run(send(sink.port, content, given.seconds))
                figures.add("CPU of a message sent", name, "ms", OURS, used)
                figures.add("CPU of doubling its dots", name, "ms", OURS, alone(content, given.seconds / 5))
    return present(table(figures))


if __name__ == "__main__":
    os.environ.pop("PYTHONDEVMODE", None)
    sys.exit(main())
