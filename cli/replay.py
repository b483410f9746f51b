"""`gatepost replay`: a view is what the events say, or it is wrong; this finds out which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.session import Session
    from projections.base import Projection
    from projections.replay import Report

SHOWN = 20


async def replay(
    view: Annotated[str | None, Parameter(help="queue, failures or books.")] = None,
    /,
    *,
    all_: Annotated[bool, Parameter(name="--all", help="Every view.")] = False,
    mend: Annotated[bool, Parameter(help="Where they differ, the rebuilt view becomes the live one.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Rebuild a view from the first event, and compare it with the live one.

    Mail goes on meanwhile. Exit code 1 when they differ.

    For example:

      gatepost replay books
      gatepost replay --all
      gatepost replay queue --mend
    """
    from cli.recording import acted
    from cli.render import document
    from cli.session import session
    from pipeline.faults import ConfigurationError
    from projections.views import projections

    if (view is None) == (not all_):
        raise ConfigurationError("name a view, or say --all", remedy="See `gatepost replay --help`.")
    async with session(common, views=True) as opened:
        known = {projection.name: projection for projection in projections(opened.wiring.settings)}
        if view is not None and view not in known:
            raise ConfigurationError(f"no view {view}", remedy=f"There are {', '.join(known)}.")
        wanted = [known[view]] if view is not None else list(known.values())
        reports = []
        for projection in wanted:
            report = await _replay(opened, projection, mend=mend)
            if report.mended:
                await acted(opened, "view_mended", report.view, note=f"{report.count:,} differences")
            reports.append(report)
            if not common.json:
                _show(report)
    if common.json:
        document({"equal": all(report.equal for report in reports), "views": [_form(report) for report in reports]})
    return 0 if all(report.equal for report in reports) else 1


async def _replay(opened: Session, projection: Projection, *, mend: bool) -> Report:
    from cli.progress import Progress as Bar
    from pipeline import keys
    from pipeline.store import faults
    from projections.replay import Progress, replay

    wiring = opened.wiring
    partitions = range(wiring.store.partitions)
    with faults():
        pipe = wiring.store.redis.pipeline(transaction=False)
        for partition in partitions:
            pipe.xlen(keys.log(partition))
        total = sum(await pipe.execute())
    with Bar(projection.name, total) as bar:
        done = 0

        def told(progress: Progress) -> None:
            nonlocal done
            bar.advance(progress.events - done)
            done = progress.events

        return await replay(
            wiring.store.redis, wiring.history, partitions, projection, now=opened.now(), mend=mend, progress=told
        )


def _show(report: Report) -> None:
    from cli.render import Screen, clean, count

    screen = Screen()
    pace = f"{count(report.events, 'event')} in {report.seconds:.1f} s, {report.rate:,.0f}/s"
    verdict = ("equal to the live one", "green") if report.equal else (count(report.count, "difference"), "red")
    screen.say((f"{report.view:<9}", "bold"), " ", verdict, (f"  ({pace})", "dim"))
    for one in report.differences[:SHOWN]:
        where = f"partition {one.partition}, {clean(one.key)}" + (f", {clean(one.field)}" if one.field else "")
        screen.say(f"  {where}: live {clean(one.live)}, rebuilt {clean(one.rebuilt)}")
    if report.count > SHOWN:
        screen.say((f"  and {report.count - SHOWN:,} more; --json names up to a thousand", "dim"))
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
        "named": [
            {"partition": one.partition, "key": one.key, "field": one.field, "live": one.live, "rebuilt": one.rebuilt}
            for one in report.differences
        ],
    }
