"""Rebuilding and comparing, with a bar while it goes on, and what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cli.options import Common
    from cli.replay.asked import Asked
    from cli.session import Session
    from projections.base import Projection
    from projections.replay import Report
    from workers.replaying import Job

SHOWN: Final = 20


async def compare(view: str | None, asked: Asked, common: Common) -> int:
    """One view, or all. Raises ConfigurationError, ConflictError."""
    from cli.acted import acted
    from cli.render import document
    from cli.replay.asked import chosen
    from cli.session import session
    from projections.views import projections

    async with session(common, views=True) as opened:
        known = projections(opened.wiring.settings)
        wanted = [chosen(known, view)] if view is not None else _all(known, asked)
        _by_domain(wanted, asked)
        reports = []
        for projection in wanted:
            report = await _replay(opened, projection, asked)
            if report.mended:
                await acted(opened, "view_mended", report.view, note=f"{report.count:,} differences")
            reports.append(report)
            if not common.json:
                _show(report, asked)
    if common.json:
        document({"equal": all(report.equal for report in reports), "views": [_form(report) for report in reports]})
    return 0 if all(report.equal for report in reports) else 1


def _all(known: tuple[Projection, ...], asked: Asked) -> list[Projection]:
    return [projection for projection in known if not (asked.domain and projection.hot)]


def _by_domain(wanted: list[Projection], asked: Asked) -> None:
    """Raises ConfigurationError."""
    from pipeline.faults import ConfigurationError

    if asked.domain and any(projection.hot for projection in wanted):
        raise ConfigurationError(
            f"{wanted[0].name} is an index of the whole log, of which no part is a domain's",
            remedy=f"Compare all of it: gatepost replay {wanted[0].name}",
        )


async def _replay(opened: Session, projection: Projection, asked: Asked) -> Report:
    from projections.replay import Report
    from workers.replaying import Job

    job = Job(
        opened.wiring.settings, projection.name, partitions_of(opened, asked.domain), opened.now(), asked.mend, asked.domain
    )  # fmt: skip
    report = await work(opened, job, asked.jobs)
    assert isinstance(report, Report)
    return report


def partitions_of(opened: Session, domain: str) -> tuple[int, ...]:
    from pipeline.ids import partition_for

    partitions = opened.wiring.store.partitions
    return (partition_for(domain, partitions),) if domain else tuple(range(partitions))


async def work(opened: Session, job: Job, jobs: int) -> Report | int:
    """Do a job on as many processors as it is worth, and say meanwhile how far it is."""
    from cli.progress import Progress as Bar
    from workers.replaying import jobs_of, lengths_of, run
    from workers.roles import tune_collector

    lengths = await lengths_of(opened.wiring, job)
    parts = jobs_of(job, lengths, jobs)
    if len(parts) == 1:
        tune_collector()
    with Bar(job.view, sum(lengths.values())) as bar:
        return await run(opened.wiring, parts, bar.advance)


def _show(report: Report, asked: Asked) -> None:
    from cli.render import Screen, clean, count

    screen = Screen()
    pace = f"{count(report.events, 'event')} in {report.seconds:.1f} s, {report.rate:,.0f}/s"
    part = f"the part of {clean(asked.domain)} is equal" if asked.domain else "equal to the live one"
    verdict = (part, "green") if report.equal else (count(report.count, "difference"), "red")
    screen.say((f"{report.view:<10}", "bold"), " ", verdict, (f"  ({pace})", "dim"))
    for one in report.differences[:SHOWN]:
        where = f"partition {one.partition}, {clean(one.key)}" + (f", {clean(one.field)}" if one.field else "")
        screen.say(f"  {where}: live {clean(one.live)}, rebuilt {clean(one.rebuilt)}")
    if report.count > SHOWN:
        screen.say((f"  and {report.count - SHOWN:,} more; --json names up to a thousand", "dim"))
    if report.gone and not report.equal:
        screen.say(
            ("  Events whose retention is over are gone: what is counted since the first cannot be the same.", "yellow")
        )
    if report.mended:
        screen.say(("  The rebuilt view is the live one now.", "green"))
    elif not report.equal:
        screen.say(f"  Put the rebuilt one in its place: gatepost replay {report.view} --mend")


def _form(report: Report) -> dict[str, Any]:
    return {
        "view": report.view,
        "equal": report.equal,
        "events": report.events,
        "seconds": round(report.seconds, 3),
        "events_per_second": round(report.rate),
        "differences": report.count,
        "mended": report.mended,
        "first_events_gone": report.gone,
        "named": [
            {"partition": one.partition, "key": one.key, "field": one.field, "live": one.live, "rebuilt": one.rebuilt}
            for one in report.differences
        ],
    }
