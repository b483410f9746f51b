"""The scanner: takes received messages, finds out who sent them, lets the engines look, and records verdict and decision in one step.

Many messages are in hand at once, because some of them wait for the DNS or for an engine; none waits for another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pipeline import country, decide, delays, keys, metrics
from pipeline.authentication.together import Lookups
from pipeline.bodies import Buffer
from pipeline.events import Client, Scanned
from pipeline.faults import ConflictError, CorruptError
from pipeline.ownmail import ORIGINS
from pipeline.pause import end
from pipeline.scanning import policy
from pipeline.scanning.engine import Engine, LocalEngine, Mail
from pipeline.scanning.engines import missing
from pipeline.scanning.engines.guard import Awaited, Guard, Timed
from pipeline.state import Message, Stage, decode_head
from pipeline.steering import RELEASE
from pipeline.steps import Step, acknowledged, message_step
from pipeline.store import faults
from pipeline.units import SECOND
from workers.awaiting import Awaiting
from workers.consume import Consumer, Entry, streams
from workers.engines import Watch
from workers.notify import notify
from workers.scanning import close, engines, examine, guards_of, resolver, views_of
from workers.wiring import Wiring

HEADER_TEXT: Final = 500
"""Characters of Subject, From and Message-ID that go into the event."""
AHEAD: Final = 128
"""Messages in hand from which on no more are fetched."""

UNSEEN: Final = frozenset({RELEASE, *ORIGINS})
"""What a person released is not looked at again, and what we wrote to a person holds the words of strangers as data."""


class Scanner:
    def __init__(self, wiring: Wiring, engines: Sequence[Engine | LocalEngine], names: Lookups) -> None:
        self._wiring = wiring
        self._engines = engines
        self._awaiting = Awaiting(wiring, guards_of(engines))
        self._names = names
        self._countries = country.in_force(wiring.settings.country_table)

    async def handle(self, entries: Sequence[Entry]) -> Mapping[str, Exception]:
        """Scan a batch; what is ready at the same time is committed together."""
        rows = await self._fetch(entries)
        results = await asyncio.gather(*(self._scan(*row) for row in rows), return_exceptions=True)
        failed: dict[str, Exception] = {}
        for entry, result in zip(entries, results, strict=True):
            # One message's trouble does not stop the others: it is tried again, then parked.
            if isinstance(result, Exception):
                failed[entry.id] = result
            elif isinstance(result, BaseException):
                raise result
        return failed

    async def _scan(self, entry: Entry, head: bytes | None, hot: bytes | None) -> None:
        step = await self._step(entry, head, hot)
        try:
            if step is not None:
                body_is_cold = await self._wiring.log.submit(step)
                if body_is_cold and not step.state:
                    await self._wiring.bodies.drop_cold(step.subject)
                return
        except ConflictError:
            pass
        await self._acknowledge(entry)

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
        if (step := self._awaiting.still(message, entry)) is not None:
            return step
        content = await self._wiring.bodies.of(message.id, hot)
        return await self._judge(message, content, entry)

    async def _judge(self, message: Message, content: Buffer, entry: Entry) -> Step:
        if message.origin == "smtp" and self._wiring.directory.home(message.domain) is None:
            # It was accepted for a domain of ours, which is too new for what this process has in memory.
            await self._wiring.directory.find_home(message.domain)
        looking = () if message.origin in UNSEEN else self._engines
        mail, report = await examine(self._wiring, looking, self._names, message, content)
        views = await views_of(self._wiring, mail, self._country(mail.message.client))
        verdict = policy.judge(report, message, self._wiring.settings, views)
        fate = self._awaiting.fate(message, mail.domain, report.missing, verdict.stopped)
        if fate == missing.WAIT:
            metrics.SCAN_WAITING.add()
            return self._awaiting.step(message, report.missing, entry)
        if fate == missing.QUARANTINE:
            kept = missing.kept_back(message, verdict.actions, report.missing, now=self._wiring.clock())
            verdict = msgspec.structs.replace(verdict, actions=kept)
        return self.decided(message, mail, verdict, report.missing, entry)

    def decided(
        self,
        message: Message,
        mail: Mail,
        verdict: policy.Verdict,
        unseen: tuple[str, ...],
        entry: Entry,
    ) -> Step:
        now = self._wiring.clock()
        metrics.SCANNED.add(verdict.verdict)
        metrics.SCAN_SECONDS.observe(verdict.took / SECOND)
        for name in unseen:
            metrics.ENGINE_MISSING.add(name)
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
            auth=mail.authentication.results,
            drop=mail.authentication.drop,
            country=self._country(mail.message.client),
            missing=unseen,
            decisions=verdict.recorded,
        )
        retention = self._wiring.retention_of(message.domain)
        warn_at = delays.warn_at(message, self._wiring.settings)
        events = decide.judged(message, scanned, verdict.actions, now=now, retention=retention, warn_at=warn_at)
        step, _ = message_step(message, events, now=now, also=acknowledged(entry.stream, keys.SCANNERS, entry.id))
        return step

    def _country(self, client: Client | None) -> str:
        return self._countries.of(client.address) if client is not None and client.address else ""

    async def _acknowledge(self, entry: Entry) -> None:
        with faults():
            pipe = self._wiring.store.redis.pipeline(transaction=True)
            pipe.xack(entry.stream, keys.SCANNERS, entry.id)
            pipe.xdel(entry.stream, entry.id)
            await pipe.execute()


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    names = resolver(wiring.settings)
    looking = engines(wiring, names)
    scanner = Scanner(wiring, looking, names)
    watch = asyncio.create_task(
        Watch(wiring, [one for one in looking if isinstance(one, Timed | Awaited | Guard)]).run(stop)
    )
    notify("READY=1")
    work = streams(wiring.store.partitions, keys.scan)
    try:
        await Consumer(wiring, "scan", keys.SCANNERS, work, scanner.handle, stop, ahead=AHEAD).run()
    finally:
        await end([watch])
        close(looking)
