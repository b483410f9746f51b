"""`gatepost replies backtest`: what another table would have made of what servers answered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from cli.options import DEFAULT, Common
from cli.period import WHOLE, Period

if TYPE_CHECKING:
    from cli.render import Screen
    from cli.replies.history import History
    from pipeline.diagnosis.tally import Backtest, Decided, Group

SHOWN: Final = 40


async def backtest(
    table: Annotated[Path | None, Parameter(help="A changed table. Left out: what was decided, by class.")] = None,
    /,
    *,
    domain: Annotated[str | None, Parameter(help="Only this one.")] = None,
    period: Period = WHOLE,
    common: Common = DEFAULT,
) -> int:
    """Run a changed table over what servers answered, and show what it would have decided otherwise.

    Every recorded attempt that did not succeed is judged by it and by the table in
    force; nothing is changed. Without a table: how many there were of each class.

    For example:

      gatepost replies backtest mine.toml
      gatepost replies backtest mine.toml --domain example.com --days 30
      gatepost replies backtest --from 2026-11-01 --to 2026-11-30 --json
    """
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.replies.history import History
    from cli.session import session
    from pipeline import diagnosis
    from pipeline.diagnosis.tally import Backtest

    new = diagnosis.load(table) if table is not None else None
    wanted = domain_of(domain) if domain is not None else ""
    async with session(common) as opened:
        first, last = period.bounds(opened.now())
        history = History(opened, wanted, first, last)
        old = opened.wiring.table
        tested = Backtest(old, new)
        async for domain_, at, attempt in history.attempts():
            tested.add(domain_, at, attempt)
    if common.json:
        versions = {"old": old.version, "new": new.version if new is not None else None}
        document(_form(tested, history, versions))
        return 0
    _show(Screen(), tested, history, compared=new is not None)
    return 0


def _show(screen: Screen, tested: Backtest, history: History, *, compared: bool) -> None:
    from cli.render import clean, count

    what = count(tested.seen, "attempt")
    if not tested.seen:
        screen.say(("No attempt that failed is recorded there.", "green"))
    elif compared and not tested.otherwise:
        screen.say((f"All {what} would be decided as by the table in force.", "green"))
    elif compared:
        screen.say((f"{tested.otherwise:,} of {what} would be decided otherwise:", "bold"))
    groups = tested.groups()
    for group in groups[:SHOWN]:
        screen.say()
        arrow = f" -> {_decided(group.after)}" if group.after is not None else ""
        screen.say((f"{group.count:,}  ", "bold"), f"{_decided(group.before)}{arrow}")
        rule = clean(group.before.rule) or "no rule"
        screen.say("   ", (f"{rule} -> {clean(group.after.rule) or 'no rule'}" if group.after else rule, "dim"))
        _example(screen, group)
    if len(groups) > SHOWN:
        screen.say()
        screen.say((f"and {len(groups) - SHOWN:,} groups more; --json has them all", "dim"))
    left_off(screen, tested.left_off, history.damaged)


def _decided(decided: Decided) -> str:
    from cli.render import clean

    return f"{clean(decided.about)}, {decided.action}"


def _example(screen: Screen, group: Group) -> None:
    from cli.render import clean, count, lines_of, local
    from cli.words import place

    screen.say("   ", (f"newest {local(group.last)}, {clean(group.domain)}, {place(group.example)}", "dim"))
    lines = lines_of(group.example.reply)
    screen.say("   ", ("│ ", "dim"), lines[0])
    if len(lines) > 1:
        screen.say("   ", ("│ ", "dim"), (count(len(lines) - 1, "more line"), "dim"))


def left_off(screen: Screen, attempts: int, damaged: int) -> None:
    """What the groups do not show."""
    from cli.render import count

    if attempts:
        screen.say()
        screen.say((f"{count(attempts, 'attempt')} of more groups than are kept apart are not shown.", "yellow"))
    if damaged:
        screen.say()
        screen.say((f"{count(damaged, 'entry', 'entries')} of the log could not be read.", "yellow"))


def _form(tested: Backtest, history: History, versions: dict[str, int | None]) -> dict[str, Any]:
    return {
        "versions": versions,
        "entries": history.read,
        "damaged": history.damaged,
        "attempts": tested.seen,
        "otherwise": tested.otherwise if versions["new"] is not None else None,
        "groups": [_group_form(group) for group in tested.groups()],
        "left_off": tested.left_off,
    }


def _group_form(group: Group) -> dict[str, Any]:
    from cli.forms import attempt_form
    from cli.render import rfc3339

    return {
        "count": group.count,
        "old": _decided_form(group.before),
        "new": _decided_form(group.after) if group.after is not None else None,
        "first_at": rfc3339(group.first),
        "last_at": rfc3339(group.last),
        "domain": group.domain,
        "example": attempt_form(group.example),
    }


def _decided_form(decided: Decided) -> dict[str, str]:
    return {"class": decided.about, "action": decided.action.value, "rule": decided.rule}
