"""What changes: alerts that are raised, and those that are over. Pure.

An alert is raised when its rule says that something is wrong, for as long as that rule wants it to last, and is over when the rule
says nothing of it any more. Between the two limits everything stays as it is, so that nothing flaps. A rule that could not measure
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.alerts.model import Alert, Assessment, Sample


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    raised: tuple[Sample, ...] = ()
    over: tuple[Alert, ...] = ()
    pending: Mapping[str, int] = {}
    """Subjects that are wrong, and not yet for long enough: since when."""


def judge(known: Iterable[Alert], assessment: Assessment, pending: Mapping[str, int], now: int) -> Changes:
    """`known`: the alerts that are raised. `pending`: of the judgement before this one."""
    standing = {alert.subject: alert for alert in known}
    raised: list[Sample] = []
    waiting: dict[str, int] = {}
    spoken: set[str] = set()
    for sample in assessment.samples:
        spoken.add(sample.subject)
        if not sample.wrong or sample.subject in standing:
            continue
        since = pending.get(sample.subject, now)
        if now - since >= sample.lasting:
            raised.append(sample)
        else:
            waiting[sample.subject] = since
    over = [
        alert
        for subject, alert in standing.items()
        if subject not in spoken and assessment.covers(alert.rule, alert.what)
    ]
    return Changes(raised=tuple(raised), over=tuple(over), pending=waiting)
