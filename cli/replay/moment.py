"""A view as it was: made up to a moment in a place of its own, and shown."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cli.options import Common
    from cli.replay.asked import Asked

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
INSTEAD: Final = {
    "trace": "What happened to messages is found at any time: gatepost trace --help.",
    "outbound": "Attempts of any time are shown by gatepost report outbound --from ... --to ...",
}
"""Of views that only say where in the log something stands."""


def moment_of(text: str, zone: str, now: int) -> int:
    """--at in ns since 1970. Without a zone of its own it is one of --tz, or of this machine. Raises ConfigurationError."""
    from pipeline.faults import ConfigurationError

    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigurationError(
            f"--at: {text!a} is no time", remedy="Write 2026-11-20T03:00Z, or 2026-11-20T03:00 with --tz."
        ) from None
    if moment.tzinfo is None:
        try:
            moment = moment.replace(tzinfo=_zone(zone)) if zone else moment.astimezone()
        except (ValueError, OverflowError):
            raise ConfigurationError(f"--at {text} is no time that clocks of this machine show") from None
    elif zone:
        raise ConfigurationError(f"--at {text} has a time zone of its own", remedy="Leave out --tz.")
    since = moment - _EPOCH
    at = ((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
    if not 0 <= at <= now:
        raise ConfigurationError(f"--at {text} is not in the past", remedy="Only what has happened can be shown.")
    return at


def _zone(name: str) -> dt.tzinfo:
    import zoneinfo

    from pipeline.faults import ConfigurationError

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(f"no time zone {name!a}", remedy="Name one such as Europe/Berlin or UTC.") from None


async def show_moment(view: str, at: str, zone: str, asked: Asked, common: Common) -> int:
    """Raises ConfigurationError."""
    from cli.render import Screen, count, document, local, rfc3339
    from cli.replay.asked import chosen
    from cli.replay.comparing import partitions_of, work
    from cli.replay.showing import SHOWN
    from cli.session import session
    from pipeline.faults import ConfigurationError
    from projections.moment import source, temporary_builds
    from projections.views import projections
    from workers.replaying import Job

    async with session(common) as opened:
        wiring, now = opened.wiring, opened.now()
        projection = chosen(projections(wiring.settings), view)
        if projection.hot or view not in SHOWN:
            raise ConfigurationError(f"{view} holds no more than places in the log", remedy=INSTEAD.get(view, ""))
        moment, partitions = moment_of(at, zone, now), partitions_of(opened, asked.domain)
        async with temporary_builds(wiring.store.redis, partitions, projection, now) as views:
            job = Job(
                wiring.settings, view, partitions, now, domain=asked.domain, builds=tuple(one.build for one in views),
                moment=moment,
            )  # fmt: skip
            events = await work(opened, job, asked.jobs)
            shown = await SHOWN[view](opened, source(wiring.store.redis, views), asked.domain or None, moment)
    assert isinstance(events, int)
    if common.json:
        document({"as_of": rfc3339(moment), "events": events, "view": view, **shown.form})
        return 0
    screen = Screen()
    screen.say((f"As of {local(moment)}", "bold"), (f", after {count(events, 'event')}", "dim"))
    screen.say()
    shown.tell(screen)
    return 0
