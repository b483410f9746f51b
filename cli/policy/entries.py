"""Entries of allow and block lists, by hand: allow, block, remove, list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common
from cli.policy.scope import EVERYBODY, Whose

if TYPE_CHECKING:
    from pipeline.directory.lists.changes import Listed
    from pipeline.directory.lists.entries import Rule

ENTRY = Parameter(
    help="An address, a domain (with all below it), a pattern such as bounce-*@example.org, a network, or country:DE."
)
NOTE = Parameter(help="Why; shown with the entry.")
UNTIL = Parameter(help="The day on which it ends, such as 2027-01-31.")
MOST = 100


async def allow(
    *entries: Annotated[str, ENTRY],
    whose: Whose = EVERYBODY,
    note: Annotated[str, NOTE] = "",
    until: Annotated[str, UNTIL] = "",
    content: Annotated[
        bool, Parameter(help="Let blocked content pass too, such as attachments that are not allowed.")
    ] = False,
    common: Common = DEFAULT,
) -> int:
    """Deliver mail of these senders, whatever its score.

    An address, a domain or a pattern counts only when SPF, DKIM or DMARC says that
    the mail is theirs; a network and a country always do. A virus never passes.

    For example:

      gatepost policy allow partner.example --domain example.com
      gatepost policy allow 192.0.2.0/24 --note "our own relay" --until 2027-01-31
      gatepost policy allow shop@shop.example --address anna@example.com
    """
    return await _set("allow", entries, whose, note, until, common, content=content)


async def block(
    *entries: Annotated[str, ENTRY],
    whose: Whose = EVERYBODY,
    note: Annotated[str, NOTE] = "",
    until: Annotated[str, UNTIL] = "",
    common: Common = DEFAULT,
) -> int:
    """Keep mail of these senders in quarantine, whatever its score.

    For example:

      gatepost policy block spammer.example *@*.spammer.example
      gatepost policy block country:XX --domain example.com
      gatepost policy block news@shop.example --address anna@example.com
    """
    return await _set("block", entries, whose, note, until, common)


async def _set(
    action: str, entries: Sequence[str], whose: Whose, note: str, until: str, common: Common, *, content: bool = False
) -> int:
    from cli.render import Screen, document
    from cli.session import actor, session
    from pipeline.directory.lists.entries import parse
    from pipeline.directory.lists.file import moment
    from pipeline.faults import ConfigurationError

    scope = whose.scope()
    if not entries:
        raise ConfigurationError("no entry given", remedy="Give one or more, such as example.org.")
    rules = [
        parse(text, action, person=scope.person, content=content, note=note, expires=moment(until)) for text in entries
    ]
    async with session(common, create=True) as opened:
        scope = await scope.at_home(opened)
        done = await opened.wiring.directory.set_rules(scope.domain, rules, by=actor(), now=opened.now())
    if common.json:
        document({"of": scope.words, **listed_form(done)})
        return 0
    Screen().say(f"Lists {scope.words}: ", (in_words(done), "bold"))
    return 0


def listed_form(done: Listed) -> dict[str, int]:
    return done._asdict()


def in_words(done: Listed) -> str:
    words = [f"{number:,} {name}" for name, number in done._asdict().items() if number]
    return ", ".join(words) or "nothing"


async def remove(*entries: Annotated[str, ENTRY], whose: Whose = EVERYBODY, common: Common = DEFAULT) -> int:
    """Take entries off a list, whether they allow or block.

    For example:

      gatepost policy remove partner.example --domain example.com
    """
    from cli.render import Screen, document
    from cli.session import actor, session
    from pipeline.directory.lists.entries import ALLOW, parse
    from pipeline.faults import ConfigurationError

    scope = whose.scope()
    if not entries:
        raise ConfigurationError("no entry given", remedy="Give one or more, as `gatepost policy list` shows them.")
    names = [parse(text, ALLOW, person=scope.person).key for text in entries]
    async with session(common) as opened:
        scope = await scope.at_home(opened)
        removed = await opened.wiring.directory.remove_rules(scope.domain, names, by=actor(), now=opened.now())
    missing = len(set(names)) - removed
    if common.json:
        document({"of": scope.words, "removed": removed, "missing": missing})
        return 0
    Screen().say(
        f"Lists {scope.words}: ", (f"{removed:,} removed", "bold"), f", {missing:,} not listed" if missing else ""
    )
    return 0


async def list_(
    match: Annotated[str, Parameter(help="Only entries that contain this, or match it where it has a *.")] = "",
    /,
    *,
    whose: Whose = EVERYBODY,
    action: Annotated[str, Parameter(help="Only allow, or only block.")] = "",
    people: Annotated[bool, Parameter(help="With the lists of the domain's people.")] = False,
    limit: Annotated[int, Parameter(help=f"How many at most; {MOST} unless said.")] = MOST,
    common: Common = DEFAULT,
) -> int:
    """The entries of a list: what they name, what they do, why, by whom, until when.

    For example:

      gatepost policy list
      gatepost policy list --domain example.com --action block
      gatepost policy list partner --domain example.com --people
    """
    from cli.render import Screen, count, document
    from cli.session import session
    from pipeline.directory.lists.changes import Lists
    from pipeline.directory.lists.file import ordered
    from pipeline.faults import ConfigurationError

    if action not in ("", "allow", "block"):
        raise ConfigurationError(f"--action {action}: expected allow or block")
    scope = whose.scope()
    async with session(common) as opened:
        scope = await scope.at_home(opened)
        found = await Lists(opened.wiring.store, scope.domain).all_rules(None if people else scope.person)
        now = opened.now()
    rows = ordered(rule for rule in found.values() if _chosen(rule, match, action))
    if common.json:
        document({
            "of": scope.words, "entries": [rule_form(rule, now) for rule in rows[:limit]], "more": max(0, len(rows) - limit)
        })  # fmt: skip
        return 0
    screen = Screen()
    if rows:
        screen.table(
            ["entry", "action", *(["of"] if people else []), "note", "by", "since", "until"],
            [_row(rule, now, people=people) for rule in rows[:limit]],
        )
        screen.say()
    more = f", {limit:,} shown; see --limit" if len(rows) > limit else ""
    screen.say((f"{count(len(rows), 'entry', 'entries')} {scope.words}{more}", "dim"))
    return 0


def _chosen(rule: Rule, match: str, action: str) -> bool:
    import fnmatch

    wanted, entry = match.lower(), rule.entry.lower()
    fits = fnmatch.fnmatchcase(entry, wanted) if "*" in wanted else wanted in entry
    return fits and action in ("", rule.action)


def _row(rule: Rule, now: int, *, people: bool) -> list[Any]:
    from cli.render import clean, local
    from pipeline.directory.lists.file import written

    until = local(rule.expires) if rule.expires else ""
    return [
        clean(written(rule)),
        (rule.action + (" with content" if rule.content else ""), "green" if rule.action == "allow" else "red"),
        *([clean(rule.person) or "the domain"] if people else []),
        clean(rule.note),
        (clean(rule.by), "dim"),
        (local(rule.at) if rule.at else "", "dim"),
        until if rule.counts(now) else (f"over since {until}", "yellow"),
    ]


def rule_form(rule: Rule, now: int) -> dict[str, Any]:
    from cli.render import rfc3339
    from pipeline.directory.lists.file import written

    return {
        "entry": written(rule),
        "form": rule.form.value,
        "action": rule.action,
        "content": rule.content,
        "person": rule.person,
        "note": rule.note,
        "by": rule.by,
        "at": rfc3339(rule.at),
        "expires": rfc3339(rule.expires),
        "counts": rule.counts(now),
    }
