"""Many attempts, counted: what each was decided to be, what another table would make of it, and what no rule knows.

Servers write what they like, and a log may hold a million of their replies: the number of groups is bounded, what finds no place is
counted, and no domain can take all places.
"""

from __future__ import annotations

import functools
import re
from typing import Final

import msgspec

from pipeline.diagnosis.diagnose import UNMATCHED, diagnose, plain
from pipeline.diagnosis.table import Action, Table
from pipeline.events import Attempt

MAX_GROUPS: Final = 2000
"""Each with one reply of at most 4 KiB, and a few names: 10 MB."""
MAX_GROUPS_OF_DOMAIN: Final = 200
"""Of unknown replies: a server that says something else each time leaves room for the others."""
NAMED: Final = 10
"""Domains and stages named in a group."""
REMEMBERED: Final = 1024
"""Replies whose meaning is kept at hand; a dead server says the same each time."""
LONGEST_LIKENESS: Final = 300
_WORD: Final = re.compile(r"[^\W_]++")
_NUMBERS: Final = re.compile(r"#(?:[^\w\s]#)*")


class Decided(msgspec.Struct, frozen=True):
    rule: str
    about: str
    action: Action


class Judge:
    """A table, and what it said of the newest replies."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._remembered = functools.lru_cache(REMEMBERED)(self._decide)

    def of(self, attempt: Attempt) -> Decided:
        return self._remembered(attempt.stage, attempt.code, attempt.enhanced, attempt.reply, attempt.software)

    def _decide(self, stage: str, code: int, enhanced: str, reply: str, software: str) -> Decided:
        attempt = Attempt(server="", stage=stage, code=code, enhanced=enhanced, reply=reply, software=software)
        found = diagnose(attempt, table=self.table)
        return Decided(found.rule, found.about, found.action)


class Group(msgspec.Struct):
    """Attempts that were decided alike."""

    before: Decided
    after: Decided | None
    """None where there is no other table."""
    domain: str
    """Of the example."""
    example: Attempt
    """The newest that was seen."""
    first: int
    last: int
    count: int = 0


class Backtest:
    """What `old` made of the attempts; with `new`, where that makes something else of them: another class or action."""

    def __init__(self, old: Table, new: Table | None = None) -> None:
        self.seen = 0
        self.otherwise = 0
        self.left_off = 0
        """Attempts that belong to no group, as there were too many."""
        self._old = Judge(old)
        self._new = Judge(new) if new is not None else None
        self._groups: dict[tuple[Decided, Decided | None], Group] = {}

    def add(self, domain: str, at: int, attempt: Attempt) -> None:
        self.seen += 1
        before = self._old.of(attempt)
        after = self._new.of(attempt) if self._new is not None else None
        if after is not None:
            if (before.about, before.action) == (after.about, after.action):
                return
            self.otherwise += 1
        group = self._groups.get((before, after))
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                self.left_off += 1
                return
            group = self._groups[before, after] = Group(before, after, domain, attempt, first=at, last=at)
        group.count += 1
        group.first = min(group.first, at)
        if at >= group.last:
            group.last, group.domain, group.example = at, domain, attempt

    def groups(self) -> list[Group]:
        """The largest first."""
        return sorted(self._groups.values(), key=lambda group: (-group.count, group.before.about, group.before.rule))


class Unknown(msgspec.Struct):
    """Replies that say the same, and that no rule knows."""

    likeness: str
    code: int
    example: Attempt
    """The newest that was seen."""
    first: int
    last: int
    count: int = 0
    domains: dict[str, None] = msgspec.field(default_factory=dict)
    """The first ten; in order."""
    more_domains: bool = False
    stages: dict[str, None] = msgspec.field(default_factory=dict)
    software: dict[str, None] = msgspec.field(default_factory=dict)


class Unknowns:
    """The attempts that no rule of `table` knows."""

    def __init__(self, table: Table) -> None:
        self.seen = 0
        self.unknown = 0
        self.left_off = 0
        """Unknown attempts that belong to no group, as there were too many."""
        self._judge = Judge(table)
        self._groups: dict[tuple[int, str], Unknown] = {}
        self._of_domain: dict[str, int] = {}
        """Groups that a domain was the first to need."""

    def add(self, domain: str, at: int, attempt: Attempt) -> None:
        self.seen += 1
        if self._judge.of(attempt).rule != UNMATCHED:
            return
        self.unknown += 1
        group = self._group(domain, at, attempt)
        if group is None:
            self.left_off += 1
            return
        group.count += 1
        group.first = min(group.first, at)
        if at >= group.last:
            group.last, group.example = at, attempt
        if domain not in group.domains:
            if len(group.domains) < NAMED:
                group.domains[domain] = None
            else:
                group.more_domains = True
        for names, name in ((group.stages, attempt.stage), (group.software, attempt.software)):
            if name and len(names) < NAMED:
                names[name] = None

    def _group(self, domain: str, at: int, attempt: Attempt) -> Unknown | None:
        key = attempt.code, likeness(attempt.reply)
        group = self._groups.get(key)
        if group is not None:
            return group
        of_domain = self._of_domain.get(domain, 0)
        if len(self._groups) >= MAX_GROUPS or of_domain >= MAX_GROUPS_OF_DOMAIN:
            return None
        self._of_domain[domain] = of_domain + 1
        group = self._groups[key] = Unknown(key[1], attempt.code, attempt, first=at, last=at)
        return group

    def groups(self) -> list[Unknown]:
        """The largest first."""
        return sorted(self._groups.values(), key=lambda group: (-group.count, -group.last, group.likeness))


def likeness(reply: str) -> str:
    """The words of a reply without what tells it from the next one: addresses, numbers, queue ids."""
    words = _WORD.sub(lambda word: "#" if any(map(str.isdigit, word[0])) else word[0], plain(reply))
    return _NUMBERS.sub("#", words)[:LONGEST_LIKENESS]
