"""`gatepost domain merge`: one domain out of two, looked at before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.domain.common import existing, rerouted
from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.directory.merging import Merger

SHOWN = 10
"""Addresses that are named of each kind."""


async def merge(
    source: Annotated[str, Parameter(help="The domain that becomes an alias.")],
    target: Annotated[str, Parameter(help="The domain that keeps its name, its route and its settings.")],
    /,
    *,
    preview: Annotated[bool, Parameter(help="Show what would happen, and change nothing.")] = False,
    yes: Annotated[bool, Parameter(help="Do not ask.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Make one domain out of two: the addresses of the first are added to the second, of which it becomes an alias.

    What would happen is shown first. Mail that waits for the first is forwarded
    to the servers of the second. It is one change, which can be taken back.

    For example:

      gatepost domain merge old.example example.com --preview
      gatepost domain merge old.example example.com
    """
    from cli.names import confirm, domain_of
    from cli.render import Screen, count, document
    from cli.session import actor, session
    from pipeline.directory.change import Change
    from pipeline.directory.lists.changes import move
    from pipeline.directory.merging import carry_out

    names = domain_of(source), domain_of(target)
    async with session(common) as opened:
        planned, _ = await _plan(opened, *names)
    screen = Screen()
    if not common.json:
        _show(screen, planned)
    if preview:
        if common.json:
            document({**_form(planned), "done": False})
        return 0
    if not yes and not await confirm(f"Merge {names[0]} into {names[1]}?"):
        return 1
    async with session(common) as opened:

        async def build(change: Change) -> Merger:
            merger, ours = await _plan(opened, *names)
            carry_out(change, merger, ours)
            await move(change, opened.wiring.store, *names)
            return merger

        async with rerouted(opened) as moved:
            done = await opened.wiring.directory.change(
                build, by=actor(), now=opened.now(), note=f"merges {names[0]} into {names[1]}"
            )
    if common.json:
        document({**_form(done), "done": True, "waiting": moved.messages})
        return 0
    screen.say(
        (names[0], "bold"),
        f" is an alias of {names[1]} now; {count(len(done.moved), 'address', 'addresses')} went there",
    )
    if moved.messages:
        screen.say(f"  {moved.messages:,} waiting messages go to its servers now.")
    return 0


async def _plan(opened: Session, source: str, target: str) -> tuple[Merger, dict[str, Any]]:
    from pipeline.directory.merging import plan

    directory = opened.wiring.directory
    first, second = await existing(opened, source), await existing(opened, target)
    ours, theirs = await directory.all_rows(source), await directory.all_rows(target)
    return plan(directory.domains(), first, second, ours, theirs), ours


def _show(screen: Any, merger: Merger) -> None:
    from cli.names import written
    from cli.render import clean, count

    target = merger.target.name
    screen.heading(f"{merger.source.name} into {target}")
    differ = [f"{clean(ours.local)} ({ours.kind}, there {theirs.kind})" for ours, theirs in merger.different]
    screen.facts([
        ("added there", _some([clean(written(address.local, target)) for address in merger.moved])),
        ("in both", count(merger.same, "address", "addresses") if merger.same else ""),
        ("differ", (_some(differ) + "; those of " + target + " stay" if differ else "", "yellow")),
        ("aliases", _some(list(merger.aliases))),
        ("children", _some(list(merger.children))),
        ("from then on", (f"what is not listed is refused: {merger.source.name} accepts every address, {target} does not" if merger.refused else "", "yellow")),
    ])  # fmt: skip


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _form(merger: Merger) -> dict[str, Any]:
    target = merger.target.name
    return {
        "source": merger.source.name,
        "target": target,
        "added": [f"{address.local}@{target}" for address in merger.moved],
        "same": merger.same,
        "different": [
            {"local": ours.local, "source": ours.kind, "target": theirs.kind} for ours, theirs in merger.different
        ],
        "aliases": list(merger.aliases),
        "children": list(merger.children),
        "refuses_unlisted": merger.refused,
    }
