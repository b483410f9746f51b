"""The views as their own commands show them, out of builds that are not the live ones. Times are relative to the moment shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from cli.render import Screen
    from cli.session import Session
    from projections.builds import Source

KEPT_SHOWN: Final = 50
"""Of a quarantine and of alerts, the newest."""


class Shown(NamedTuple):
    form: dict[str, Any]
    """As the command's JSON has it."""
    tell: Callable[[Screen], None]


async def _queue(opened: Session, redis: Source, domain: str | None, moment: int) -> Shown:
    """Who held what then is in the directory's history; the view says what waited, and why."""
    from cli.forms import queued_domain_form
    from cli.queue.reading import Seen
    from cli.queue.showing import show
    from cli.render import rfc3339
    from projections.readers import read_queue
    from projections.readers.rates import WINDOWS, Rates

    report = await read_queue(redis, opened.wiring.store.partitions, domain, now=moment)
    unknown = Rates(total=(None,) * len(WINDOWS), domains={}, waiting=())
    form = {
        "waiting": {"messages": report.messages, "recipients": report.recipients, "bytes": report.bytes},
        "oldest_at": rfc3339(report.oldest or 0),
        "domains": [queued_domain_form(one, unknown) for one in report.domains],
    }
    return Shown(form, lambda screen: show(screen, Seen(report, unknown, moment, domain)))


async def _failures(opened: Session, redis: Source, domain: str | None, moment: int) -> Shown:
    from cli.diagnoses import diagnoses
    from cli.failures import failure_form, group_form, tell_failures
    from projections.readers import read_failures

    found = await read_failures(redis, opened.wiring.store.partitions, domain)
    meant = await diagnoses(opened, "")
    form = {
        "groups": [group_form(one.domain, group, meant) for one in found for group in one.groups],
        "failures": [failure_form(one.domain, failure, meant) for one in found for failure in one.failures],
    }
    return Shown(form, lambda screen: tell_failures(screen, found, meant, moment))


async def _books(opened: Session, redis: Source, domain: str | None, _moment: int) -> Shown:
    from cli.books import _form, tell_books
    from projections.readers import read_books

    report = await read_books(redis, opened.wiring.store.partitions, domain)
    form = {
        "balanced": report.balanced,
        "domains": [_form(one) for one in report.domains],
        "total": _form(report.total),
    }
    return Shown(form, lambda screen: tell_books(screen, report))


async def _refusals(opened: Session, redis: Source, domain: str | None, _moment: int) -> Shown:
    from cli.refused import MOST, refusal_form, tell_counts, tell_refusals
    from projections.readers import read_refusals

    found = await read_refusals(redis, opened.wiring.store.partitions, domain)
    newest = sorted((refusal for one in found for refusal in one.refusals), key=lambda one: -one.event.at)
    form = {
        "counts": {one.domain: one.counts for one in found if one.counts},
        "refusals": [refusal_form(refusal) for refusal in newest[:MOST]],
        "left_off": max(0, len(newest) - MOST),
    }

    def tell(screen: Screen) -> None:
        tell_refusals(screen, newest[:MOST], len(newest))
        tell_counts(screen, found)

    return Shown(form, tell)


async def _quarantine(opened: Session, redis: Source, domain: str | None, moment: int) -> Shown:
    from cli.quarantine.finding import tell_kept, tell_stats
    from cli.quarantine.forms import kept_form, stats_form
    from projections.readers.quarantine import Query, read_kept, read_stats

    partitions = opened.wiring.store.partitions
    stats = await read_stats(redis, partitions, domain)
    page = await read_kept(redis, partitions, Query(domain=domain or ""), limit=KEPT_SHOWN)
    form = {
        "stats": [stats_form(one) for one in stats],
        "messages": [kept_form(one) for one in page.messages],
        "left_off": max(0, sum(one.messages for one in stats) - len(page.messages)),
    }

    def tell(screen: Screen) -> None:
        if not page.messages:
            screen.say(("Nothing is in quarantine.", "green"))
            return
        tell_stats(screen, stats, moment)
        screen.say()
        tell_kept(screen, page.messages, moment)

    return Shown(form, tell)


async def _classifier(opened: Session, redis: Source, domain: str | None, moment: int) -> Shown:
    from cli.learn.command import NOTHING, table_form, tell_tables
    from projections.readers import read_learnt

    store, minimum = opened.wiring.store, opened.wiring.settings.learning_minimum
    (shared,) = await read_learnt(redis, store.partitions, "") or (NOTHING,)
    found = await read_learnt(redis, store.partitions, domain)
    tables = [shared, *(one for one in found if one.domain)]
    form = {"minimum": minimum, "tables": [table_form(one, shared, minimum) for one in tables]}
    return Shown(form, lambda screen: tell_tables(screen, tables, minimum, moment))


async def _alerts(opened: Session, redis: Source, domain: str | None, moment: int) -> Shown:
    from cli.alerts.showing import show_history, told_form
    from projections.readers.alerts import read_alerts

    found = await read_alerts(redis, opened.wiring.store.partitions, 0, moment)
    newest = [one for one in found if domain in (None, one.domain)]
    form = {"alerts": [told_form(one) for one in newest[:KEPT_SHOWN]], "left_off": max(0, len(newest) - KEPT_SHOWN)}
    return Shown(form, lambda screen: show_history(screen, newest[:KEPT_SHOWN], len(newest)))


SHOWN: Final[Mapping[str, Callable[[Session, Source, str | None, int], Awaitable[Shown]]]] = {
    "queue": _queue,
    "failures": _failures,
    "books": _books,
    "refusals": _refusals,
    "quarantine": _quarantine,
    "classifier": _classifier,
    "alerts": _alerts,
}
