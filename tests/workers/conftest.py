"""A worker's parts on a real Redis, in the test's own process, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pipeline import keys
from pipeline.configuration import load
from pipeline.delays import warn_at
from pipeline.directory import Address, Domain
from pipeline.events import Queued, RecipientSpec, Recorded, Scanned
from pipeline.ids import partition_for, partition_of
from pipeline.intake import Envelope
from pipeline.settings import Settings
from pipeline.state import Message
from pipeline.steps import message_step
from pipeline.store import Store
from tests.support.examples import CLIENT, DOMAIN
from tests.support.servers import RedisServer
from workers.wiring import Wiring

PARTITION = partition_for(DOMAIN, 8)


class Parts(Wiring):
    """Wiring with a clock that can be moved forward."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.offset = 0
        self.stepped = 0
        self.clock = lambda: time.time_ns() + self.offset + self.stepped  # type: ignore[method-assign,assignment]
        self.steady = lambda: time.monotonic_ns() + self.offset  # type: ignore[method-assign,assignment]
        super().__init__(settings, store)

    def forward(self, seconds: float) -> None:
        """Time passes."""
        self.offset += int(seconds * 1e9)

    def step(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.stepped += int(seconds * 1e9)

    async def customer(self, *route: str, domain: str = DOMAIN) -> None:
        await self.directory.set_domain(Domain(name=domain, route=route), by="test", now=self.clock())
        await self.directory.set_addresses({domain: [Address(local="anna"), Address(local="ben")]}, by="test", now=1)

    async def accept(
        self,
        content: bytes = b"Subject: x\r\n\r\nhello\r\n",
        *recipients: str,
        sender: str = "s@elsewhere.test",
        notify: str = "",
    ) -> str:
        """As a receiver does."""
        draft = self.bodies.draft()
        draft.write(content)
        specs = tuple(RecipientSpec(address=one, notify=notify) for one in recipients or (f"anna@{DOMAIN}",))
        (message_id,) = await self.intake.accept(Envelope(sender=sender, recipients=specs, client=CLIENT), draft)
        return message_id

    async def queued(
        self,
        content: bytes = b"Subject: x\r\n\r\nhello\r\n",
        *recipients: str,
        sender: str = "s@elsewhere.test",
        notify: str = "",
    ) -> str:
        """As a receiver and a scanner do."""
        message_id = await self.accept(content, *recipients, sender=sender, notify=notify)
        message = await self.head(message_id)
        assert message is not None
        now = self.clock()
        events = (
            Scanned(at=now, domain=message.domain, verdict="clean", score=0.0),
            Queued(
                at=now,
                domain=message.domain,
                recipients=tuple(r.address for r in message.recipients),
                size=message.size,
                warn_at=warn_at(message, self.settings),
            ),
        )
        await self.log.commit(message_step(message, events, now=now)[0])
        return message_id

    async def head(self, message_id: str) -> Message | None:
        (message,) = await self.schedule.heads(partition_of(message_id), [message_id])
        return message

    async def queue(self, domain: str = DOMAIN) -> list[bytes]:
        """The ids that wait for a domain."""
        return list(await self.store.redis.zrange(keys.queue(partition_for(domain, 8), domain), 0, -1))

    async def events(self, message_id: str = "") -> list[Recorded]:
        rows = await self.log.read(partition_of(message_id) if message_id else PARTITION, "0", 10_000)
        return [row for row in rows if isinstance(row, Recorded) and message_id in ("", row.subject)]

    async def kinds(self, message_id: str = "") -> list[str]:
        return [type(row.event).__name__ for row in await self.events(message_id)]


@pytest.fixture
async def parts(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Parts]]]:
    """Makes parts, with other settings than the defaults where the test says so; `redis`: on another server than the shared one."""
    made: list[Parts] = []

    async def make(redis: RedisServer = redis_server, **settings: object) -> Parts:
        values = {"allow_networks": "127.0.0.0/8", "hostname": "gateway.test", "data": tmp_path, **settings}
        built = Parts(load(None, {}, values), await Store.connect(redis.url, 8))
        made.append(built)
        return built

    yield make
    for one in made:
        await one.close()


@contextlib.asynccontextmanager
async def running(work: Callable[[asyncio.Event], Awaitable[None]]) -> AsyncIterator[None]:
    """A role's loop beside the test."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(work(stop))
    try:
        yield
    finally:
        stop.set()
        await task
