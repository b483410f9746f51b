"""`gatepost replies unknown`: answers that no rule knows, so that the table can grow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from cli.options import DEFAULT, Common
from cli.period import WHOLE, Period

if TYPE_CHECKING:
    from cli.render import Screen
    from pipeline.diagnosis.tally import Unknown, Unknowns

SHOWN: Final = 40


async def unknown(
    *,
    domain: Annotated[str | None, Parameter(help="Only this one.")] = None,
    table: Annotated[Path | None, Parameter(help="Another table than the one in force.")] = None,
    period: Period = WHOLE,
    common: Common = DEFAULT,
) -> int:
    """Answers of servers that no rule knows, equal ones as one, the most frequent first.

    They are equal when they differ in numbers, addresses and queue ids only. What
    no rule knows goes by its code: a 5xx returns the message, a 4xx makes it wait.

    For example:

      gatepost replies unknown
      gatepost replies unknown --domain example.com --days 30
      gatepost replies unknown --table mine.toml --json
    """
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.replies.backtest import left_off
    from cli.replies.history import History
    from cli.session import session
    from pipeline import diagnosis
    from pipeline.diagnosis.tally import Unknowns

    other = diagnosis.load(table) if table is not None else None
    wanted = domain_of(domain) if domain is not None else ""
    async with session(common) as opened:
        first, last = period.bounds(opened.now())
        history = History(opened, wanted, first, last)
        found = Unknowns(other or opened.wiring.table)
        async for domain_, at, attempt in history.attempts():
            found.add(domain_, at, attempt)
    if common.json:
        document({
            "entries": history.read,
            "damaged": history.damaged,
            "attempts": found.seen,
            "unknown": found.unknown,
            "replies": [_form(group) for group in found.groups()],
            "left_off": found.left_off,
        })  # fmt: skip
        return 0
    screen = Screen()
    _show(screen, found)
    left_off(screen, found.left_off, history.damaged)
    return 0


def _show(screen: Screen, found: Unknowns) -> None:
    from cli.render import clean, count, local

    groups = found.groups()
    if not groups:
        screen.say((f"Every reply is known; there are {count(found.seen, 'attempt')}.", "green"))
        return
    screen.say((f"{found.unknown:,} of {count(found.seen, 'attempt')} ended with words that no rule knows:", "bold"))
    for group in groups[:SHOWN]:
        screen.say()
        when = local(group.last) if group.count == 1 else f"{local(group.first)} to {local(group.last)}"
        screen.say((f"{count(group.count, 'time')}  ", "bold"), when)
        where = ", ".join(map(clean, [*group.stages, *group.software]))
        screen.say("  ", (f"{_domains(group)}, at {where}", "dim"))
        screen.quote(group.example.reply, 2)
    if len(groups) > SHOWN:
        screen.say()
        screen.say((f"and {len(groups) - SHOWN:,} more; --json has them all", "dim"))
    screen.say()
    screen.say("Give them a rule: gatepost replies table > mine.toml, and docs/replies.md says how.")


def _domains(group: Unknown) -> str:
    from cli.render import clean

    return ", ".join(map(clean, group.domains)) + (" and others" if group.more_domains else "")


def _form(group: Unknown) -> dict[str, Any]:
    from cli.forms import attempt_form
    from cli.render import rfc3339

    return {
        "count": group.count,
        "words": group.likeness,
        "code": group.code,
        "first_at": rfc3339(group.first),
        "last_at": rfc3339(group.last),
        "domains": list(group.domains),
        "more_domains": group.more_domains,
        "stages": list(group.stages),
        "software": list(group.software),
        "example": attempt_form(group.example),
    }
