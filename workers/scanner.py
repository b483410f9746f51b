"""The scanner: takes received messages, finds out who sent them, lets the engines look, and records verdict and decision in one step.

Many messages are in hand at once, because some of them wait for the DNS or for an engine; none waits for another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pipeline import decide, delays, keys
from pipeline.authentication.together import Authentication, Lookups, authenticate
from pipeline.bodies import Buffer
from pipeline.events import Finding, Scanned
from pipeline.faults import ConflictError, CorruptError
from pipeline.pause import end
from pipeline.rescan import waiting_step
from pipeline.resolver import Resolver
from pipeline.scanning import missing, outside, policy
from pipeline.scanning.builtin.engine import BuiltIn
from pipeline.scanning.engine import Engine, LocalEngine, Mail, Report, run
from pipeline.scanning.guard import Guard, Timed, room
from pipeline.state import Message, Stage, decode_head
from pipeline.steps import Step, acknowledged, message_step
from pipeline.store import faults
from workers.consume import Consumer, Entry, streams
from workers.engines import Watch
from workers.notify import notify
from workers.wiring import Wiring

HEADER_TEXT: Final = 500
"""Characters of Subject, From and Message-ID that go into the event."""
AHEAD: Final = 128
"""Messages in hand from which on no more are fetched."""
FLOODED: Final = Finding(
    name="AUTH_RESULTS_FLOOD", score=10.0, kind="content",
    text="more Authentication-Results fields than can be looked through for forged ones",
)  # fmt: skip


class Scanner:
    def __init__(self, wiring: Wiring, engines: Sequence[Engine | LocalEngine], names: Lookups) -> None:
        self._wiring = wiring
        self._engines = engines
        self._guards = [engine for engine in engines if isinstance(engine, Guard)]
        self._names = names
        self._seconds = wiring.settings.scan_budget.seconds

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
                await self._wiring.log.submit(step)
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
        if (step := self._waits_on(message, entry)) is not None:
            return step
        content = hot if hot is not None else self._wiring.bodies.cold.get(message.id)
        return await self._judge(message, content, entry)

    async def _judge(self, message: Message, content: Buffer, entry: Entry) -> Step:
        wiring = self._wiring
        mail = Mail(message, content)
        found = await authenticate(
            message,
            content,
            mail.header,
            self._names,
            authserv_id=wiring.authserv_id,
            now=wiring.clock(),
            seconds=self._seconds,
        )
        mail.authentication = found
        mail.domain = wiring.directory.home(message.domain)
        async with room(self._guards):
            report = await run(self._engines, mail, wiring.settings.scan_budget)
        if found.flooded:
            report = msgspec.structs.replace(report, findings=(*report.findings, FLOODED))
        verdict = policy.judge(report, message, wiring.settings)
        return self._unseen(message, mail, report, verdict, entry) or self._decided(
            message, mail, found, verdict, entry, report.missing
        )

    def _waits_on(self, message: Message, entry: Entry) -> Step | None:
        """The step of a message that waits for an engine that is not asked just now: nothing else has to be looked at."""
        settings, now = self._wiring.settings, self._wiring.clock()
        rule = missing.policy_of(settings, self._wiring.directory.home(message.domain))
        if not message.waits_since or rule != missing.WAIT or now >= message.waits_since + settings.engines_wait:
            return None
        if all(guard.tally.may_ask(now) for guard in self._guards):
            return None
        return self._wait(message, (), entry, now)

    def _wait(self, message: Message, unseen: Sequence[str], entry: Entry, now: int) -> Step:
        settings = self._wiring.settings
        until = (message.waits_since or now) + settings.engines_wait
        events = missing.postponed(message, unseen, now=now, until=until) if unseen else ()
        done = acknowledged(entry.stream, keys.SCANNERS, entry.id)
        return waiting_step(message, events, now=now, again=min(now + settings.engines_retry, until), also=done)

    def _unseen(
        self, message: Message, mail: Mail, report: Report, verdict: policy.Verdict, entry: Entry
    ) -> Step | None:
        """The step with which a message begins or goes on to wait for an engine; None when it does not."""
        now = self._wiring.clock()
        if self._fate(message, mail, report.missing, verdict, now) != missing.WAIT:
            return None
        return self._wait(message, report.missing, entry, now)

    def _fate(self, message: Message, mail: Mail, unseen: Sequence[str], verdict: policy.Verdict, now: int) -> str:
        settings = self._wiring.settings
        rule = missing.policy_of(settings, mail.domain)
        return missing.fate(unseen, rule, message, verdict.quarantine, now=now, wait=int(settings.engines_wait))

    def _decided(
        self,
        message: Message,
        mail: Mail,
        found: Authentication,
        verdict: policy.Verdict,
        entry: Entry,
        unseen: tuple[str, ...] = (),
    ) -> Step:
        now = self._wiring.clock()
        kept = verdict.quarantine
        if self._fate(message, mail, unseen, verdict, now) == missing.QUARANTINE:
            kept = missing.kept_back(message, kept, unseen, now=now)
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
            auth=found.results,
            drop=found.drop,
            missing=unseen,
        )
        retention = int(self._wiring.settings.quarantine_retention)
        warn_at = delays.warn_at(message, self._wiring.settings)
        events = decide.judged(message, scanned, kept, now=now, retention=retention, warn_at=warn_at)
        step, _ = message_step(message, events, now=now, also=acknowledged(entry.stream, keys.SCANNERS, entry.id))
        return step

    async def _acknowledge(self, entry: Entry) -> None:
        with faults():
            pipe = self._wiring.store.redis.pipeline(transaction=True)
            pipe.xack(entry.stream, keys.SCANNERS, entry.id)
            pipe.xdel(entry.stream, entry.id)
            await pipe.execute()


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    guards = outside.guards(wiring.settings, wiring.hostname, wiring.clock)
    engines: list[Timed | Guard] = [Timed(BuiltIn(wiring.settings, wiring.hostname)), *guards]
    scanner = Scanner(wiring, engines, Resolver(wiring.settings.resolver, lifetime=wiring.settings.scan_budget.seconds))
    watch = asyncio.create_task(Watch(wiring, engines).run(stop))
    notify("READY=1")
    work = streams(wiring.store.partitions, keys.scan)
    try:
        await Consumer(wiring, "scan", keys.SCANNERS, work, scanner.handle, stop, ahead=AHEAD).run()
    finally:
        await end([watch])
        for guard in guards:
            guard.close()
