"""The engines that are programs beside us, as the settings name them."""

from __future__ import annotations

import time
from typing import Final

from pipeline.scanning.engines.guard import Client, Clock, Guard
from pipeline.settings import Settings
from pipeline.units import Duration, EngineAddress

NAMES: Final = ("clamav", "rspamd", "spamassassin")


def addresses(settings: Settings) -> dict[str, EngineAddress]:
    """Of those that are used."""
    return {name: address for name in NAMES if (address := getattr(settings, name))}


def client(name: str, settings: Settings, hostname: str) -> Client:
    """Raises ConfigurationError. Loads what speaks to this engine only."""
    if name == "clamav":
        from pipeline.scanning.engines.clamav import ClamAV  # noqa: PLC0415 - most gateways have one engine or none

        return ClamAV(settings)
    if name == "rspamd":
        from pipeline.scanning.engines.rspamd import Rspamd  # noqa: PLC0415 - as above

        return Rspamd(settings, hostname)
    from pipeline.scanning.engines.spamassassin import SpamAssassin  # noqa: PLC0415 - as above

    return SpamAssassin(settings, hostname)


def guards(settings: Settings, hostname: str, clock: Clock = time.time_ns) -> tuple[Guard, ...]:
    """Raises ConfigurationError."""
    found = []
    for name in addresses(settings):
        deadline: Duration = getattr(settings, f"{name}_deadline")
        found.append(Guard(client(name, settings, hostname), deadline, getattr(settings, f"{name}_connections"), clock))
    return tuple(found)
