"""`gatepost views`: how far behind the log each view is, and whether it is whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.render import Screen
    from cli.session import Session
    from projections.readers import ViewHealth

LATE: Final = 2_000_000_000
"""ns that a view may be behind under load."""
MOMENT: Final = 1.0
"""Seconds until one that was late is looked at again: it may just be catching up."""


async def views(*, common: Common = DEFAULT) -> int:
    """How far behind the log each view is, and whether it is whole.

    What every other command shows is read from views, which follow the log of
    events by less than two seconds. Exit code 1 when one of a running gateway is
    further behind and stays so, or is broken.

    For example:

      gatepost views
      gatepost views --json
    """
    from cli.render import Screen, document, rfc3339
    from cli.session import session

    async with session(common) as opened:
        health = await _read(opened)
        if _late(health) and not opened.offline:
            await asyncio.sleep(MOMENT)
            health = await _read(opened)
        now = opened.now()
    bad = any(one.broken for one in health) or (not opened.offline and _late(health))
    if common.json:
        document({
            "at": rfc3339(now),
            "running": not opened.offline,
            "late": _late(health),
            "views": [_form(name, some) for name, some in _by_view(health).items()],
        })  # fmt: skip
    else:
        _show(Screen(), health, now, running=not opened.offline)
    return 1 if bad else 0


async def _read(opened: Session) -> list[ViewHealth]:
    from projections.readers.health import read_health, redis_now
    from projections.views import projections

    store, names = opened.wiring.store, [one.name for one in projections(opened.wiring.settings)]
    now = await redis_now(store.redis)
    return await read_health(store.redis, opened.wiring.history, store.partitions, names, now)


def _late(health: Sequence[ViewHealth]) -> bool:
    return any(one.behind > LATE for one in health)


def _by_view(health: Sequence[ViewHealth]) -> dict[str, list[ViewHealth]]:
    views: dict[str, list[ViewHealth]] = {}
    for one in health:
        views.setdefault(one.view, []).append(one)
    return views


def _show(screen: Screen, health: Sequence[ViewHealth], now: int, *, running: bool) -> None:
    from cli.render import clean

    views = _by_view(health)
    screen.table(
        ["view", "version", ">behind", ">events", ">damaged", ">broken", "newest event", ""],
        [_row(name, some, now) for name, some in views.items()],
    )
    for one in health:
        for entry in one.newest_damaged[:1]:
            screen.say()
            place = f"{one.view}, partition {one.partition}, entry {clean(entry.entry)}"
            screen.say((place, "bold"), f": {clean(entry.reason)}")
    mend = [name for name, some in views.items() if any(one.broken for one in some)]
    for name in mend:
        screen.say()
        screen.say(f"Rebuild it from the events: gatepost replay {name} --mend")
    if not running:
        screen.say()
        screen.say(("Gatepost is not running here; views follow when `gatepost up` does.", "yellow"))


def _row(name: str, some: Sequence[ViewHealth], now: int) -> list[Any]:
    from cli.render import BAD, GOOD, WARN, age, clean, relative

    behind, broken = max(one.behind for one in some), sum(one.broken for one in some)
    damaged, events = sum(one.damaged for one in some), sum(one.events for one in some)
    reached = max(one.reached for one in some)
    growing = [one.growing for one in some if one.growing is not None]
    if broken:
        verdict = ("broken", BAD)
    elif behind > LATE:
        verdict = ("late", BAD)
    elif growing:
        # Partitions whose new build has caught up are live already.
        done = (sum(one.done for one in growing) + len(some) - len(growing)) / len(some)
        verdict = (f"version {clean(growing[0].version)} is being built: {done:.0%}", WARN)
    else:
        verdict = ("damaged", WARN) if damaged else ("good", GOOD)
    about = "" if all(one.exact for one in some) else "about "
    return [
        (name, "bold"), ", ".join(dict.fromkeys(clean(one.version) or "none yet" for one in some)),
        age(behind) if behind else "0 s", f"{about}{events:,}", f"{damaged:,}", f"{broken:,}",
        relative(reached, now) if reached else "none", verdict,
    ]  # fmt: skip


def _form(name: str, some: Sequence[ViewHealth]) -> dict[str, Any]:
    return {
        "view": name,
        "behind_seconds": max(one.behind for one in some) / 1e9,
        "events_behind": sum(one.events for one in some),
        "damaged": sum(one.damaged for one in some),
        "broken": sum(one.broken for one in some),
        "partitions": [_partition_form(one) for one in some],
    }


def _partition_form(one: ViewHealth) -> dict[str, Any]:
    from cli.render import rfc3339

    growing = one.growing
    return {
        "partition": one.partition,
        "version": one.version,
        "checkpoint": one.checkpoint,
        "newest_event_at": rfc3339(one.reached),
        "behind_seconds": one.behind / 1e9,
        "events_behind": one.events,
        "counted": one.exact,
        "damaged": one.damaged,
        "broken": one.broken,
        "newest_damaged": [{"entry": bad.entry, "subject": bad.subject, "reason": bad.reason} for bad in one.newest_damaged],
        "building": {"version": growing.version, "checkpoint": growing.checkpoint, "done": growing.done}
        if growing else None,
    }  # fmt: skip
