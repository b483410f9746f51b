"""What it costs to scan a message, step by step: `python -m bench.scanning --help`.

The scanner's own parts in this process, with a Redis server and a DNS server beside it: the processor time of this process for each
message. *In all* is what a scanner does with messages that lie in its stream, from reading them there to their events being stored; the
steps are its parts alone, each called again and again, so what is between *in all* and their sum is Redis's client, tasks and the like.
"""

from __future__ import annotations

import argparse
import base64
import functools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Final

import uvloop

from bench.quarantine import server
from bench.report import present
from bench.systems import BenchError
from pipeline import keys
from pipeline.configuration import load
from pipeline.directory import Address, Domain
from pipeline.events import Client, RecipientSpec
from pipeline.ids import partition_for
from pipeline.intake import Envelope
from pipeline.resolver import Resolver
from pipeline.scanning import policy
from pipeline.scanning.engine import Engine, LocalEngine, Mail, Report
from pipeline.state import Message, Recipient, Stage
from pipeline.store import Store
from tests.support.dns import Names
from workers.consume import Entry, ensure_groups
from workers.roles import tune_collector
from workers.scanner import Scanner
from workers.scanning import engines, examine, views_of
from workers.wiring import Wiring

DOMAIN: Final = "bench.example"
PARTITION: Final = partition_for(DOMAIN, 8)
SENDER: Final = "sender@client.example"
PERSON: Final = f"user@{DOMAIN}"
CLIENT: Final = Client(address="192.0.2.1", helo="client.example")
BATCH: Final = 64
"""Entries of one read, as the scanner's consumer has them."""
US: Final = 1e6
TOTAL: Final = "in all"

WORDS: Final = (
    "the order of last week is on its way to you and will be there on Monday at noon or a little later we have written down what was "
    "said in the meeting and would like to hear from all of you what is missing thank you for the plan and the pictures of the house"
)

NOW: Final = formatdate()

_BARE: Final = (
    f"From: <{SENDER}>\r\nTo: <{PERSON}>\r\nDate: {NOW} (UTC)\r\nMessage-Id: <1a2b.0003.0000@client.example>\r\n"
)
_FULL: Final = (
    f"Received: from desk.client.example ([198.51.100.7]) by mail.client.example with ESMTPSA id 4X1; {NOW}\r\n"
    f"Received: from [10.1.2.3] by desk.client.example with ESMTP id 1; {NOW}\r\n"
    f'From: "Anna Huber" <{SENDER}>\r\nTo: Ben Maier <{PERSON}>\r\nSubject: What we said on =?utf-8?q?Donnerstag_fr=C3=BCh?=\r\n'
    f"Date: {NOW}\r\nMessage-ID: <CAB+9x7=4nG1dkq0w2-zz81@mail.client.example>\r\n"
    f"In-Reply-To: <9d1c@{DOMAIN}>\r\nReferences: <77aa@{DOMAIN}>\r\n <9d1c@{DOMAIN}>\r\nMIME-Version: 1.0\r\nUser-Agent: Some Mail 4.2\r\n"
)


def _text(size: int) -> str:
    """Lines of words, the same ones each time."""
    rng, lines, left = random.Random(1), [], size
    words = WORDS.split()
    while left > 0:
        line = " ".join(rng.choices(words, k=12)).capitalize() + ".\r\n"
        lines.append(line)
        left -= len(line)
    return "".join(lines)


def _crosses(size: int) -> str:
    """As smtp-source writes it."""
    return "".join(f"{number % 10}{'X' * 78}\r\n" for number in range(size // 81))


def _page(size: int) -> str:
    links = "".join(
        f'<p style="color:#333"><a href="https://www.client.example/a/{number}?s=1">See part {number}</a></p>\r\n'
        for number in range(1 + size // 2000)
    )
    body = "".join(f"<p>{line}</p>\r\n" for line in _text(size * 3 // 4).splitlines())
    return f'<html><head><style>p {{ margin: 0 }}</style></head><body>{body}{links}<img src="cid:1"></body></html>\r\n'


_STORY: Final = (
    '<table role="presentation" class="col" width="600" cellpadding="0" cellspacing="0" border="0" style="width:600px;background-color:#ffffff"><tr>\r\n'
    '<td align="left" valign="top" class="m0" style="padding:{pad}px 30px 0;font-family:Arial,sans-serif;font-size:16px;color:#333333">\r\n'
    '<a href="https://click.client.example/?qs={mark:040x}" style="text-decoration:none"><img src="https://images.client.example/{mark:x}.png" width="540"'
    ' height="200" alt="Picture" style="display:block;border:0;width:100%;max-width:540px;height:auto"></a>\r\n'
    '<h2 style="margin:0 0 10px;font-size:22px;color:#111111">{head}</h2>\r\n<p style="margin:0 0 16px">{text}&nbsp;<strong>{head}</strong></p>\r\n'
    '<!--[if mso]><v:rect href="https://click.client.example/m/{mark:x}"><center>Go</center></v:rect><![endif]-->\r\n'
    '<table role="presentation" border="0"><tr><td bgcolor="#1a73e8" style="border-radius:4px;padding:12px 24px">'
    '<a href="https://click.client.example/?go={mark:040x}" style="color:#ffffff;font-size:16px">Read on</a></td></tr></table></td></tr></table>\r\n'
)


def _newsletter(size: int) -> str:
    """As shops and houses send it: tables within tables, a style on each element, pictures, links that count."""
    rng, pieces, left = random.Random(2), [], size
    words = WORDS.split()
    while left > 0:
        text = " ".join(rng.choices(words, k=50)).capitalize()
        pieces.append(_STORY.format(pad=rng.choice((10, 24)), mark=rng.getrandbits(160), head=text[:30], text=text))
        left -= len(pieces[-1])
    page = (
        "<html><head><style>.m0{margin:0}@media (max-width:600px){.col{width:100%!important}}</style></head>"
        '<body bgcolor="#f4f4f4"><div style="display:none;max-height:0">What is in it</div>'
        f"{''.join(pieces)}</body></html>\r\n"
    )
    return f"{_FULL}Content-Type: text/html; charset=utf-8\r\n\r\n{page}"


def _part(kind: str, body: str, more: str = "") -> str:
    return f"--=_b\r\nContent-Type: {kind}\r\n{more}\r\n{body}\r\n"


def _alternative(size: int) -> str:
    parts = _part("text/plain; charset=utf-8", _text(size // 4)) + _part(
        "text/html; charset=utf-8", _page(size * 3 // 4)
    )
    return f'{_FULL}Content-Type: multipart/alternative; boundary="=_b"\r\n\r\n{parts}--=_b--\r\n'


def _attached(size: int) -> str:
    octets = b"%PDF-1.7\r\n" + random.Random(1).randbytes(size * 7 // 10)
    encoded = base64.encodebytes(octets).decode().replace("\n", "\r\n")
    named = 'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="Plan 4.pdf"\r\n'
    parts = _part("text/plain; charset=utf-8", _text(1000)) + _part(
        'application/pdf; name="Plan 4.pdf"', encoded, named
    )
    return f'{_FULL}Content-Type: multipart/mixed; boundary="=_b"\r\n\r\n{parts}--=_b--\r\n'


def contents() -> Mapping[str, bytes]:
    """What is scanned: as smtp-source writes it, and as people do."""
    small, large = 4 << 10, 100 << 10
    made = {
        "4 KiB, bare": f"{_BARE}\r\n{_crosses(small)}",
        "4 KiB, text": f"{_FULL}Content-Type: text/plain; charset=utf-8\r\n\r\n{_text(small)}",
        "4 KiB, HTML": _alternative(small),
        "100 KiB, bare": f"{_BARE}\r\n{_crosses(large)}",
        "100 KiB, text": f"{_FULL}Content-Type: text/plain; charset=utf-8\r\n\r\n{_text(large)}",
        "100 KiB, HTML": _alternative(large),
        "100 KiB, newsletter": _newsletter(large),
        "100 KiB, attachment": _attached(large),
    }
    return {name: text.encode() for name, text in made.items()}


class Desk:
    """A scanner and its parts."""

    def __init__(self, wiring: Wiring, names: Resolver) -> None:
        self.wiring = wiring
        self.names = names
        self.engines = engines(wiring, names)
        self.scanner = Scanner(wiring, self.engines, names)
        self.stream = keys.scan(PARTITION)

    async def accept(self, content: bytes, count: int) -> None:
        """As a receiver does."""
        envelope = Envelope(sender=SENDER, recipients=(RecipientSpec(address=PERSON),), client=CLIENT)
        for _ in range(count):
            draft = self.wiring.bodies.draft()
            draft.write(content)
            await self.wiring.intake.accept(envelope, draft)

    async def work(self) -> int:
        """All that lies in the stream; how many they were. Raises BenchError when one of them fails."""
        done = 0
        redis = self.wiring.store.redis
        while rows := await redis.xreadgroup(keys.SCANNERS, "bench", {self.stream: ">"}, count=BATCH):
            entries = [Entry(PARTITION, self.stream, at.decode(), found) for _, all_ in rows for at, found in all_]
            if failed := await self.scanner.handle(entries):
                raise BenchError(f"not scanned: {next(iter(failed.values()))}")
            done += len(entries)
        return done


@asynccontextmanager
async def desk(url: str, names: str, directory: Path) -> AsyncIterator[Desk]:
    """`names`: address and port of a DNS server."""
    given = {
        "data": directory,
        "redis_url": url,
        "resolver": names,
        "hostname": "mx.gateway.example",
        "hot_bodies": "files",
    }
    settings = load(None, {}, given)
    wiring = Wiring(settings, await Store.connect(url, settings.partitions))
    try:
        await wiring.directory.set_domain(Domain(name=DOMAIN, route=("127.0.0.1:25",)), by="bench", now=wiring.clock())
        await wiring.directory.set_addresses({DOMAIN: [Address(local="user")]}, by="bench", now=wiring.clock())
        await wiring.directory.refresh()
        await ensure_groups(wiring.store.redis, [keys.scan(PARTITION)], keys.SCANNERS)
        yield Desk(wiring, Resolver(names))
    finally:
        await wiring.close()


def head(content: bytes, now: int) -> Message:
    return Message(
        id="0k3x9v2qd7m1c0f5tz8a03", version=1, domain=DOMAIN, sender=SENDER, size=len(content), received_at=now,
        recipients=(Recipient(address=PERSON, stage=Stage.RECEIVED),), expires=now + 10**15, client=CLIENT,
    )  # fmt: skip


class Steps:
    """The steps of one message, each to be called as often as one likes."""

    def __init__(self, desk: Desk, content: bytes) -> None:
        self._desk = desk
        self._content = content
        self._message = head(content, desk.wiring.clock())

    async def prepare(self) -> None:
        """What the later steps are given of the earlier ones."""
        self._mail, self._report = await self._examined(self._desk.engines)
        views = await views_of(self._desk.wiring, self._mail, "")
        self._verdict = policy.judge(self._report, self._message, self._desk.wiring.settings, views)

    def all(self) -> Mapping[str, Callable[[], Awaitable[object]]]:
        return {
            "header, SPF, DKIM, DMARC": functools.partial(self._examined, ()),
            "that, and all engines": functools.partial(self._examined, self._desk.engines),
            "parts and their text": self._read,
            "policy": self._judge,
            "events and the step": self._record,
        }

    async def _examined(self, looking: Sequence[Engine | LocalEngine]) -> tuple[Mail, Report]:
        return await examine(self._desk.wiring, looking, self._desk.names, self._message, self._content)

    async def _read(self) -> object:
        mail = Mail(self._message, self._content, header=self._mail.header)
        return mail.flaws, mail.reading

    async def _judge(self) -> object:
        views = await views_of(self._desk.wiring, self._mail, "")
        return policy.judge(self._report, self._message, self._desk.wiring.settings, views)

    async def _record(self) -> object:
        entry = Entry(PARTITION, self._desk.stream, "1-1", {})
        return self._desk.scanner.decided(self._message, self._mail, self._verdict, (), entry)


async def alone(step: Callable[[], Awaitable[object]], seconds: float) -> float:
    """Microseconds of processor time of one step."""
    done = 0
    until = time.monotonic() + seconds
    began = time.process_time()
    while time.monotonic() < until:
        for _ in range(20):
            await step()
        done += 20
    return (time.process_time() - began) * US / done


async def whole(at: Desk, content: bytes, count: int) -> float:
    """Microseconds of processor time of one message, all of it."""
    await at.accept(content, count)
    began = time.process_time()
    if await at.work() != count:
        raise BenchError("some messages were not in the stream")
    return (time.process_time() - began) * US / count


Figures = dict[str, dict[str, list[float]]]
"""By step, by message: microseconds, of each round."""


async def bench(at: Desk, given: Mapping[str, bytes], rounds: int, messages: int, seconds: float) -> Figures:
    figures: Figures = {}

    def add(step: str, name: str, spent: float) -> None:
        figures.setdefault(step, {}).setdefault(name, []).append(spent)

    for content in given.values():
        await whole(at, content, min(messages, BATCH))
    for _ in range(rounds):
        for name, content in given.items():
            steps = Steps(at, content)
            await steps.prepare()
            add(TOTAL, name, await whole(at, content, messages))
            for title, step in steps.all().items():
                add(title, name, await alone(step, seconds))
    return figures


def table(figures: Figures) -> str:
    names = list(dict.fromkeys(name for row in figures.values() for name in row))
    lines = [f"{'CPU us a message, medians':28}" + "".join(f"{name:>21}" for name in names)]
    for step, row in figures.items():
        lines.append(f"{step:28}" + "".join(f"{statistics.median(row[name]):21,.0f}" for name in names))
    return "\n".join(lines)


async def run(given: Mapping[str, bytes], rounds: int, messages: int, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="gpb-") as path, server(Path(path)) as url:
        async with Names({}) as names, desk(url, f"127.0.0.1:{names.port}", Path(path)) as at:
            return await bench(at, given, rounds, messages, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.scanning", description="Processor time of scanning a message.")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each; default 5")
    parser.add_argument("--messages", type=int, default=640, help="of a run, in all; default 640")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each step of a run; default 0.2")
    parser.add_argument("--only", default="", help="messages whose name has this in it, e.g. '4 KiB' or 'HTML'")
    given = parser.parse_args()
    chosen = {name: content for name, content in contents().items() if given.only in name}
    tune_collector()
    figures = uvloop.run(run(chosen, given.rounds, given.messages, given.seconds))
    return present(table(figures))


if __name__ == "__main__":
    os.environ.pop("PYTHONDEVMODE", None)
    sys.exit(main())
