"""What a delivery test saw, and what it means. Pure: the same report always has the same findings, in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pipeline.probing.model import Finding, Lookup, Name, Plan, Report, Source, Step, Visit, Weight
from pipeline.probing.server import about

_ORDER: Final = {weight: place for place, weight in enumerate(Weight)}


def judge(report: Report) -> tuple[Finding, ...]:
    """All findings: bad ones, warnings, good ones, each in the order in which it was looked."""
    found = [*_names(report.lookup, report.plan), *_visits(report)]
    if not report.complete:
        found.append(Finding(kind="unfinished", weight=Weight.WARNING, values={"seconds": report.took / 1e9}))
    elif report.plan.send and not any(visit.answer(Step.SEND_MAIL) for visit in report.visits):
        found.append(Finding(kind="unsent", weight=Weight.BAD, values={"address": report.plan.known}))
    return tuple(sorted(found, key=lambda one: _ORDER[one.weight]))


def worst(findings: tuple[Finding, ...]) -> Weight:
    return min((one.weight for one in findings), key=_ORDER.__getitem__, default=Weight.GOOD)


def _names(lookup: Lookup, plan: Plan) -> Iterator[Finding]:
    if lookup.problem:
        kind = "dns-silent" if lookup.passing else "no-servers"
        yield Finding(kind=kind, weight=Weight.BAD, values={"words": lookup.problem, "domain": plan.domain})
    if lookup.implicit and lookup.names:
        yield Finding(kind="no-mx", weight=Weight.WARNING, values={"domain": plan.domain})
    usable = any(name.addresses and not name.ours for name in lookup.names)
    for name in lookup.names:
        yield from _name(name, plan.domain, plan.sources, Weight.WARNING if usable and name.passing else Weight.BAD)


def _name(name: Name, domain: str, sources: Sequence[Source], weight: Weight) -> Iterator[Finding]:
    """`weight`: of a name that leads nowhere."""
    if name.ours:
        ours: dict[str, str | int | float] = {"words": name.ours, "domain": domain}
        yield Finding(kind="ourselves", weight=Weight.BAD, where=name.server, values=ours)
    elif name.problem and not name.closed:
        kind = "name-silent" if name.passing else "name"
        yield Finding(kind=kind, weight=weight, where=name.server, values={"words": name.problem})
    if name.closed:
        words = ", ".join(why for _, why in name.closed)
        open_ = Weight.WARNING if name.addresses else Weight.BAD
        yield Finding(kind="closed", weight=open_, where=name.server, values={"words": words})
    if name.addresses and not any(source.meets(address) for source in sources for address in name.addresses):
        known: dict[str, str | int | float] = {"addresses": ", ".join(name.addresses)}
        yield Finding(kind="no-family", weight=Weight.BAD, where=name.server, values=known)
    elif name.addresses and not name.ours:
        values: dict[str, str | int | float] = {"addresses": ", ".join(name.addresses)}
        yield Finding(kind="resolves", weight=Weight.GOOD, where=name.server, values=values)


def _visits(report: Report) -> Iterator[Finding]:
    now = report.at
    for visit in report.visits:
        others = [other for other in report.visits if other is not visit and other.server == visit.server]
        yield from about(visit, report.plan, now, reached_otherwise=any(map(_reached, others)))


def _reached(visit: Visit) -> bool:
    opened = visit.answer(Step.CONNECT)
    return opened is not None and not opened.text
