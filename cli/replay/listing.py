"""Which views there are, how far each is and what it takes; and what the last self-check found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cli.options import Common
    from cli.render import Screen
    from projections.readers.builds import ViewSize
    from projections.readers.selfcheck import SelfCheck

WHAT: Final = {
    "queue": "what waits, per domain and server: gatepost queue",
    "failures": "the newest answers of customers' servers: gatepost failures",
    "books": "what came and how it ended, per domain: gatepost books",
    "refusals": "mail that did not get in: gatepost refused",
    "classifier": "what was learnt of spam: gatepost learn status",
    "quarantine": "what is kept, and an index of it: gatepost quarantine",
    "trace": "where in the log messages are spoken of: gatepost trace",
    "alerts": "the newest alerts and when they were over: gatepost alerts history",
    "outbound": "where in the log delivery attempts are: gatepost report outbound",
}


async def list_views(common: Common) -> int:
    from cli.render import Screen, document, rfc3339
    from cli.session import session
    from projections.readers.builds import read_sizes
    from projections.views import projections

    async with session(common, views=True) as opened:
        store = opened.wiring.store
        found = await read_sizes(
            store.redis, opened.wiring.history, store.partitions, projections(opened.wiring.settings), opened.now()
        )
        now = opened.now()
    if common.json:
        document({"at": rfc3339(now), "views": [_form(one) for one in found]})
        return 0
    screen = Screen()
    screen.table(["view", "version", ">keys", ">memory", "up to", "what it shows"], [_row(one) for one in found])
    screen.say()
    screen.say("Make one anew and compare: gatepost replay ", ("VIEW", "bold"), ", or --all")
    return 0


def _row(one: ViewSize) -> list[Any]:
    from cli.render import age, clean, local, size

    version = one.version + (f", {one.growing} grows" if one.growing else "")
    behind = (f"{age(one.behind)} behind", "yellow") if one.behind else (local(one.newest) if one.newest else "")
    return [(one.view, "bold"), clean(version), f"{one.keys:,}", size(one.octets), behind, WHAT.get(one.view, "")]


def _form(one: ViewSize) -> dict[str, Any]:
    from cli.render import rfc3339

    return {
        "view": one.view, "shows": WHAT.get(one.view, ""), "version": one.version, "growing": one.growing or None,
        "keys": one.keys, "octets": one.octets, "newest_event_at": rfc3339(one.newest),
        "behind_seconds": round(one.behind / 1e9, 3), "checkpoints": list(one.checkpoints),
        "damaged": one.damaged, "broken": one.broken,
    }  # fmt: skip


async def show_last(common: Common) -> int:
    """Exit code 1 when a view was not what the events say, or could not be compared."""
    from cli.render import Screen, document
    from cli.session import session
    from projections.readers.selfcheck import last_selfcheck

    async with session(common) as opened:
        check = await last_selfcheck(opened.wiring.store.redis)
    if common.json:
        document({"check": None if check is None else _check_form(check)})
    elif check is None:
        Screen().say("There was no self-check yet; when it is made is the setting selfcheck_at.")
    else:
        _show_check(Screen(), check)
    return 0 if check is None or check.equal else 1


def _show_check(screen: Screen, check: SelfCheck) -> None:
    from cli.render import age, clean, count, local

    screen.say(
        ("Self-check of ", ""), (check.night, "bold"),
        (f"  {local(check.started)}, {age(max(0, check.ended - check.started))}, {count(check.events, 'event')}", "dim"),
    )  # fmt: skip
    for one in check.views:
        if one.failed or one.skipped:
            verdict = (f"not compared: {clean(one.failed or one.skipped)}", "yellow")
        elif one.differences:
            verdict = (count(one.differences, "difference"), "red")
        else:
            verdict = ("is what the events say", "green")
        screen.say((f"{clean(one.view):<10}", "bold"), " ", verdict)
        for line in one.named:
            screen.say("  ", clean(line))


def _check_form(check: SelfCheck) -> dict[str, Any]:
    from cli.render import rfc3339

    return {
        "night": check.night,
        "started_at": rfc3339(check.started),
        "ended_at": rfc3339(check.ended),
        "equal": check.equal,
        "views": [
            {
                "view": one.view, "equal": one.equal, "events": one.events, "seconds": round(one.seconds, 3),
                "differences": one.differences, "named": list(one.named), "failed": one.failed,
                "skipped": one.skipped,
            }
            for one in check.views
        ],
    }  # fmt: skip
