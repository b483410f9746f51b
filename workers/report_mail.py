"""Reports that go out by mail: a duty of the watcher, safe to run in any number of processes at once.

What was sent of a report is the state of a subject of its own (`!report:<domain>:<name>`), and the step that changes it puts the mail
into the outbox. So of two watchers that find the same report due one's step fails, and one that dies before its step has sent
nothing: somebody finds it due again.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Final, TypeAlias

import msgspec
import structlog

from pipeline import keys, ownmail
from pipeline.directory import Domain
from pipeline.directory.reports import ReportSchedule
from pipeline.events import ReportSent, encode
from pipeline.faults import ConflictError, GatepostError, StoreError
from pipeline.ids import partition_for
from pipeline.steps import Step
from pipeline.store import faults
from pipeline.zones import zone_of
from projections.reports.csv_rows import CsvWriter
from projections.reports.due import Due, newest
from projections.reports.letter import Rows, Told, letter
from projections.reports.model import Heading, Wanted, classes, titles
from projections.reports.totals import Totals
from projections.reports.writing import rows, write
from workers import ownmail as sending
from workers.wiring import Wiring

EVERY: Final = 30.0
"""Seconds between two looks."""
ZONE: Final = "UTC"
"""Of a domain without one: not the machine's, for watchers on several machines must agree on what a day is."""
One: TypeAlias = tuple[Domain, ReportSchedule]

log = structlog.get_logger()


class Sent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was sent of a report last because it was due; the head of its subject."""

    version: int = 0
    end: int = 0
    """Of the period (ns)."""
    at: int = 0
    message: str = ""


_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(Sent)


def shuffled(found: Sequence[One]) -> list[One]:
    """Watchers that look at the same moment begin with different ones, so that few reports are made twice for nothing."""
    return random.sample(found, len(found))


class ReportMail:
    def __init__(self, wiring: Wiring, *, order: Callable[[Sequence[One]], Sequence[One]] = shuffled) -> None:
        self._wiring = wiring
        self._order = order
        self._done: dict[tuple[str, str], int] = {}
        """The end of what this process knows to be sent."""

    async def send_due(self) -> int:
        """Send what is due; how many reports that was."""
        await self._wiring.directory.refresh()
        domains = self._wiring.directory.domains()
        found = [(domain, schedule) for domain in domains.values() for schedule in domain.reports]
        there = {(domain.name, schedule.name) for domain, schedule in found}
        self._done = {key: end for key, end in self._done.items() if key in there}
        sent = 0
        for domain, schedule in self._order(found):
            try:
                sent += await self._send_due(domain, schedule)
            except StoreError:
                raise
            except GatepostError as fault:
                log.error("a report cannot be sent", domain=domain.name, report=schedule.name, reason=str(fault))  # noqa: TRY400 - the fault says all
            except Exception:
                log.exception("a report cannot be sent", domain=domain.name, report=schedule.name)
        return sent

    async def _send_due(self, domain: Domain, schedule: ReportSchedule) -> bool:
        key = (domain.name, schedule.name)
        due = newest(schedule, self.zone(domain.name), self._wiring.clock())
        if due is None or due.end <= self._done.get(key, 0):
            return False
        before = await self.sent(domain.name, schedule.name)
        done = due.end <= before.end or bool(await self._send(domain.name, schedule, due, before))
        if done:
            self._done[key] = due.end
        return done and due.end > before.end

    async def send_now(self, name: str, schedule: ReportSchedule, *, by: str) -> str:
        """Send the newest that is over, because somebody says so; when it is due it is sent all the same. The id of the mail.

        Raises ConflictError when a watcher sent one at the same moment.
        """
        anytime = msgspec.structs.replace(schedule, since=0, at=0)
        due = newest(anytime, self.zone(name), self._wiring.clock())
        assert due is not None, "there always was a day before"
        sent = await self._send(name, schedule, due, await self.sent(name, schedule.name), by=by)
        if not sent:
            raise ConflictError(f"{schedule.name} was sent by somebody else at this moment", remedy="Try again.")
        return sent

    async def sent(self, domain: str, name: str) -> Sent:
        """What was sent of a report until now."""
        partition = partition_for(domain, self._wiring.store.partitions)
        with faults():
            version, state = await self._wiring.store.redis.hmget(keys.report(partition, domain, name), ["v", "m"])
        return msgspec.structs.replace(_decoder.decode(state), version=int(version)) if state else Sent()

    async def _send(self, name: str, schedule: ReportSchedule, due: Due, before: Sent, *, by: str = "") -> str:
        """The id of the mail; empty when somebody was faster."""
        wiring, now = self._wiring, self._wiring.clock()
        written, count = await self._letter(name, schedule, due)
        partition = partition_for(name, wiring.store.partitions)
        subject = f"!report:{name}:{schedule.name}"
        # By hand each is one of its own; what is due is the same for all who find it.
        cause = f"{subject}:{due.end}" + (f":{before.version}" if by else "")
        message_id = ownmail.id_of(schedule.to, wiring.store.partitions, now if by else due.at, cause)
        body = ownmail.compose(written, hostname=wiring.hostname, now=now, message_id=message_id)
        received = sending.received(wiring, schedule.to, origin=ownmail.REPORT, size=len(body), now=now)
        event = ReportSent(
            at=now, domain=name, schedule=schedule.name, to=schedule.to, start=due.start, end=due.end, message=message_id,
            rows=count, by=by,
        )  # fmt: skip
        after = before if by else Sent(end=due.end, at=now, message=message_id)
        step = Step(
            head=keys.report(partition, name, schedule.name),
            log=keys.log(partition),
            subject=subject,
            expected=before.version,
            events=(encode(event),),
            state=_encode(msgspec.structs.replace(after, version=0)),
            effects=await sending.promise(wiring, partition, subject, message_id, received, body),
        )
        try:
            await wiring.log.commit(step)
        except ConflictError:
            return ""
        return message_id

    async def _letter(self, name: str, schedule: ReportSchedule, due: Due) -> tuple[ownmail.Letter, int]:
        wiring = self._wiring
        home = wiring.directory.home(name)
        language = (home.language if home is not None else "") or "en"
        heading = Heading(
            domains=(name,),
            start=due.start,
            end=due.end,
            zone=self.zone(name),
            made=wiring.clock(),
            wanted=Wanted(statuses=frozenset(schedule.statuses)),
            language=language,
            titles=titles(wiring.table, language),
        )
        totals, attached = Totals(heading.zone), Rows()
        async with aclosing(rows(wiring.past, heading, classes(wiring.table))) as found:
            await write(found, CsvWriter(heading.zone, mark=True), totals, attached.put, attached.told)
        told = Told(
            to=schedule.to, hostname=wiring.hostname, html=schedule.format != "text",
            rows=attached if schedule.format == "csv" else None,
        )  # fmt: skip
        return letter(heading, totals, told), totals.rows

    def zone(self, name: str) -> dt.tzinfo:
        home = self._wiring.directory.home(name)
        return zone_of((home.timezone if home is not None else "") or ZONE)
