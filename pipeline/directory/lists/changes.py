"""Changing allow and block lists: into a `Change`, so that it is an event, is shown, and can be taken back.

With the entries a list's `Summary` is written, which says what of the list is worth asking for. Both are in the same step as the event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from pipeline import keys
from pipeline.directory.change import CHUNK, Change
from pipeline.directory.lists.entries import (
    EMPTY,
    MAX_ENTRIES,
    MAX_OF_PERSON,
    MAX_PATTERNS,
    MAX_PATTERNS_OF_PERSON,
    Rule,
    Summary,
    decode_rule,
    decode_summary,
    person_of,
)
from pipeline.directory.model import encode
from pipeline.events import RulesRemoved, RulesSet
from pipeline.faults import RefusedError
from pipeline.steps import Word
from pipeline.store import Store, faults

PAGE: Final = 1000


class Listed(NamedTuple):
    """What came of changing a list."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0


class Lists:
    """The lists of one domain as they are in the store, for a change of them. `domain` empty: the operator's."""

    def __init__(self, store: Store, domain: str) -> None:
        self._store = store
        self.domain = domain

    async def rules(self, wanted: Sequence[str]) -> dict[str, Rule]:
        """Those of `wanted` that are there, by key."""
        found: dict[str, Rule] = {}
        for start in range(0, len(wanted), PAGE):
            page = wanted[start : start + PAGE]
            with faults():
                rows: Any = await self._store.redis.hmget(keys.rules(self.domain), page)
            found |= {key: decode_rule(data) for key, data in zip(page, rows, strict=True) if data is not None}
        return found

    async def all_rules(self, person: str | None = None) -> dict[str, Rule]:
        """By key; those of `person` ("" for the domain's own), None: of all. In no order."""
        found: dict[str, Rule] = {}
        with faults():
            async for key, data in self._store.redis.hscan_iter(keys.rules(self.domain), count=PAGE):
                name = key.decode()
                if person is None or person_of(name) == person:
                    found[name] = decode_rule(data)
        return found

    async def summaries(self, persons: Iterable[str]) -> dict[str, Summary]:
        names = sorted(set(persons))
        if not names:
            return {}
        with faults():
            rows: Any = await self._store.redis.hmget(keys.lists(self.domain), names)
        return {name: decode_summary(data) if data else EMPTY for name, data in zip(names, rows, strict=True)}

    async def count(self) -> int:
        with faults():
            return int(await self._store.redis.hlen(keys.rules(self.domain)))


def put(
    change: Change, domain: str, rules: Sequence[Rule], before: Mapping[str, Rule], summaries: Mapping[str, Summary]
) -> Listed:
    """Add or change entries. `before`: those of them that are there; `summaries`: of the lists that they are in.

    Raises RefusedError where a list would become too long.
    """
    wanted = {rule.key: rule for rule in rules}
    rows = [(key, rule) for key, rule in wanted.items() if not rule.says_the_same(before.get(key))]
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        after = tuple([encode(rule) for _, rule in chunk])
        words: list[Word] = []
        for (key, _), data in zip(chunk, after, strict=True):
            words += (key, data)
        change.add(
            RulesSet,
            ("HSET", keys.rules(domain), *words),
            domain=domain,
            rules=tuple([key for key, _ in chunk]),
            before=tuple([encode(before[key]) if key in before else b"" for key, _ in chunk]),
            after=after,
        )
    _summarise(change, domain, [(before.get(key), rule) for key, rule in rows], summaries)
    added = sum(key not in before for key, _ in rows)
    return Listed(added=added, changed=len(rows) - added, unchanged=len(wanted) - len(rows))


def take(change: Change, domain: str, rules: Sequence[Rule], summaries: Mapping[str, Summary]) -> int:
    """Take away entries that are there."""
    change.removed_rules[domain] += len(rules)
    for start in range(0, len(rules), CHUNK):
        chunk = rules[start : start + CHUNK]
        names = [rule.key for rule in chunk]
        change.add(
            RulesRemoved,
            ("HDEL", keys.rules(domain), *names),
            domain=domain,
            rules=tuple(names),
            before=tuple([encode(rule) for rule in chunk]),
        )
    _summarise(change, domain, [(rule, None) for rule in rules], summaries)
    return len(rules)


async def move(change: Change, store: Store, source: str, target: str) -> int:
    """What lists of a domain and its people have goes to those of another, where that has nothing under the same name; how many did.

    Raises RefusedError where a list would become too long.
    """
    ours = await Lists(store, source).all_rules()
    if not ours:
        return 0
    there = Lists(store, target)
    theirs = await there.rules(list(ours))
    persons = {rule.person for rule in ours.values()}
    take(change, source, list(ours.values()), await Lists(store, source).summaries(persons))
    rows = [rule for key, rule in ours.items() if key not in theirs]
    return put(change, target, rows, {}, await there.summaries(persons)).added


def _summarise(
    change: Change, domain: str, rows: Iterable[tuple[Rule | None, Rule | None]], summaries: Mapping[str, Summary]
) -> None:
    """Bring the summaries up to date; a change that does several things goes on with what it made of them before."""
    touched: set[str] = set()
    for before, after in rows:
        rule = after or before
        assert rule is not None
        place = (domain, rule.person)
        summary = change.lists.get(place) or summaries.get(rule.person, EMPTY)
        change.lists[place] = summary.changed(before, after)
        touched.add(rule.person)
    for person in sorted(touched):
        summary = change.lists[domain, person]
        _check(person, summary)
        if summary.entries:
            change.effects.append(("HSET", keys.lists(domain), person, encode(summary)))
        else:
            change.effects.append(("HDEL", keys.lists(domain), person))


def _check(person: str, summary: Summary) -> None:
    entries, patterns = (MAX_OF_PERSON, MAX_PATTERNS_OF_PERSON) if person else (MAX_ENTRIES, MAX_PATTERNS)
    if summary.entries > entries:
        raise RefusedError(f"the list would have {summary.entries:,} entries, and may have {entries:,}")
    if len(summary.patterns) > patterns:
        raise RefusedError(
            f"the list would have {len(summary.patterns):,} patterns, and may have {patterns:,}",
            remedy="Each is tried with each message. Name domains where that will do: example.org holds for all below it.",
        )


def decoded(data: bytes) -> Rule | None:
    try:
        return decode_rule(data) if data else None
    except msgspec.DecodeError:
        return None
