"""The scanner: takes received messages, lets the engines look, records verdict and decision in one step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pipeline import decide, keys
from pipeline.bodies import Buffer
from pipeline.events import Scanned
from pipeline.faults import ConflictError, CorruptError
from pipeline.scanning import policy
from pipeline.scanning.builtin.engine import BuiltIn
from pipeline.scanning.engine import Engine, LocalEngine, Mail, run
from pipeline.state import Message, Stage, decode_head
from pipeline.steps import Step, acknowledged, message_step
from pipeline.store import faults
from workers.consume import Consumer, Entry, streams
from workers.notify import notify
from workers.wiring import Wiring

HEADER_TEXT: Final = 500
"""Characters of Subject, From and Message-ID that go into the event."""


class Scanner:
    def __init__(self, wiring: Wiring, engines: Sequence[Engine | LocalEngine]) -> None:
        self._wiring = wiring
        self._engines = engines

    async def handle(self, entries: Sequence[Entry]) -> Mapping[str, Exception]:
        """Scan a batch; the steps of all of them are committed together."""
        failed: dict[str, Exception] = {}
        commits: list[tuple[Entry, asyncio.Future[bool]]] = []
        for entry, head, hot in await self._fetch(entries):
            try:
                step = await self._step(entry, head, hot)
                if step is None:
                    await self._acknowledge(entry)
                    continue
            except Exception as error:  # noqa: BLE001 - one message's trouble must not stop the others: it is tried again, then parked
                failed[entry.id] = error
            else:
                commits.append((entry, self._wiring.log.submit(step)))
        results = await asyncio.gather(*(commit for _, commit in commits), return_exceptions=True)
        for (entry, _), result in zip(commits, results, strict=True):
            if isinstance(result, ConflictError):
                await self._acknowledge(entry)
            elif isinstance(result, Exception):
                failed[entry.id] = result
        return failed

    async def _fetch(self, entries: Sequence[Entry]) -> list[tuple[Entry, bytes | None, bytes | None]]:
        with faults():
            pipe = self._wiring.store.redis.pipeline(transaction=False)
            for entry in entries:
                message_id = entry.fields.get(b"id", b"").decode("ascii", "replace")
                pipe.hget(keys.head(entry.partition, message_id), "m")
                pipe.get(keys.body(entry.partition, message_id))
            rows = await pipe.execute()
        return list(zip(entries, rows[::2], rows[1::2], strict=True))

    async def _step(self, entry: Entry, head: bytes | None, hot: bytes | None) -> Step | None:
        """None when there is nothing left to do: it was scanned before, and only the acknowledgement was lost."""
        if head is None:
            return None
        try:
            message = decode_head(head)
        except msgspec.DecodeError as error:
            raise CorruptError(f"the head cannot be read: {error}") from None
        if message.stage is not Stage.RECEIVED:
            return None
        content = hot if hot is not None else self._wiring.bodies.cold.get(message.id)
        return await self._judge(message, content, entry)

    async def _judge(self, message: Message, content: Buffer, entry: Entry) -> Step:
        mail = Mail(message, content)
        report = await run(self._engines, mail, self._wiring.settings.scan_budget)
        verdict = policy.judge(report, message, self._wiring.settings)
        now = self._wiring.clock()
        scanned = Scanned(
            at=now,
            domain=message.domain,
            verdict=verdict.verdict,
            score=verdict.score,
            findings=verdict.findings,
            subject=mail.header.subject[:HEADER_TEXT],
            header_from=mail.header.from_[:HEADER_TEXT],
            message_id=mail.header.message_id[:HEADER_TEXT],
            engines=verdict.engines,
            took=verdict.took,
        )
        events = decide.judged(
            message, scanned, verdict.quarantine, now=now, retention=int(self._wiring.settings.quarantine_retention)
        )
        step, _ = message_step(message, events, now=now, also=acknowledged(entry.stream, keys.SCANNERS, entry.id))
        return step

    async def _acknowledge(self, entry: Entry) -> None:
        with faults():
            pipe = self._wiring.store.redis.pipeline(transaction=True)
            pipe.xack(entry.stream, keys.SCANNERS, entry.id)
            pipe.xdel(entry.stream, entry.id)
            await pipe.execute()


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    scanner = Scanner(wiring, [BuiltIn(wiring.settings, wiring.hostname)])
    notify("READY=1")
    work = streams(wiring.store.partitions, keys.scan)
    await Consumer(wiring, "scan", keys.SCANNERS, work, scanner.handle, stop).run()
