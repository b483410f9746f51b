"""`gatepost audit log`: who did what when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cli.render import clean, count, local, rfc3339
from cli.words import describe
from pipeline.events import AnyEvent, DirectoryEvent, Recorded

if TYPE_CHECKING:
    from cli.render import Screen
    from projections.readers.actions import Page

SAID: Final = 4
"""Details of a change in its line: all of them are in `gatepost directory show`."""
LONGEST: Final = 10_000_000_000
"""ns between two of the same that are shown as one."""


class Group(msgspec.Struct):
    """The same, done to several at once: shown in a line."""

    newest: Recorded
    number: int = 1
    oldest: int = 0


def groups(actions: Sequence[Recorded]) -> list[Group]:
    found: list[Group] = []
    for recorded in actions:
        if found and _same(found[-1], recorded):
            found[-1].number += 1
            found[-1].oldest = recorded.event.at
        else:
            found.append(Group(recorded, oldest=recorded.event.at))
    return found


def _same(group: Group, recorded: Recorded) -> bool:
    one, other = group.newest.event, recorded.event
    if type(one) is not type(other) or abs(group.oldest - other.at) > LONGEST:
        return False
    return _what(one) == _what(other)


def _what(event: AnyEvent) -> tuple[Any, ...]:
    names = ("by", "domain", "action", "reason", "how", "to", "then", "undoes", "note", "spam")
    # Each change of the directory stands for itself, with all its events.
    return (*(getattr(event, name, None) for name in names), getattr(event, "change", None))


def show(screen: Screen, page: Page) -> None:
    if not page.actions:
        screen.say("Nobody did anything.")
    rows = []
    for group in groups(page.actions):
        event: Any = group.newest.event
        said = describe(event)
        text = said.text if group.number == 1 else f"{count(group.number, 'time')}, the last: {said.text}"
        if isinstance(event, DirectoryEvent) and len(said.more) > 1:
            text = f"{text}: {'; '.join(said.more[1:SAID])}"
        rows.append([
            (local(event.at), "dim"), (clean(event.by), "bold"), clean(event.domain) or ("all", "dim"),
            (said.verb, said.style), text,
        ])  # fmt: skip
    if rows:
        screen.table(["when", "who", "domain", "did", "what"], rows)
    if page.following:
        screen.say((f"There may be older ones: --after {page.following}", "dim"))


def form(page: Page) -> dict[str, Any]:
    from cli.audit.readable import readable

    return {"actions": [_form(one, readable(one.event)) for one in page.actions], "following": page.following or None}


def _form(recorded: Recorded, event: dict[str, Any]) -> dict[str, Any]:
    done: Any = recorded.event
    said = describe(done)
    return {
        "at": rfc3339(done.at),
        "by": done.by,
        "domain": done.domain,
        "kind": event["type"],
        "subject": recorded.subject,
        "partition": recorded.partition,
        "entry": recorded.entry,
        "text": said.text,
        "event": event,
    }
