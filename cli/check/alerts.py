"""Who hears of alerts. None of it keeps a gateway from starting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cli.check.finding import GOOD, WARNING, Finding
from pipeline.faults import ConfigurationError

if TYPE_CHECKING:
    from pipeline.directory import Domain
    from pipeline.settings import Settings

NAMED = 3


def about_alerts(settings: Settings, homes: Sequence[Domain]) -> Iterable[Finding]:
    """`homes`: the domains, with what they take from their parents."""
    from pipeline.alerts.webhook import secret

    ways = [*settings.alert_mail, *(["the webhook"] if settings.alert_webhook else [])]
    if settings.alert_webhook:
        try:
            secret(settings.alert_webhook_secret_file)
        except ConfigurationError as fault:
            yield Finding(WARNING, "alerts", str(fault), fault.remedy)
    told = f"told to {', '.join(ways)}" if ways else "told to the log only: alert_mail and alert_webhook are not set"
    yield Finding(GOOD, "alerts", f"{told}; see `gatepost alerts test`" if ways else told)
    without = [home.name for home in homes if not home.contact_outside]
    if without:
        names = ", ".join(without[:NAMED]) + (", ..." if len(without) > NAMED else "")
        yield Finding(
            GOOD, "alerts", f"{len(without):,} of {len(homes):,} domains have no contact outside, so only you hear of them: {names}"
        )  # fmt: skip
