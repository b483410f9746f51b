"""A real store with what the workers would have done in it, and commands run on it as from a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli import main as entry
from pipeline import configuration
from pipeline.directory import Address, Domain
from pipeline.events import (
    Attempt,
    Client,
    Deferred,
    Delivered,
    Failed,
    Finding,
    MessageEvent,
    Quarantined,
    Queued,
    RecipientSpec,
    RouteDeferred,
    Scanned,
)
from pipeline.ids import partition_for, partition_of
from pipeline.intake import Envelope
from pipeline.steps import message_step, route_deferred_step
from projections.views import projections
from tests.support.servers import RedisServer
from workers.projector import Projector
from workers.wiring import Wiring

DOMAIN = "example.test"
ANNA = "anna@example.test"
SENDER = "sender@elsewhere.test"
CONTENT = b"Subject: hello\r\n\r\nHello\r\n"
SECOND = 1_000_000_000
BUSY = Attempt(
    server="mx.example.test:25", address="192.0.2.1", stage="rcpt", code=450, enhanced="4.2.1",
    reply="450-4.2.1 The mailbox is busy,\n450 4.2.1 come \\x1b[31mback later", took=12_000_000,
)  # fmt: skip


class Done(msgspec.Struct):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shop:
    """A gateway's store, filled as the workers fill it; nothing here runs by itself."""

    def __init__(self, data: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self.url = url
        self._capsys = capsys

    def run(self, *words: str) -> Done:
        """A command as from a terminal, in this process."""
        self._capsys.readouterr()
        code = entry.main(list(words))
        out, err = self._capsys.readouterr()
        return Done(code, out, err)

    def do(self, work: Callable[[Wiring], Coroutine[Any, Any, Any]]) -> Any:
        async def wired() -> Any:
            settings = configuration.load(environ={"GATEPOST_DATA": str(self.data), "GATEPOST_REDIS_URL": self.url})
            wiring = await Wiring.connect(settings)
            try:
                return await work(wiring)
            finally:
                await wiring.close()

        return asyncio.run(wired())

    def add(self, *locals_: str, domain: str = DOMAIN, route: str = "mx.example.test:25") -> None:
        async def work(wiring: Wiring) -> None:
            await wiring.directory.set_domain(Domain(name=domain, route=(route,)), by="test", now=wiring.clock())
            addresses = [Address(local=local) for local in locals_]
            await wiring.directory.set_addresses({domain: addresses}, by="test", now=wiring.clock())

        self.do(work)

    def receive(self, *recipients: str, sender: str = SENDER, content: bytes = CONTENT) -> str:
        async def work(wiring: Wiring) -> str:
            draft = wiring.bodies.draft()
            draft.write(content)
            envelope = Envelope(
                sender=sender, recipients=tuple(RecipientSpec(address=one) for one in recipients or (ANNA,)),
                client=Client(address="198.51.100.7", helo="out.elsewhere.test", protocol="ESMTP"),
            )  # fmt: skip
            return (await wiring.intake.accept(envelope, draft))[0]

        return str(self.do(work))

    def append(self, message_id: str, *make: Callable[[dict[str, Any]], MessageEvent]) -> None:
        """Events of a live message, each made from the fields that all have."""

        async def work(wiring: Wiring) -> None:
            (message,) = await wiring.schedule.heads(partition_of(message_id), [message_id])
            assert message is not None
            now = wiring.clock()
            common = {"at": now, "domain": message.domain}
            step, _ = message_step(message, [one(common) for one in make], now=now)
            await wiring.log.commit(step)

        self.do(work)

    def queued(self, *recipients: str, subject: str = "hello") -> str:
        to = recipients or (ANNA,)
        message_id = self.receive(*to)
        self.append(
            message_id,
            lambda common: Scanned(**common, verdict="clean", score=0.0, subject=subject, message_id="<1@a.example>"),
            lambda common: Queued(**common, recipients=to, size=len(CONTENT)),
        )
        return message_id

    def quarantined(self, *recipients: str, subject: str = "bad", sender: str = SENDER) -> str:
        to = recipients or (ANNA,)
        message_id = self.receive(*to, sender=sender)
        finding = Finding(name="EICAR", score=100.0, text="EICAR antivirus test file", kind="virus")
        self.append(
            message_id,
            lambda common: Scanned(**common, verdict="virus", score=100.0, subject=subject, findings=(finding,)),
            lambda common: Quarantined(
                **common, recipients=to, reason="virus", expires=time.time_ns() + 30 * 86400 * SECOND
            ),
        )
        return message_id

    def tried(
        self, message_id: str, kind: type[Deferred | Delivered | Failed], attempt: Attempt = BUSY, *to: str, **more: Any
    ) -> None:
        tried = {"recipients": to or (ANNA,), "sender": SENDER, "size": len(CONTENT), "tries": 1, "attempt": attempt}
        self.append(message_id, lambda common: kind(**common, **tried, **more))

    def deferred(self, message_id: str) -> None:
        self.tried(message_id, Deferred, next_try=time.time_ns() + 900 * SECOND)

    def route_deferred(self, domain: str = DOMAIN) -> None:
        async def work(wiring: Wiring) -> None:
            partition, now = partition_for(domain, wiring.store.partitions), wiring.clock()
            attempt = Attempt(server="mx.example.test:25", stage="connect", reply="Connection refused")
            route = await wiring.schedule.route(partition, domain)
            event = RouteDeferred(
                at=now, domain=domain, tries=1, since=now, next_try=now + 900 * SECOND, attempts=(attempt,)
            )
            await wiring.log.commit(route_deferred_step(partition, route, event, "", []))

        self.do(work)

    def fold(self) -> None:
        """What the projector does."""

        async def work(wiring: Wiring) -> None:
            blocking = wiring.store.blocking()
            projector = Projector(
                wiring.store.redis, blocking, wiring.log, range(wiring.store.partitions), projections(wiring.settings)
            )
            await projector.renew()
            while await projector.fold():
                pass
            await projector.release()
            await blocking.aclose()

        self.do(work)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GATEPOST_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def shop(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shop:
    data = tmp_path / "data"
    monkeypatch.setenv("GATEPOST_DATA", str(data))
    monkeypatch.setenv("GATEPOST_REDIS_URL", redis_server.url)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)
    return Shop(data, redis_server.url, capsys)
