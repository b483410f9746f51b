"""`gatepost quarantine list`, `search`, `stats` and `reports`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from cli.options import DEFAULT, Common
from cli.quarantine.filters import NONE, Filters

if TYPE_CHECKING:
    from cli.render import Screen
    from projections.quarantine import Report
    from projections.readers.quarantine import Kept, Stats

MOST: Final = 50


async def list_(
    *,
    filters: Filters = NONE,
    limit: Annotated[int, Parameter(help=f"Messages at most; {MOST} unless said.")] = MOST,
    after: Annotated[str, Parameter(help="Go on where another page ended, which says how.")] = "",
    common: Common = DEFAULT,
) -> int:
    """List what is kept, the newest first.

    Filters can be combined. Whole addresses, @domains, whole words, classes,
    countries and tests are found at once however much is kept; parts of them
    are looked for in one message after the other.

    For example:

      gatepost quarantine list
      gatepost quarantine list --recipient anna@example.com --days 7
      gatepost quarantine search --sender @partner.example --subject "invoice 2026"
      gatepost quarantine search --class virus --country CN --json
    """
    from cli.quarantine.filters import Walk
    from cli.quarantine.forms import kept_form
    from cli.render import Screen, count, document, rfc3339
    from cli.session import session
    from pipeline.faults import ConfigurationError

    if limit < 1:
        raise ConfigurationError(f"--limit is {limit}; at least 1")
    async with session(common, views=True) as opened:
        now = opened.now()
        walk = Walk(opened, filters.query(now), after=after, shown=not common.json)
        found = await walk.take(limit)
    if common.json:
        document({"at": rfc3339(now), "messages": [kept_form(one) for one in found], "after": walk.after or None})
        return 0
    screen = Screen()
    if not found:
        screen.say((f"Nothing is in quarantine{' that matches' if filters.any or after else ''}.", "green"))
        return 0
    tell_kept(screen, found, now)
    screen.say()
    screen.say((count(len(found), "message"), "dim"), *((f"; more with --after {walk.after}",) if walk.after else ()))
    return 0


def tell_kept(screen: Screen, found: Sequence[Kept], now: int) -> None:
    from cli.render import clean, relative
    from cli.words import path, people

    screen.table(
        ["id", "kept", "as", ">score", "from", "to", "subject"],
        [
            [
                (one.id, "bold"), relative(one.since, now), (_kept_as(one), "yellow"), f"{one.score:g}",
                path(one.sender), people(one.recipients), clean(one.subject),
            ]
            for one in found
        ],
    )  # fmt: skip


def _kept_as(one: Kept) -> str:
    """What is clean by its content is kept for a reason of its own."""
    from cli.render import clean

    return clean(", ".join(one.reason if name in ("", "clean") and one.reason else name for name in one.classes))


async def stats(
    *,
    domain: Annotated[str, Parameter(help="Only of this domain.")] = "",
    common: Common = DEFAULT,
) -> int:
    """How much is kept: messages, size, classes, countries, the oldest.

    For example:

      gatepost quarantine stats
      gatepost quarantine stats --domain example.com --json
    """
    from cli.names import domain_of
    from cli.quarantine.forms import stats_form
    from cli.render import Screen, document
    from cli.session import actor, session
    from workers.quarantine import Quarantine

    wanted = domain_of(domain) if domain else None
    async with session(common, views=True) as opened:
        found = await Quarantine(opened.wiring, by=actor()).stats(wanted)
        now = opened.now()
    if common.json:
        document({"domains": [stats_form(one) for one in found]})
        return 0
    screen = Screen()
    if not any(one.messages for one in found):
        screen.say(("Nothing is in quarantine.", "green"))
        return 0
    tell_stats(screen, found, now)
    return 0


def tell_stats(screen: Screen, found: Sequence[Stats], now: int) -> None:
    from cli.render import age, clean, count, size

    screen.table(
        ["domain", ">messages", ">size", "oldest", "classes", "countries"],
        [
            [
                (clean(one.domain), "bold"), f"{one.messages:,}", size(one.bytes),
                age(now - one.oldest) if one.oldest else "", _counted(one.classes), _counted(one.countries),
            ]
            for one in sorted(found, key=lambda one: -one.messages)
        ],
    )  # fmt: skip
    if len(found) > 1:
        screen.say()
        total = sum(one.messages for one in found)
        screen.say((f"{count(total, 'message')}, {size(sum(one.bytes for one in found))}", "dim"))


def _counted(numbers: dict[str, int]) -> str:
    from cli.render import clean

    shown = [f"{clean(name)} {number:,}" for name, number in list(numbers.items())[:5]]
    return ", ".join(shown) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")


async def reports(
    *,
    domain: Annotated[str, Parameter(help="Only of this domain's mail.")] = "",
    common: Common = DEFAULT,
) -> int:
    """What was reported as judged wrongly, the newest 100 of each domain.

    For example:

      gatepost quarantine reports --domain example.com
    """
    from cli.forms import event_form
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import session
    from projections.readers.quarantine import read_reports

    wanted = domain_of(domain) if domain else None
    async with session(common, views=True) as opened:
        found = await read_reports(opened.wiring.store.redis, opened.wiring.store.partitions, wanted)
        now = opened.now()
    if common.json:
        document({"reports": [{"id": one.id, **event_form(one.event)} for one in found]})
        return 0
    screen = Screen()
    if not found:
        screen.say(("Nothing was reported.", "green"))
        return 0
    _reports(screen, found, now)
    return 0


def _reports(screen: Screen, found: Sequence[Report], now: int) -> None:
    from cli.render import clean, relative
    from cli.words import path

    screen.table(
        ["reported", "as", "domain", "message", "from", "by", "learned", "note"],
        [
            [
                relative(one.event.at, now), "bad mail" if one.event.spam else "good mail", clean(one.event.domain),
                (clean(one.event.message), "bold"), path(one.event.sender), clean(one.event.by),
                "yes" if one.event.learned else "no", clean(one.event.note),
            ]
            for one in found
        ],
    )  # fmt: skip
