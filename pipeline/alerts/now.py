"""What each rule looks at, as it is now, in a few words: for a list of the rules. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pipeline.alerts.model import DomainState, Measured
from pipeline.alerts.written import size, span

NOT_MEASURED: Final = "not measured"
NONE: Final = "none"


def now(rule: str, measured: Measured) -> str:
    """`NOT_MEASURED` where that is so."""
    return _NOW[rule](measured) if rule in _NOW else NOT_MEASURED


def _most(measured: Measured, number: Callable[[DomainState], int], written: Callable[[int], str]) -> str:
    """The domain with the largest number."""
    if measured.domains is None:
        return NOT_MEASURED
    worst = max(measured.domains, key=number, default=None)
    return NONE if worst is None or not number(worst) else f"{written(number(worst))}, {worst.domain}"


def _longest(measured: Measured, since: Callable[[DomainState], int]) -> str:
    return _most(measured, lambda one: measured.at - since(one) if since(one) else 0, span)


def _engine(measured: Measured) -> str:
    if measured.engines is None:
        return NOT_MEASURED
    away = [f"{one.name} away for {span(measured.at - one.away_since)}" for one in measured.engines if one.away_since]
    return ", ".join(away) or "all there"


def _lag(measured: Measured) -> str:
    if measured.lags is None:
        return NOT_MEASURED
    view, behind = max(measured.lags, key=lambda pair: pair[1], default=("", 0))
    return f"{span(behind)}, {view}" if behind else "none behind"


def _work(measured: Measured) -> str:
    if measured.work is None:
        return NOT_MEASURED
    old = [f"{one.stream} {span(measured.at - one.oldest)}" for one in measured.work if one.oldest]
    return ", ".join(old) or "all done"


def _memory(measured: Measured) -> str:
    if measured.memory is None:
        return NOT_MEASURED
    used, most = measured.memory
    return f"{used * 100 / most:.0f} %" if most else f"{size(used)}, no limit"


def _names(found: tuple[tuple[str, str], ...] | None) -> str:
    return NOT_MEASURED if found is None else ", ".join(f"{name}: {how}" for name, how in found[:5]) or "right"


def _archive(measured: Measured) -> str:
    if measured.archive is None:
        return NOT_MEASURED
    since, _ = measured.archive
    return f"behind for {span(measured.at - since)}" if since else "up to date"


def _receiver(measured: Measured) -> str:
    if measured.receiver is None:
        return NOT_MEASURED
    return f"heard of {span(measured.at - measured.receiver)} ago" if measured.receiver else "never heard of"


def _certificate(measured: Measured) -> str:
    return NOT_MEASURED if measured.certificate is None else f"ends in {span(measured.certificate - measured.at)}"


_NOW: Final[Mapping[str, Callable[[Measured], str]]] = {
    "waiting": lambda measured: _most(measured, lambda one: one.messages, "{:,}".format),
    "oldest": lambda measured: _longest(measured, lambda one: one.oldest),
    "down": lambda measured: _longest(measured, lambda one: one.down_since if one.messages else 0),
    "held": lambda measured: _longest(measured, lambda one: one.held_since),
    "engine": _engine,
    "books": lambda measured: _names(measured.books),
    "difference": lambda measured: _names(measured.differences),
    "lag": _lag,
    "work": _work,
    "parked": lambda measured: NOT_MEASURED if measured.parked is None else f"{measured.parked:,}",
    "receiver": _receiver,
    "disk": lambda measured: NOT_MEASURED if measured.disk_free is None else f"{size(measured.disk_free)} free",
    "memory": _memory,
    "archive": _archive,
    "certificate": _certificate,
}
