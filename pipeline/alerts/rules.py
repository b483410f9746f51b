"""The rules: what of what was measured is wrong, and what is so near to it that an alert is not over yet. Pure.

Each rule has a setting, `alert_` and its name, with the limit; 0 turns it off. It says nothing (None) of what was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from pipeline.alerts.model import NEVER, Assessment, DomainState, Measured, Sample
from pipeline.alerts.written import said, size, span
from pipeline.settings import Settings
from pipeline.units import SECOND

CALM: Final = 0.8
"""An alert is over when the value comes below this part of its limit."""
MEMORY_CALM: Final = 5
"""Points of a hundred."""
STEADY: Final = 60 * SECOND
"""How long what comes and goes by itself has to be wrong."""

Said: TypeAlias = Iterable[Sample] | None
Rule: TypeAlias = Callable[[Measured, Settings], Said]


def _over(value: float, limit: float, calm: float = CALM) -> bool | None:
    """True: beyond the limit; False: not, and near; None: well within."""
    return True if value > limit else False if value > limit * calm else None


def _settled(limit: int) -> int:
    """How long what is measured as an age has to be beyond its limit: a gateway that was stopped for hours, and has just been
    started, is given the time to do what waited meanwhile.
    """
    return min(STEADY, limit)


def _limit(own: int, common: int) -> int:
    """0: no limit."""
    return 0 if own == NEVER else own or common


def _waiting(measured: Measured, settings: Settings) -> Said:
    return None if measured.domains is None else _each_waiting(measured.domains, settings)


def _each_waiting(domains: Iterable[DomainState], settings: Settings) -> Iterator[Sample]:
    for one in domains:
        limit = _limit(one.max_waiting, settings.alert_waiting)
        wrong = _over(one.messages, limit) if limit else None
        if wrong is not None:
            yield Sample(
                rule="waiting", what=one.domain, domain=one.domain, wrong=wrong, value=f"{one.messages:,}", limit=f"{limit:,}"
            )  # fmt: skip


def _oldest(measured: Measured, settings: Settings) -> Said:
    return None if measured.domains is None else _each_oldest(measured.domains, settings, measured.at)


def _each_oldest(domains: Iterable[DomainState], settings: Settings, now: int) -> Iterator[Sample]:
    for one in domains:
        limit = _limit(one.max_oldest, settings.alert_oldest)
        waited = now - one.oldest if one.oldest else 0
        wrong = _over(waited, limit) if limit else None
        if wrong is not None:
            yield Sample(
                rule="oldest", what=one.domain, domain=one.domain, wrong=wrong, lasting=_settled(limit), value=span(waited),
                limit=span(limit),
            )  # fmt: skip


def _down(measured: Measured, settings: Settings) -> Said:
    """A server that was away for a shorter time, and is so again, is not yet over: what ends it is that it takes mail."""
    if measured.domains is None:
        return None
    return [
        Sample(
            rule="down", what=one.domain, domain=one.domain, wrong=measured.at - one.down_since > settings.alert_down,
            lasting=_settled(settings.alert_down),
            value=span(measured.at - one.down_since), limit=span(settings.alert_down), detail=said(one.said),
        )
        for one in measured.domains
        if settings.alert_down and one.down_since and one.messages
    ]  # fmt: skip


def _held(measured: Measured, settings: Settings) -> Said:
    if measured.domains is None:
        return None
    return [
        Sample(
            rule="held", what=one.domain, domain=one.domain, wrong=measured.at - one.held_since > settings.alert_held,
            lasting=_settled(settings.alert_held),
            value=span(measured.at - one.held_since), limit=span(settings.alert_held), detail=said(one.held_why),
        )
        for one in measured.domains
        if settings.alert_held and one.held_since
    ]  # fmt: skip


def _engine(measured: Measured, settings: Settings) -> Said:
    if measured.engines is None:
        return None
    return [
        Sample(
            rule="engine", what=one.name, wrong=measured.at - one.away_since > settings.alert_engine,
            lasting=_settled(settings.alert_engine),
            value=span(measured.at - one.away_since), limit=span(settings.alert_engine), detail=said(one.error),
        )
        for one in measured.engines
        if settings.alert_engine and one.away_since
    ]  # fmt: skip


def _lag(measured: Measured, settings: Settings) -> Said:
    if measured.lags is None:
        return None
    judged = [(view, behind, _over(behind, settings.alert_lag, 0.5)) for view, behind in measured.lags]
    return [
        Sample(
            rule="lag", what=view, wrong=wrong, lasting=_settled(settings.alert_lag), value=span(behind),
            limit=span(settings.alert_lag),
        )
        for view, behind, wrong in judged
        if settings.alert_lag and wrong is not None
    ]  # fmt: skip


def _work(measured: Measured, settings: Settings) -> Said:
    if measured.work is None:
        return None
    judged = [
        (one, measured.at - one.oldest, _over(measured.at - one.oldest, settings.alert_work, 0.5))
        for one in measured.work
        if one.oldest and settings.alert_work
    ]
    return [
        Sample(
            rule="work", what=one.stream, wrong=wrong, lasting=_settled(settings.alert_work), value=span(age), limit=span(settings.alert_work),
            detail=f"{one.count:,} entries, {one.consumers} processes read them",
        )
        for one, age, wrong in judged
        if wrong is not None
    ]  # fmt: skip


def _disk(measured: Measured, settings: Settings) -> Said:
    if measured.disk_free is None:
        return None
    free, limit = measured.disk_free, int(settings.alert_disk)
    if not limit or free >= limit / CALM:
        return []
    return [Sample(rule="disk", what=measured.host, wrong=free < limit, value=size(free), limit=size(limit))]


def _memory(measured: Measured, settings: Settings) -> Said:
    if measured.memory is None:
        return None
    used, most = measured.memory
    percent = used * 100 / most if most else 0.0
    if not settings.alert_memory or percent <= settings.alert_memory - MEMORY_CALM:
        return []
    return [
        Sample(
            rule="memory", wrong=percent > settings.alert_memory, lasting=STEADY, value=f"{percent:.0f} %",
            limit=f"{settings.alert_memory} %",
        )
    ]  # fmt: skip


def _parked(measured: Measured, settings: Settings) -> Said:
    if measured.parked is None:
        return None
    if not settings.alert_parked or measured.parked < settings.alert_parked:
        return []
    return [Sample(rule="parked", value=f"{measured.parked:,}", limit=f"{settings.alert_parked - 1:,}")]


def _receiver(measured: Measured, settings: Settings) -> Said:
    if measured.receiver is None:
        return None
    silent = measured.at - measured.receiver
    if not settings.alert_receiver or not measured.receiver or silent <= settings.alert_receiver:
        return []
    return [
        Sample(
            rule="receiver",
            lasting=_settled(settings.alert_receiver),
            value=span(silent),
            limit=span(settings.alert_receiver),
        )
    ]


def _certificate(measured: Measured, settings: Settings) -> Said:
    if measured.certificate is None:
        return None
    left = measured.certificate - measured.at
    if not settings.alert_certificate or left >= settings.alert_certificate:
        return []
    return [Sample(rule="certificate", what=measured.host, value=span(left), limit=span(settings.alert_certificate))]


def _books(measured: Measured, settings: Settings) -> Said:
    if measured.books is None:
        return None
    return [
        Sample(rule="books", what=domain, lasting=int(settings.alert_books), value=said(how), limit="0")
        for domain, how in measured.books
        if settings.alert_books
    ]


def _difference(measured: Measured, settings: Settings) -> Said:
    if measured.differences is None:
        return None
    return [
        Sample(rule="difference", what=view, value=said(how), limit="0")
        for view, how in measured.differences
        if settings.alert_difference
    ]


def _archive(measured: Measured, settings: Settings) -> Said:
    if measured.archive is None:
        return None
    since, why = measured.archive
    behind = measured.at - since
    wrong = _over(behind, settings.alert_archive) if settings.alert_archive and since else None
    if wrong is None:
        return []
    return [
        Sample(rule="archive", wrong=wrong, value=span(behind), limit=span(settings.alert_archive), detail=said(why))
    ]


RULES: Final[Mapping[str, Rule]] = {
    "waiting": _waiting,
    "oldest": _oldest,
    "down": _down,
    "held": _held,
    "engine": _engine,
    "books": _books,
    "difference": _difference,
    "lag": _lag,
    "work": _work,
    "parked": _parked,
    "receiver": _receiver,
    "disk": _disk,
    "memory": _memory,
    "archive": _archive,
    "certificate": _certificate,
}
LOCAL: Final = frozenset({"disk", "certificate"})
"""Rules that speak of the machine that measured: what another one's alert says is that one's to end."""


def setting(rule: str) -> str:
    return f"alert_{rule}"


def assess(measured: Measured, settings: Settings) -> Assessment:
    """What the rules say."""
    samples: list[Sample] = []
    covered: set[str] = set()
    for name, rule in RULES.items():
        found = rule(measured, settings)
        if found is None:
            continue
        covered.add(f"{name}:{measured.host}" if name in LOCAL else name)
        samples += found
    return Assessment(tuple(samples), frozenset(covered))
