"""An alert is raised, or is over: the event, its head, and what is to be told of it, in one step that happens once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.alerts.model import Alert, Sample, encode_alert
from pipeline.alerts.notices import Notice, Way, notice_id, promised
from pipeline.alerts.words import sentence
from pipeline.events import AlertOver, AlertRaised, encode
from pipeline.ids import partition_for
from pipeline.steps import MS, Effect, Step
from pipeline.units import SECOND

REMEMBERED: Final = 400 * 86400 * SECOND
"""How long after its end the next version of an alert follows the last one (ns)."""


def partition_of_alert(domain: str, partitions: int) -> int:
    """Where the alerts of a domain are; those of the operator (no domain) are in the first partition."""
    return partition_for(domain, partitions) if domain else 0


def raised_step(
    sample: Sample, before: Alert | None, ways: Sequence[Way], *, now: int, partitions: int, quiet: int = 0
) -> Step:
    """`before`: what is known of an earlier time, None for nothing. `quiet`: nobody is told before then (ns)."""
    version = before.version if before is not None else 0
    text = sentence(sample.rule, over=False, what=sample.what, value=sample.value, limit=sample.limit)
    event = AlertRaised(
        at=now, domain=sample.domain, rule=sample.rule, what=sample.what, text=text, value=sample.value,
        limit=sample.limit, detail=sample.detail,
    )  # fmt: skip
    after = Alert(
        rule=sample.rule, what=sample.what, domain=sample.domain, version=version + 1, since=now, text=text,
        value=sample.value, limit=sample.limit, told=tuple(way.written() for way in ways),
    )  # fmt: skip
    partition = partition_of_alert(sample.domain, partitions)
    effects: list[Effect] = [
        ("PERSIST", keys.alert(partition, after.subject)),
        ("ZADD", keys.alerts(partition), now // MS, after.subject),
        *promised(
            _notice(
                after,
                way,
                partition,
                now,
                over=False,
                text=text,
                value=sample.value,
                detail=sample.detail,
                next=quiet,
                quiet=quiet,
            )
            for way in ways
        ),
    ]
    return _step(partition, version, after, event, effects)


def over_step(alert: Alert, *, now: int, partitions: int, quiet: int = 0) -> Step:
    text = sentence(alert.rule, over=True, what=alert.what)
    event = AlertOver(at=now, domain=alert.domain, rule=alert.rule, what=alert.what, since=alert.since, text=text)
    partition = partition_of_alert(alert.domain, partitions)
    after = msgspec.structs.replace(
        alert, version=alert.version + 1, since=0, ended=now, text=text, value="", limit="", told=()
    )
    told = [Way.read(text) for text in alert.told]
    effects: list[Effect] = [
        ("PEXPIRE", keys.alert(partition, alert.subject), REMEMBERED // MS),
        ("ZREM", keys.alerts(partition), alert.subject),
        *promised(
            _notice(after, way, partition, now, over=True, text=text, since=alert.since, next=quiet, quiet=quiet)
            for way in told
        ),
    ]
    return _step(partition, alert.version, after, event, effects)


def _notice(alert: Alert, way: Way, partition: int, now: int, *, over: bool, **said: Any) -> Notice:
    return Notice(
        id=notice_id(alert.subject, alert.version, way, now, partition), partition=partition, way=way,
        subject=alert.subject, version=alert.version, at=now, rule=alert.rule, what=alert.what, domain=alert.domain,
        over=over, limit=alert.limit, **{"since": now, **said},
    )  # fmt: skip


def _step(
    partition: int, version: int, after: Alert, event: AlertRaised | AlertOver, effects: Sequence[Effect]
) -> Step:
    return Step(
        head=keys.alert(partition, after.subject),
        log=keys.log(partition),
        subject=after.subject,
        expected=version,
        events=(encode(event),),
        state=encode_alert(after),
        effects=tuple(effects),
    )
