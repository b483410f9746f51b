"""A receiver on a free port of its own, in front of an intake and a directory that live in memory, and a client that
sends exactly what it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fakeredis
import msgspec
from fakeredis import FakeAsyncRedis

from pipeline.bodies import Draft
from pipeline.brake import FREE, Brake
from pipeline.clock import Clock
from pipeline.directory import Domain
from pipeline.directory.inherit import home
from pipeline.events import Refused
from pipeline.faults import GatepostError
from pipeline.greylist import Greylist
from pipeline.intake import Envelope
from pipeline.limits import Limiter
from pipeline.settings import Settings
from pipeline.units import Endpoint
from tests.support.zone import Zone
from workers.receiver import Parts, Server, serve
from workers.receiver.greylisting import Greylisting

PATIENCE = 10.0
"""Seconds after which a silent peer fails the test."""


class MemoryDirectory:
    """The reading side of a directory. `away` makes every look-up that would need the store fail."""

    def __init__(self, addresses: Iterable[str] = (), catch_all: Iterable[str] = ()) -> None:
        self._known = {tuple(address.casefold().split("@")) for address in addresses}
        names = [*dict.fromkeys(domain for _, domain in sorted(self._known)), *catch_all]
        self._domains = {
            name: Domain(name=name, catch_all=name in tuple(catch_all), created_at=number)
            for number, name in enumerate(names)
        }
        self.late: dict[str, Domain] = {}
        """Domains that only a look into the store finds."""
        self.away: GatepostError | None = None
        self.utf8 = True
        """Whether the servers of all domains take SMTPUTF8."""

    def change(self, name: str, **fields: object) -> None:
        self._domains[name] = msgspec.structs.replace(self._domains[name], **fields)

    async def takes_smtputf8(self, domain: Domain) -> bool:
        return self.utf8

    def home(self, name: str) -> Domain | None:
        return home(self._domains, name)

    def domains(self) -> Mapping[str, Domain]:
        return self._domains

    async def find_home(self, name: str) -> Domain | None:
        if self.away:
            raise self.away
        return home({**self._domains, **self.late}, name)

    async def accepts(self, key: str, domain: Domain) -> bool:
        if self.away:
            raise self.away
        return (key, domain.name) in self._known


def _taken_over(draft: Draft) -> bytes:
    body = draft.hot if draft.hot is not None else Path(draft.sync()).read_bytes()
    assert len(body) == draft.size
    draft.discard()
    return bytes(body)


@dataclass
class MemoryIntake:
    """Keeps what it accepts; fails with `fault`; waits at `gate` while that is closed."""

    accepted: list[tuple[Envelope, bytes]] = field(default_factory=list)
    fault: Exception | None = None
    gate: asyncio.Event | None = None
    waiting: int = 0

    async def accept(self, envelope: Envelope, draft: Draft) -> tuple[str, ...]:
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        if self.fault is not None:
            draft.discard()
            raise self.fault
        self.accepted.append((envelope, _taken_over(draft)))
        domains = dict.fromkeys(recipient.address.rpartition("@")[2] for recipient in envelope.recipients)
        return tuple(f"id-{len(self.accepted)}-{domain}" for domain in domains)

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.accepted]

    @property
    def last(self) -> Envelope:
        return self.accepted[-1][0]


@dataclass
class MemoryRecord:
    """Refusals, and loops, in the order in which they were found."""

    refused: list[Refused] = field(default_factory=list)
    loops: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, refused: Refused) -> None:
        self.refused.append(refused)

    async def found(self, domain: str, client: str, recipient: str) -> bool:
        self.loops.append((domain, client, recipient))
        return True

    @property
    def reasons(self) -> list[str]:
        return [refused.reason for refused in self.refused]


@dataclass
class MemoryPressure:
    reason: str | None = None
    brake: Brake = FREE


class Drafts:
    """Real drafts in a directory whose emptiness can be looked at. `refuse` stands for a full disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.refuse: Exception | None = None

    def draft(self) -> Draft:
        if self.refuse:
            raise self.refuse
        return Draft(self.directory)

    @property
    def left_behind(self) -> list[str]:
        return [path.name for path in self.directory.iterdir()]


class Client:
    """One connection, driven byte by byte by the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def lines(self) -> list[str]:
        """One reply, all its lines; empty at the end of the connection."""
        lines: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while not lines or lines[-1][3:4] == "-":
                line = await self.reader.readline()
                if not line:
                    break
                assert line.endswith(b"\r\n")
                lines.append(line[:-2].decode("ascii"))
        return lines

    async def reply(self) -> str:
        """The last line of the next reply."""
        return (await self.lines() or ["closed"])[-1]

    async def ask(self, data: bytes) -> str:
        self.send(data + b"\r\n")
        return await self.reply()

    async def expect(self, *codes: str) -> None:
        """The next replies begin with these."""
        for code in codes:
            reply = await self.reply()
            assert reply.startswith(code), (code, reply)

    async def hello(self, command: bytes = b"EHLO client.example") -> Client:
        await self.expect("220 ")
        self.send(command + b"\r\n")
        await self.expect("250 ")
        return self

    async def begin(self, sender: bytes = b"<a@b.example>", *recipients: bytes) -> None:
        """As far as 354."""
        self.send(b"MAIL FROM:" + sender + b"\r\n")
        await self.expect("250 2.1.0")
        for recipient in recipients or (b"<user@example.test>",):
            self.send(b"RCPT TO:" + recipient + b"\r\n")
            await self.expect("250 2.1.5")
        self.send(b"DATA\r\n")
        await self.expect("354 ")

    async def deliver(self, content: bytes, sender: bytes = b"<a@b.example>", *recipients: bytes) -> str:
        """A whole transaction; `content` as it goes over the wire, with its dots doubled, without the end."""
        await self.begin(sender, *recipients)
        self.send(content + b"\r\n.\r\n")
        return await self.reply()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        self.send(b"STARTTLS\r\n")
        await self.expect("220 2.0.0")
        await self.writer.start_tls(context, server_hostname="mx.example.test")

    async def closed(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    def vanish(self) -> None:
        """Without a word (RST), whatever was still to be read."""
        if not self.writer.is_closing():
            self.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        self.writer.transport.abort()


@dataclass
class Receiver:
    """A running receiver and everything around it."""

    server: Server
    intake: MemoryIntake
    directory: MemoryDirectory
    pressure: MemoryPressure
    drafts: Drafts
    limiter: Limiter
    record: MemoryRecord
    parts: Parts
    clients: list[Client] = field(default_factory=list)

    async def connect(self, source: str = "127.0.0.1") -> Client:
        """`source`: another loopback address is another client."""
        opened = await asyncio.open_connection("127.0.0.1", self.server.port, local_addr=(source, 0))
        client = Client(*opened)
        self.clients.append(client)
        return client

    async def client(self, hello: bytes = b"EHLO client.example", source: str = "127.0.0.1") -> Client:
        return await (await self.connect(source)).hello(hello)

    async def left(self) -> None:
        """Until every connection has ended and what it held is where the limits are."""
        await self.idle()
        await self.left_alone()

    async def left_alone(self) -> None:
        """Until nothing is asked of the place where the limits are."""
        while self.limiter._asking is not None:
            await asyncio.wait([self.limiter._asking])

    async def idle(self) -> None:
        """Until no connection, no task and no draft is left."""
        async with asyncio.timeout(PATIENCE):
            while self.server.sessions or self.server._common.tasks or self.drafts.left_behind:
                await asyncio.sleep(0.005)

    async def idle_drafts(self) -> None:
        """Until no draft is left, whatever the connections do."""
        async with asyncio.timeout(PATIENCE):
            while self.drafts.left_behind:
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def receiver(
    path: Path,
    *,
    redis: Any = None,
    clock: Callable[[], int] = time.time_ns,
    names: Zone | None = None,
    **settings: object,
) -> AsyncIterator[Receiver]:
    """Settings by their names in `gatepost.toml`; durations and sizes already as such. `redis`: where the limits and the greylist
    are, which hold for nobody unless `unlimited_networks` says so; one of its own in memory when there is none. `names`: the DNS.
    """
    directory = MemoryDirectory(["user@example.test", "other@example.test", "user@second.test"], catch_all=["all.test"])
    given = Settings(**{
        "smtp": Endpoint("127.0.0.1:0"), "hostname": "mx.example.test", "data": path / "data", **settings,
    })  # fmt: skip
    drafts = Drafts(path / "drafts")
    drafts.directory.mkdir(parents=True, exist_ok=True)
    store = redis or FakeAsyncRedis(server=fakeredis.FakeServer(), version=(7,))
    record = MemoryRecord()
    parts = Parts(
        directory=directory,
        intake=MemoryIntake(),
        bodies=drafts,
        pressure=MemoryPressure(),
        limiter=Limiter(store, given, clock=Clock(clock)),
        refusals=record,
        greylist=Greylisting(Greylist(store, given), directory, names or Zone({}), "mx.example.test", clock),
        loops=record,
        clock=clock,
    )
    server = await serve(given, parts)
    running = Receiver(server, parts.intake, directory, parts.pressure, drafts, parts.limiter, record, parts)
    tending = asyncio.create_task(parts.limiter.tend())
    try:
        yield running
    finally:
        for client in running.clients:
            client.vanish()
        if running.intake.gate is not None:
            running.intake.gate.set()
        await server.close(grace=1)
        tending.cancel()
        await asyncio.wait([tending])
        await parts.limiter.close()
        if redis is None:
            await store.aclose()
