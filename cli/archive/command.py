"""The commands of `gatepost archive`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from cli.archive.status import Status
    from cli.session import Session
    from pipeline.archive.archive import SealedArchive
    from pipeline.archive.verify import Verified

app = noun(
    "archive",
    """Events outside of Redis: how far they go, and whether they are what was sealed.

For example:

  gatepost archive
  gatepost archive run
  gatepost archive verify
  gatepost archive drop --before 2026-01-01
""",
)


def opened_archive(opened: Session) -> SealedArchive:
    """Raises ConfigurationError where DuckDB is missing."""
    from pipeline.archive.duck import missing

    if opened.wiring.archive is None:
        raise missing()
    return opened.wiring.archive


@app.default
async def show(*, common: Common = DEFAULT) -> int:
    """As the help of `app` says."""
    from cli.archive.status import statuses
    from cli.render import document, rfc3339
    from cli.session import session

    async with session(common) as opened:
        archive = opened_archive(opened)
        found = await statuses(opened.wiring.store, archive)
        place, now = archive.objects.place, opened.now()
        settings = opened.wiring.settings
    if common.json:
        document({
            "at": rfc3339(now),
            "place": place,
            "on": settings.archive,
            "hot_period": settings.hot_period.seconds,
            "retention": settings.archive_retention.seconds,
            "partitions": [_form(status) for status in found],
        })  # fmt: skip
        return 0
    _show(place, found, now, on=settings.archive)
    return 0


def _row(one: Status, now: int) -> list[str | tuple[str, str]]:
    from cli.render import local, relative, size

    return [
        one.name,
        f"{one.segments:,}",
        f"{one.entries:,}",
        size(one.octets),
        f"{one.octets / one.entries:.0f}" if one.entries else "",
        local(one.first) if one.first else "",
        local(one.last) if one.last else "",
        local(one.floor) if one.floor else "",
        f"{one.hot:,}",
        f"{one.unsealed:,}",
        (relative(one.next, now), "dim") if one.next else "",
    ]


def _show(place: str, found: list[Status], now: int, *, on: bool) -> None:
    from cli.render import Screen, clean, count, size

    screen = Screen()
    screen.say((clean(place), "bold"), ("" if on else "  not written to: archive is off in the settings", "yellow"))
    screen.table(
        [
            "partition", ">segments", ">events", ">size", ">octets/event", "from", "sealed to", "in redis from", ">in redis",
            ">not sealed", "next",
        ],
        [_row(one, now) for one in found],
    )  # fmt: skip
    entries, octets = sum(one.entries for one in found), sum(one.octets for one in found)
    screen.say((f"{count(entries, 'event')} in {size(octets)}", "dim"))


def _form(status: Status) -> dict[str, Any]:
    from cli.render import rfc3339

    return {
        "partition": status.name,
        "segments": status.segments,
        "events": status.entries,
        "octets": status.octets,
        "first": rfc3339(status.first),
        "sealed_to": rfc3339(status.last),
        "in_redis_from": rfc3339(status.floor),
        "in_redis": status.hot,
        "not_sealed": status.unsealed,
        "next": rfc3339(status.next),
        "seal": status.seal,
    }


@app.command
async def run(*, common: Common = DEFAULT) -> int:
    """Seal what is due, take it out of Redis and drop what is too old, now instead of within half a minute.

    For example:

      gatepost archive run
    """
    from cli.render import Screen, clean, count, document
    from cli.session import session
    from workers.archiver import Archiver

    async with session(common, views=True) as opened:
        done = await Archiver(opened.wiring, opened_archive(opened), quiet=True).round()
    if common.json:
        document({"sealed": done.sealed, "trimmed": done.trimmed, "dropped": done.dropped, "faults": done.faults})
        return 1 if done.faults else 0
    screen = Screen()
    screen.say(
        f"{count(done.sealed, 'segment')} sealed, {count(done.trimmed, 'event')} taken out of Redis, "
        f"{count(done.dropped, 'segment')} dropped"
    )
    for fault in done.faults:
        screen.say((clean(fault), "red"))
    return 1 if done.faults else 0


@app.command
async def verify(
    *,
    partition: Annotated[int | None, Parameter(help="Only this one; -1 is the directory's log.")] = None,
    common: Common = DEFAULT,
) -> int:
    """Read everything, and prove that nothing is missing, changed, doubled or out of order.

    Exit code 1 when something is, and the first place where.

    For example:

      gatepost archive verify
      gatepost archive verify --partition 3
    """
    from cli.progress import Progress as Bar
    from cli.render import document
    from cli.session import session
    from pipeline.archive.model import DIRECTORY
    from pipeline.archive.verify import Progress
    from pipeline.archive.verify import verify as look
    from pipeline.faults import NotFoundError

    async with session(common) as opened:
        archive = opened_archive(opened)
        known = [DIRECTORY, *range(opened.wiring.store.partitions)]
        if partition is not None and partition not in known:
            raise NotFoundError(f"no partition {partition}", remedy=f"There are -1 to {known[-1]}.")
        chosen = known if partition is None else [partition]
        with Bar(
            "segments", sum([(head := await archive.chain.head(one)).number - head.through for one in chosen])
        ) as bar:

            def told(progress: Progress) -> None:
                del progress
                bar.advance(1)

            found = await look(archive, chosen, told)
    if common.json:
        document({"whole": not any(one.faults for one in found), "partitions": [_verified(one) for one in found]})
    else:
        _say(found)
    return 1 if any(one.faults for one in found) else 0


def _say(found: list[Verified]) -> None:
    from cli.render import Screen, clean, count, size

    screen = Screen()
    for one in found:
        name = "directory" if one.partition < 0 else f"partition {one.partition}"
        verdict = ("whole", "green") if not one.faults else (count(len(one.faults), "fault"), "red")
        facts = f"  {count(one.segments, 'segment')}, {count(one.entries, 'event')}, {size(one.octets)}"
        screen.say((f"{name:<12}", "bold"), " ", verdict, (facts, "dim"))
        for number, fault in enumerate(one.faults[:20]):
            word = "first at " if not number else "         "
            screen.say(f"  {word}", (clean(fault.where), "bold"), f": {clean(fault.what)}")
        if len(one.faults) > 20:
            screen.say(("  and more; --json names up to a hundred", "dim"))


def _verified(one: Verified) -> dict[str, Any]:
    return {
        "partition": one.partition,
        "whole": not one.faults,
        "segments": one.segments,
        "events": one.entries,
        "octets": one.octets,
        "first": one.first,
        "last": one.last,
        "seal": one.seal,
        "faults": [{"where": fault.where, "what": fault.what} for fault in one.faults],
    }


@app.command
async def drop(
    *,
    before: Annotated[str, Parameter(help="YYYY-MM-DD: the days before this one (UTC) go.")],
    yes: Annotated[bool, Parameter(help="Do not ask.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Remove whole days from the beginning of the archive, for good. The chain says that they were.

    The setting archive_retention does so by itself.

    For example:

      gatepost archive drop --before 2026-01-01
    """
    from cli.archive.status import day
    from cli.names import confirm
    from cli.render import Screen, count, document, size
    from cli.session import actor, session
    from pipeline.archive import dropping

    wanted = day(before)
    async with session(common) as opened:
        archive, wiring = opened_archive(opened), opened.wiring
        partitions = range(wiring.store.partitions)
        found = [portion[0] for one in partitions if (portion := await dropping.portion(archive, one, wanted))]
    entries, octets = sum(one.entries for one in found), sum(one.octets for one in found)
    if not found:
        if common.json:
            document({"dropped": []})
        else:
            Screen().say(f"The archive has nothing before {wanted}.")
        return 0
    first, last = min(one.start for one in found), max(one.end for one in found)
    if not yes and not await confirm(
        f"Remove {count(entries, 'event')} ({size(octets)}) of {first} to {last} for good?"
    ):
        return 1
    async with session(common) as opened:
        archive, wiring = opened_archive(opened), opened.wiring
        gone = []
        for one in partitions:
            dropped = await dropping.drop(
                wiring.store.redis, archive, wiring.log, one, wanted, now=opened.now(), by=actor()
            )
            if dropped is not None:
                gone.append((one, dropped))
    if common.json:
        document({
            "dropped": [
                {"partition": one, "from": part.start, "to": part.end, "segments": part.segments, "events": part.entries}
                for one, part in gone
            ]
        })  # fmt: skip
    else:
        Screen().say(f"{count(sum(part.entries for _, part in gone), 'event')} removed, and the chain says so.")
    return 0
