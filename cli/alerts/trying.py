"""A test over every way, by this process."""

from __future__ import annotations

import msgspec
import structlog

from cli.config import place
from pipeline.alerts import mail
from pipeline.alerts.notices import HOOK, Notice, Way, notice_id
from pipeline.alerts.webhook import secret
from pipeline.faults import GatepostError
from pipeline.ownmail import ALERT
from workers import ownmail
from workers.alerts import webhook
from workers.alerts.addressees import ways
from workers.wiring import Wiring

TEXT = "This is a test of alerts. Nothing is wrong."
log = structlog.get_logger()


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    way: str
    to: str
    taken: bool
    said: str
    message: str = ""
    """Id of the mail."""


async def tried(wiring: Wiring) -> list[Tried]:
    await wiring.directory.refresh()
    return [await _try(wiring, way) for way in ways(wiring.settings, "", wiring.directory.home)]


async def _try(wiring: Wiring, way: Way) -> Tried:
    now = wiring.clock()
    notice = Notice(
        id=notice_id("!test:", now, way, now, 0), partition=0, way=way, subject="!test:", version=1, at=now, since=now,
        rule="test", text=TEXT, test=True,
    )  # fmt: skip
    try:
        return await (_post(wiring, notice) if way.way == HOOK else _mail(wiring, notice))
    except GatepostError as fault:
        return Tried(way=way.way, to=way.to, taken=False, said=" ".join(filter(None, (str(fault), fault.remedy))))


async def _post(wiring: Wiring, notice: Notice) -> Tried:
    settings = wiring.settings
    key = secret(settings.alert_webhook_secret_file)
    result = await webhook.post(settings.alert_webhook, key, notice, wiring.hostname, notice.at, within=webhook.TIMEOUT)
    return Tried(way=HOOK, to=place(settings.alert_webhook), taken=result.taken, said=result.said)


async def _mail(wiring: Wiring, notice: Notice) -> Tried:
    letter = mail.letter([notice], hostname=wiring.hostname)
    message = await ownmail.send(wiring, letter, origin=ALERT, cause=notice.id)
    return Tried(way=notice.way.way, to=letter.to, taken=True, said="it is on its way", message=message)
