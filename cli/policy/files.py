"""Lists as files: import with a preview, and export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

from cyclopts import Parameter

from cli.options import DEFAULT, Common
from cli.policy.scope import EVERYBODY, Scope, Whose

if TYPE_CHECKING:
    from cli.progress import Progress
    from cli.session import Session
    from pipeline.directory.lists.changes import Listed
    from pipeline.directory.lists.entries import Rule

LONG_WORK = 5000
MOST_BAD = 10_000
"""Bad lines after which a file is not read any further."""


async def import_(
    file: Annotated[str, Parameter(help="The file, or - for standard input.", allow_leading_hyphen=True)],
    /,
    *,
    whose: Whose = EVERYBODY,
    as_: Annotated[str, Parameter(name="--as", help="allow or block: what lines are that do not say it.")] = "",
    replace: Annotated[bool, Parameter(help="Entries that are not in the file go.")] = False,
    preview: Annotated[bool, Parameter(help="Say what would change, and change nothing.")] = False,
    yes: Annotated[bool, Parameter(help="Do not ask before entries go.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Read a list: an entry on each line, or CSV with a column `entry`.

    Columns `action` (allow, block), `note`, `expires` (2027-01-31) and `content`
    (yes) count too. All lines are checked first. If one is bad, each bad one is
    shown with its number, and nothing is changed. An import is one change, which
    can be taken back.

    For example:

      gatepost policy import partners.txt --as allow --domain example.com
      gatepost policy import lists.csv --replace --preview
      gatepost policy import lists.csv --domain example.com --replace
      gatepost policy import - --domain b.example < a.csv
    """
    from cli.files import opened as open_file
    from cli.files import refuse_bad
    from cli.names import confirm
    from cli.progress import Progress
    from cli.render import Screen, document
    from cli.session import actor, session
    from pipeline.faults import ConfigurationError

    if as_ not in ("", "allow", "block"):
        raise ConfigurationError(f"--as {as_}: expected allow or block")
    scope = whose.scope()
    with open_file(file) as stream, Progress("reading lines", None) as bar:
        rules, bad = _read(stream, bar, as_, scope.person)
    refuse_bad(file, bad)
    async with session(common, create=True) as opened:
        scope = await scope.at_home(opened)
        expected = await _compared(opened, scope, rules, replace=replace)
    if preview:
        _say(common, scope, expected)
        return 0
    if expected.removed and not yes and not await confirm(f"{expected.removed:,} entries would go. Replace the list?"):
        return 1
    with Progress("changing the list", None, shown=len(rules) >= LONG_WORK):
        async with session(common, create=True) as opened:
            done = await opened.wiring.directory.set_rules(
                scope.domain, list(rules.values()), by=actor(), now=opened.now(), note=f"import of {Path(file).name}",
                replace=scope.person if replace else None,
            )  # fmt: skip
    if common.json:
        document({"of": scope.words, "preview": False, **done._asdict()})
    else:
        from cli.policy.entries import in_words

        Screen().say(f"Lists {scope.words}: ", (in_words(done), "bold"))
    return 0


def _say(common: Common, scope: Scope, expected: Listed) -> None:
    from cli.policy.entries import in_words
    from cli.render import Screen, document

    if common.json:
        document({"of": scope.words, "preview": True, **expected._asdict()})
        return
    screen = Screen()
    screen.say(f"Lists {scope.words} would have: ", (in_words(expected), "bold"))
    screen.say(("Nothing was changed.", "dim"))


def _read(stream: BinaryIO, bar: Progress, action: str, person: str) -> tuple[dict[str, Rule], dict[int, str]]:
    """Entries by key, of which the last mention counts; and bad lines by number."""
    from cli.files import lines
    from pipeline.directory.lists.entries import MAX_ENTRIES
    from pipeline.directory.lists.file import MAX_LINE, read
    from pipeline.faults import RefusedError

    rules: dict[str, Rule] = {}
    bad: dict[int, str] = {}
    for line in read(lines(stream, MAX_LINE, bar), action=action, person=person):
        if line.rule is None:
            bad[line.number] = line.fault
        else:
            rules[line.rule.key] = line.rule
        # Whatever the file is, it is not read into memory to be refused then.
        if len(rules) > MAX_ENTRIES:
            raise RefusedError(f"the list would have more than {MAX_ENTRIES:,} entries")
        if len(bad) >= MOST_BAD:
            break
    return rules, bad


async def _compared(opened: Session, scope: Scope, rules: dict[str, Rule], *, replace: bool) -> Listed:
    """What an import would do."""
    from pipeline.directory.lists.changes import Listed, Lists

    lists = Lists(opened.wiring.store, scope.domain)
    there = await lists.all_rules(scope.person) if replace else await lists.rules(list(rules))
    same = sum(rule.says_the_same(there.get(key)) for key, rule in rules.items())
    new = sum(key not in there for key in rules)
    return Listed(
        added=new,
        changed=len(rules) - same - new,
        unchanged=same,
        removed=sum(key not in rules for key in there) if replace else 0,
    )


async def export(*, whose: Whose = EVERYBODY, common: Common = DEFAULT) -> int:
    """Write a list as CSV, as `gatepost policy import` reads it.

    For example:

      gatepost policy export --domain example.com > lists.csv
    """
    from cli.policy.entries import rule_form
    from cli.render import clean, document
    from cli.session import session
    from pipeline.directory.lists.changes import Lists
    from pipeline.directory.lists.file import ordered, write

    scope = whose.scope()
    async with session(common) as opened:
        scope = await scope.at_home(opened)
        rows = ordered((await Lists(opened.wiring.store, scope.domain).all_rules(scope.person)).values())
        now = opened.now()
    if common.json:
        document({"of": scope.words, "entries": [rule_form(rule, now) for rule in rows]})
        return 0
    sys.stdout.writelines(clean(line.rstrip("\n")) + "\n" for line in write(rows))
    return 0
