"""What is wrong now, and how far the telling of it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from cli.session import Session
from pipeline.alerts.looked import looked
from pipeline.alerts.model import Alert
from pipeline.alerts.notices import CONTACT, Notice, Way
from pipeline.alerts.pending import Pending
from pipeline.alerts.silence import Silence, in_force
from pipeline.alerts.standing import standing

SILENT: Final = 120_000_000_000
"""ns after which a watcher that did not look is not there."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    alerts: Sequence[Alert]
    pending: Sequence[Notice]
    webhook_tries: int
    webhook_until: int
    looked: int
    """When a watcher looked last; 0: none ever did."""
    running: bool
    deaf: bool
    """No way to tell anybody is set."""
    silences: Sequence[Silence]
    without_contact: Sequence[str]
    """Domains with an alert and without a contact outside."""

    @property
    def watched(self) -> bool:
        return self.at - self.looked < SILENT

    @property
    def well(self) -> bool:
        return not self.alerts and (self.watched or not self.running)


async def picture(opened: Session) -> Picture:
    wiring, settings = opened.wiring, opened.wiring.settings
    pending = Pending(wiring.store)
    alerts = await standing(wiring.store)
    tries, until = await pending.webhook()
    told = {alert.domain: [Way.read(text).way for text in alert.told] for alert in alerts if alert.domain}
    return Picture(
        at=opened.now(),
        alerts=alerts,
        pending=await pending.waiting(),
        webhook_tries=tries,
        webhook_until=until,
        looked=max((await looked(wiring.store.redis)).values(), default=0),
        running=not opened.offline,
        silences=await in_force(wiring.store.redis, opened.now()),
        deaf=not settings.alert_mail and not settings.alert_webhook,
        without_contact=[domain for domain, ways in told.items() if CONTACT not in ways],
    )
