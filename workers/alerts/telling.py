"""Telling of alerts: what the steps promised becomes mails and posts. One process at a time does it.

A mail is settled before it is made: which notices are part of it, and its id. So whoever comes after one that died makes the same
mail or none. A post is made at least once, under an id that its receiver can know again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from pipeline import ownmail
from pipeline.alerts.mail import letter
from pipeline.alerts.notices import HOOK, KEPT, Notice
from pipeline.alerts.pending import Pending
from pipeline.alerts.silence import bygone
from pipeline.alerts.webhook import pause, secret
from pipeline.faults import ConfigurationError, ConflictError
from pipeline.steps import received_step
from pipeline.units import SECOND
from workers import ownmail as sending
from workers.alerts import webhook
from workers.wiring import Wiring

log = structlog.get_logger()

PASS: Final = 15.0
"""Seconds after which a round of posts ends, and the next one goes on: a process that is to stop has half a minute."""
GATHER: Final = 3 * SECOND
"""How long after an alert its mail waits for others that come up with it."""


class Teller:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._pending = Pending(wiring.store)
        self._token = secrets.token_hex(16)

    async def tell(self) -> int:
        """Tell what may be told now; how many notices were."""
        if not await self._pending.lead(self._token):
            return 0
        notices, now = await self._pending.waiting(), self._wiring.clock()
        if gone := bygone(notices):
            await self._pending.done(gone)
            names = {notice.id for notice in gone}
            notices = [notice for notice in notices if notice.id not in names]
        told = await self._mail([notice for notice in notices if notice.way.way != HOOK and notice.next <= now])
        return told + await self._post([notice for notice in notices if notice.way.way == HOOK])

    async def resign(self) -> None:
        await self._pending.resign(self._token)

    # Mail

    async def _mail(self, notices: Sequence[Notice]) -> int:
        if not notices:
            return 0
        groups: dict[tuple[str, str], list[Notice]] = {}
        settled: dict[str, list[Notice]] = {}
        for notice, name in zip(notices, await self._pending.letters(notices), strict=True):
            if name:
                settled.setdefault(name, []).append(notice)
            else:
                groups.setdefault((notice.way.to, notice.rule), []).append(notice)
        told = 0
        for name, some in settled.items():
            told += await self._make(name, some, again=True)
        for (address, rule), some in groups.items():
            told += await self._group(address, rule, some)
        return told

    async def _group(self, address: str, rule: str, notices: Sequence[Notice]) -> int:
        """One mail of all that there is to say to somebody about a rule, unless it has to wait."""
        now = self._wiring.clock()
        wait = max(notices[0].at + GATHER - now, await self._pending.next_mail(address, rule))
        if wait > 0:
            if wait > GATHER:
                await self._pending.put_off(notices, now + wait)
            return 0
        partitions = self._wiring.store.partitions
        name = ownmail.id_of(address, partitions, now, f"{notices[0].id} {self._token}")
        mine = await self._pending.settle(notices, name)
        told = await self._make(name, mine, again=False) if mine else 0
        await self._pending.mailed(address, rule, int(self._wiring.settings.alert_mail_interval))
        return told

    async def _make(self, name: str, notices: Sequence[Notice], *, again: bool) -> int:
        """Make the mail that was settled. `again`: somebody may have made it before."""
        wiring = self._wiring
        if not (again and await wiring.past.holds(name)):
            now = wiring.clock()
            content = letter(notices, hostname=wiring.hostname)
            body = ownmail.compose(content, hostname=wiring.hostname, now=now, message_id=name)
            event = sending.received(wiring, content.to, origin=ownmail.ALERT, size=len(body), now=now)
            draft = wiring.bodies.draft()
            draft.write(body)
            try:
                await wiring.log.commit(received_step(name, event, await wiring.bodies.settle(draft, [name])))
            except ConflictError:
                log.info("mail about an alert was made before", message=name)
            else:
                log.info("mail about alerts", message=name, rule=notices[0].rule, count=len(notices))
        await self._pending.done(notices)
        return len(notices)

    # Webhook

    async def _post(self, notices: Sequence[Notice]) -> int:
        """In order; what speaks of the same as one that was not taken waits for it."""
        if not notices:
            return 0
        wiring, settings, told = self._wiring, self._wiring.settings, 0
        tries, until = await self._pending.webhook()
        now = wiring.clock()
        notices = await self._not_given_up(notices, now)
        if not notices or now < until:
            return 0
        try:
            key = secret(settings.alert_webhook_secret_file)
        except ConfigurationError as fault:
            log.error("the webhook cannot be told of alerts", reason=str(fault))  # noqa: TRY400 - the fault says all
            await self._pending.webhook_failed(tries + 1, now + pause(tries + 1))
            return 0
        behind: set[str] = set()
        end = time.monotonic() + PASS
        for notice in notices:
            if notice.subject in behind or notice.next > now:
                behind.add(notice.subject)
                continue
            if time.monotonic() > end or not await self._pending.lead(self._token):
                break
            result = await webhook.post(
                settings.alert_webhook, key, notice, wiring.hostname, wiring.clock(), within=webhook.TIMEOUT
            )
            if result.taken:
                await self._pending.done([notice])
                tries, told = await self._works(tries), told + 1
                continue
            behind.add(notice.subject)
            if not await self._refused(notice, result, tries):
                return told
        return told

    async def _works(self, tries: int) -> int:
        if tries:
            await self._pending.webhook_works()
        return 0

    async def _refused(self, notice: Notice, result: webhook.Posted, tries: int) -> bool:
        """It was not taken; whether others may be."""
        now = self._wiring.clock()
        log.warning("the webhook did not take an alert", notice=notice.id, said=result.said, tries=notice.tries + 1)
        counted = msgspec.structs.replace(notice, tries=notice.tries + 1)
        if result.away:
            await self._pending.put_off([counted], 0)
            await self._pending.webhook_failed(tries + 1, now + pause(tries + 1))
            return False
        await self._pending.put_off([counted], now + pause(counted.tries))
        return True

    async def _not_given_up(self, notices: Sequence[Notice], now: int) -> list[Notice]:
        """Without those that are too old, and without all where there is no webhook any more."""
        url = self._wiring.settings.alert_webhook
        kept: list[Notice] = []
        gone: list[Notice] = []
        for notice in notices:
            (kept if url and now - max(notice.at, notice.quiet) < KEPT else gone).append(notice)
        if gone:
            log.error("the webhook was not told of alerts", count=len(gone), first=gone[0].id, text=gone[0].text)
            await self._pending.done(gone)
        return kept
