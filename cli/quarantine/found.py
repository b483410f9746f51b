"""What filters find of the kept messages, before something is done with all of it: counted, with a few examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from cli.session import Session
    from projections.readers.quarantine import Kept, Query

EXAMPLES: Final = 5


class Found(msgspec.Struct):
    messages: int = 0
    copies: int = 0
    bytes: int = 0
    domains: Counter[str] = msgspec.field(default_factory=Counter)
    classes: Counter[str] = msgspec.field(default_factory=Counter)
    examples: list[Any] = []

    def add(self, one: Kept) -> None:
        self.messages += 1
        self.copies += len(one.recipients)
        self.bytes += one.size
        self.domains[one.domain] += 1
        self.classes.update(one.classes)
        if len(self.examples) < EXAMPLES:
            self.examples.append(one)


async def matching(opened: Session, query: Query, most: int) -> AsyncIterator[Kept]:
    from cli.quarantine.filters import Walk

    number = 0
    async for one in Walk(opened, query, shown=False).every():
        yield one
        number += 1
        if number == most:
            return


async def count_all(opened: Session, query: Query, most: int, *, shown: bool) -> Found:
    from cli.progress import Progress

    found = Found()
    with Progress("counting", None, shown=shown) as progress:
        async for one in matching(opened, query, most):
            found.add(one)
            progress.advance(1)
    return found


def found_lines(found: Found) -> list[str]:
    from cli.render import clean, count, size
    from cli.words import path, people

    lines = [
        f"{count(found.messages, 'message')}, {count(found.copies, 'copy', 'copies')}, {size(found.bytes)}: "
        + ", ".join(f"{clean(name)} {number:,}" for name, number in found.classes.most_common(EXAMPLES)),
        "  for " + ", ".join(f"{clean(name)} {number:,}" for name, number in found.domains.most_common(EXAMPLES))
        + (f" and {len(found.domains) - EXAMPLES:,} more" if len(found.domains) > EXAMPLES else ""),
    ]  # fmt: skip
    lines += [
        f"  {one.id}  {path(one.sender)} to {people(one.recipients)}: {clean(one.subject)}" for one in found.examples
    ]
    if found.messages > len(found.examples):
        lines.append(f"  and {found.messages - len(found.examples):,} more")
    return lines


def found_form(found: Found) -> dict[str, Any]:
    return {
        "messages": found.messages,
        "copies": found.copies,
        "bytes": found.bytes,
        "domains": dict(found.domains.most_common()),
        "classes": dict(found.classes.most_common()),
        "examples": [one.id for one in found.examples],
    }
