"""Looking whether all is well: measures, judges, and makes what changes an event. Any number of processes may do it at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from pipeline.alerts.judge import Changes, judge
from pipeline.alerts.looked import forsaken, note
from pipeline.alerts.model import Alert, Assessment, Measured, Sample
from pipeline.alerts.rules import RULES, assess, setting
from pipeline.alerts.silence import in_force, quiet_until
from pipeline.alerts.standing import heads, standing
from pipeline.alerts.steps import over_step, partition_of_alert, raised_step
from pipeline.faults import ConflictError
from pipeline.steps import Step
from pipeline.units import SECOND, Duration
from workers.alerts.addressees import ways
from workers.alerts.measuring import Measuring
from workers.wiring import Wiring

log = structlog.get_logger()

LONG: Final = 3600 * SECOND


class Watch:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._measuring = Measuring(wiring)
        self._pending: Mapping[str, int] = {}

    @property
    def shortest(self) -> int:
        """The shortest time (ns) that a rule waits for."""
        settings = self._wiring.settings
        limits = [getattr(settings, setting(rule)) for rule in RULES]
        return min((int(limit) for limit in limits if isinstance(limit, Duration) and limit), default=LONG)

    async def look(self) -> int:
        """One round; how many alerts were raised or are over because of it."""
        return await self.judge(await self._measuring.measure())

    async def judge(self, measured: Measured) -> int:
        """What follows from what was measured."""
        store, now = self._wiring.store, self._wiring.clock()
        known, machines = await standing(store), await note(store.redis, measured.host, now)
        found = assess(measured, self._wiring.settings)
        covered = found.covered | forsaken(known, machines, now)
        changes = judge(known, Assessment(found.samples, covered), self._pending, now)
        self._pending = changes.pending
        done = await asyncio.gather(*[self._take(step, told) for step, told in await self._steps(changes)])
        return sum(done)

    async def _steps(self, changes: Changes) -> list[tuple[Step, Sample | Alert]]:
        wiring, partitions = self._wiring, self._wiring.store.partitions
        places = [(partition_of_alert(one.domain, partitions), one.subject) for one in changes.raised]
        steps: list[tuple[Step, Sample | Alert]] = []
        now = wiring.clock()
        silences = await in_force(wiring.store.redis, now)
        for sample, before in zip(changes.raised, await heads(wiring.store, places), strict=True):
            if before is None or not before.raised:  # else another watcher was faster
                told = ways(wiring.settings, sample.domain, wiring.directory.home)
                steps.append(
                    (
                        raised_step(
                            sample,
                            before,
                            told,
                            now=now,
                            partitions=partitions,
                            quiet=quiet_until(silences, sample.rule, sample.what),
                        ),
                        sample,
                    )
                )
        return [
            *steps,
            *(
                (
                    over_step(
                        alert, now=now, partitions=partitions, quiet=quiet_until(silences, alert.rule, alert.what)
                    ),
                    alert,
                )
                for alert in changes.over
            ),
        ]

    async def _take(self, step: Step, about: Sample | Alert) -> bool:
        try:
            await self._wiring.log.commit(step)
        except ConflictError:  # another watcher was faster
            return False
        if isinstance(about, Sample):
            log.error(
                "alert", rule=about.rule, what=about.what, value=about.value, limit=about.limit, detail=about.detail
            )
        else:
            log.warning("alert is over", rule=about.rule, what=about.what)
        return True
