"""Messages that wait for an engine that should look at them and is away: when they begin to, and until when (see scanning/engines/missing.py)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipeline import keys
from pipeline.directory.model import Domain
from pipeline.rescan import waiting_step
from pipeline.scanning.engines import missing
from pipeline.scanning.engines.guard import Guard
from pipeline.state import Message
from pipeline.steps import Step, acknowledged
from workers.consume import Entry
from workers.wiring import Wiring


class Awaiting:
    def __init__(self, wiring: Wiring, guards: Sequence[Guard]) -> None:
        self._wiring = wiring
        self._guards = guards

    def still(self, message: Message, entry: Entry) -> Step | None:
        """The step of a message that waits for an engine that is not asked just now: nothing else has to be looked at."""
        settings, now = self._wiring.settings, self._wiring.clock()
        rule = missing.policy_of(settings, self._wiring.directory.home(message.domain))
        if (
            not message.waits_since
            or rule != missing.WAIT
            or now >= message.waits_since + missing.longest(settings, message)
        ):
            return None
        if all(guard.tally.may_ask(now) for guard in self._guards):
            return None
        return self.step(message, (), entry)

    def step(self, message: Message, unseen: Sequence[str], entry: Entry) -> Step:
        """It begins to wait, or goes on to."""
        settings, now = self._wiring.settings, self._wiring.clock()
        until = (message.waits_since or now) + missing.longest(settings, message)
        events = missing.postponed(message, unseen, now=now, until=until) if unseen else ()
        done = acknowledged(entry.stream, keys.SCANNERS, entry.id)
        return waiting_step(message, events, now=now, again=min(now + settings.engines_retry, until), also=done)

    def fate(self, message: Message, domain: Domain | None, unseen: Sequence[str], kept: Collection[str]) -> str:
        """As `missing.fate`: pass, wait or quarantine."""
        settings = self._wiring.settings
        rule = missing.policy_of(settings, domain)
        wait = missing.longest(settings, message)
        return missing.fate(unseen, rule, message, kept, now=self._wiring.clock(), wait=wait)
