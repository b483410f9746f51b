"""Teaching many messages: several at once, each reported, none twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from cli.learn.mail import Found
from pipeline.scanning.bayes.evidence import teaches
from projections.readers.rehearsal import Rehearsal

if TYPE_CHECKING:
    from workers.learning import Learning
    from workers.wiring import Wiring

AT_ONCE: Final = 32
"""Messages that are recorded together."""


class Taught(msgspec.Struct):
    """What came of it."""

    seen: int = 0
    learned: int = 0
    spam: int = 0
    ham: int = 0
    same: int = 0
    """Known before, or, when it was to be forgotten, never learnt."""
    sure: int = 0
    """Left out, because the classifier knows them."""
    problems: list[tuple[str, str]] = msgspec.field(default_factory=list)


async def teach(
    wiring: Wiring,
    learning: Learning,
    domain: str,
    work: Iterable[tuple[bool, Found]],
    *,
    doubtful: bool,
    forget: bool,
    told: Callable[[int], None],
) -> Taught:
    """Learn or forget all of them. `doubtful`: only what teaches something. `told`: how many more were seen."""
    rehearsal = await _rehearsal(wiring, domain) if doubtful else None
    taught = Taught()
    source = iter(work)
    while chunk := list(islice(source, AT_ONCE)):
        chosen: list[tuple[bool, Found]] = []
        for spam, found in _readable(chunk, taught):
            if rehearsal is None or await _teaches(learning, rehearsal, domain, found.content, spam=spam):
                chosen.append((spam, found))
            else:
                taught.sure += 1
        results = await asyncio.gather(*[_say(learning, domain, found, spam, forget=forget) for spam, found in chosen])
        for (spam, _), done in zip(chosen, results, strict=True):
            taught.learned += done
            taught.same += not done
            taught.spam += done and spam
            taught.ham += done and not spam
        told(len(chunk))
    return taught


def _readable(chunk: Iterable[tuple[bool, Found]], taught: Taught) -> Iterator[tuple[bool, Found]]:
    for spam, found in chunk:
        if found.problem:
            taught.problems.append((found.name, found.problem))
        else:
            taught.seen += 1
            yield spam, found


async def _say(learning: Learning, domain: str, found: Found, spam: bool, *, forget: bool) -> bool:
    if forget:
        return await learning.forget(domain, found.content)
    return await learning.learn(domain, found.content, spam=spam, how="taught")


async def _rehearsal(wiring: Wiring, domain: str) -> Rehearsal:
    """The counts as they are, which lessons are tried on before they are given."""
    rehearsal = Rehearsal()
    for name in {"", domain}:
        await rehearsal.load(wiring.store.redis, wiring.store.partitions, name)
    return rehearsal


async def _teaches(learning: Learning, rehearsal: Rehearsal, domain: str, content: bytes, *, spam: bool) -> bool:
    tokens = await learning.tokens(content)
    if not teaches(rehearsal.counted(domain, tokens), spam=spam):
        return False
    rehearsal.learn(domain, tokens, spam=spam)
    return True
