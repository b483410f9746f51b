"""How a message is looked at: which engines there are, and what is found out before they begin.

The scanner does it for each message that comes in, and `gatepost scan` for a file, so that both find the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.authentication.together import Lookups, authenticate
from pipeline.bodies import Buffer
from pipeline.events import Finding
from pipeline.resolver import Resolver
from pipeline.scanning.builtin.engine import BuiltIn
from pipeline.scanning.engine import Engine, LocalEngine, Mail, Report, run
from pipeline.settings import Settings
from pipeline.state import Message
from workers.wiring import Wiring

FLOODED: Final = Finding(
    name="AUTH_RESULTS_FLOOD", score=10.0, kind="content",
    text="more Authentication-Results fields than can be looked through for forged ones",
)  # fmt: skip


def resolver(settings: Settings) -> Resolver:
    """One for all that is asked about a message."""
    return Resolver(settings.resolver, lifetime=settings.scan_budget.seconds)


def engines(wiring: Wiring, names: Resolver) -> list[Engine | LocalEngine]:
    """All that the settings ask for, in the order in which their findings are shown. Raises ConfigurationError."""
    del names  # for the engines that ask the DNS
    return [BuiltIn(wiring.settings, wiring.hostname)]


async def examine(
    wiring: Wiring, looking: Sequence[Engine | LocalEngine], names: Lookups, message: Message, content: Buffer
) -> tuple[Mail, Report]:
    """What is known of a message, and what the engines found in it. Raises nothing of theirs."""
    settings = wiring.settings
    mail = Mail(message, content)
    mail.authentication = await authenticate(
        message,
        content,
        mail.header,
        names,
        authserv_id=wiring.authserv_id,
        now=wiring.clock(),
        seconds=settings.scan_budget.seconds,
    )
    mail.domain = wiring.directory.home(message.domain)
    report = await run(looking, mail, settings.scan_budget)
    if mail.authentication.flooded:
        report = msgspec.structs.replace(report, findings=(*report.findings, FLOODED))
    return mail, report
