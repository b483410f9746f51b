"""What holds for each recipient of one message: their policy, and the entries of lists that speak of it.

A process remembers what it knows of a domain and its people, and forgets it when the directory says that it has changed, at most a
second later. So mail for a domain without lists costs no question to the store, and with lists it costs one, in which the keys are
asked for that could speak of the message: as many for a list of ten entries as for one of a hundred thousand.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import structlog

from pipeline import keys
from pipeline.address import Address as Envelope
from pipeline.asking import Asking
from pipeline.directory.inherit import above
from pipeline.directory.lists.entries import EMPTY, Rule, Summary, decode_rule, decode_summary
from pipeline.directory.lists.matching import DOMAIN, NO_PATTERNS, OPERATOR, PERSON, Asked, Match, Patterns, Sender
from pipeline.directory.model import decode_address
from pipeline.directory.policy import Policy, Resolved, resolve
from pipeline.directory.reading import Reading
from pipeline.events import AddressesRemoved, AddressesSet, AnyEvent, DomainRemoved, DomainSet, RulesRemoved, RulesSet
from pipeline.settings import Settings
from pipeline.store import Store

_log = structlog.get_logger(__name__)

CACHE: Final = 50_000
"""People remembered per process, of whom most have said nothing; about 15 MB."""
NAMES: Final = 8192
"""Recipients whose keys are remembered."""


class View(msgspec.Struct, frozen=True):
    """What decides about the copy of one recipient, or of several of whom the same holds."""

    policy: Resolved
    matches: tuple[Match, ...] = ()


class Views(msgspec.Struct, frozen=True):
    """What holds for the recipients of one message. `domain`: for those of whom nothing else holds."""

    domain: View
    people: Mapping[str, View] = {}


class Person(msgspec.Struct, frozen=True):
    """`key`: of the address that is listed, whatever detail mail names."""

    key: str
    policy: Policy | None = None
    summary: Summary = EMPTY
    patterns: Patterns = NO_PATTERNS


class _Place(msgspec.Struct):
    """A domain, or the operator."""

    summary: Summary
    resolved: Resolved
    people: dict[str, Person]
    patterns: Patterns = NO_PATTERNS


class Policies:
    def __init__(self, store: Store, directory: Reading, settings: Settings) -> None:
        self._store = store
        self._asking = Asking(store.redis)
        self._directory = directory
        self._settings = settings
        self._places: dict[str, _Place] = {}
        self._people = 0
        self._turn = 0
        """Changes so far: what was asked for before one is not remembered after it."""
        directory.watchers.append(self.changed)

    def changed(self, event: AnyEvent | None) -> None:
        """Forget what an event changes; None: everything."""
        self._turn += 1
        if isinstance(event, RulesSet | RulesRemoved | AddressesSet | AddressesRemoved):
            place = self._places.pop(event.domain, None)
            self._people -= len(place.people) if place is not None else 0
        elif event is None or isinstance(event, DomainSet | DomainRemoved):
            self._places.clear()
            self._people = 0

    def layers(self, name: str) -> list[tuple[str, Policy]]:
        """What a domain and its parents say, the nearest first, with who says it."""
        domain = self._directory.domain(name)
        if domain is None:
            return []
        said = [(f"set for {each.name}", each.policy) for each in (domain, *above(self._directory.domains(), domain))]
        return [(origin, policy) for origin, policy in said if policy is not None]

    def resolved(self, name: str, person: str = "", policy: Policy | None = None) -> Resolved:
        """What holds for a domain; with `policy`, for a person of it."""
        layers = self.layers(name)
        mine = f"set by {person}@{name}"
        return resolve(
            [(mine, policy), *layers] if policy is not None else layers,
            spam_threshold=self._settings.spam_threshold,
            phishing_threshold=self._settings.phishing_threshold,
            personal=mine if policy is not None else "",
        )

    async def views(self, name: str, recipients: Sequence[str], sender: Sender, now: int) -> Views:
        """What holds for each recipient, of one home domain. Raises StoreAwayError."""
        domain = self._directory.domain(name)
        delimiter = domain.delimiter if domain is not None else ""
        people = {recipient: _keys(recipient, delimiter) for recipient in recipients}
        operator, place, known = await self._known(name, list(people.values()))
        common, own = await self._matches(name, sender, operator, place, known, now)
        shared = View(place.resolved, common)
        views = {}
        for recipient, person in zip(people, known, strict=True):
            if person.policy is None and not own.get(person.key):
                continue
            resolved = self.resolved(name, person.key, person.policy) if person.policy is not None else place.resolved
            views[recipient] = View(resolved, (*own.get(person.key, ()), *common))
        return Views(shared, views)

    # What is known

    async def _known(self, name: str, people: Sequence[tuple[str, ...]]) -> tuple[_Place, _Place, list[Person]]:
        """The operator's list, the domain, and the people behind local parts; asked for where they are not remembered."""
        operator, place = self._places.get(""), self._places.get(name)
        wanted = [keys_ for keys_ in people if place is None or keys_[0] not in place.people]
        if operator is not None and place is not None and not wanted:
            return operator, place, [place.people[keys_[0]] for keys_ in people]
        turn = self._turn
        operator_data, own_data, rows = await self._ask(name, wanted)
        if place is None:
            place = _place(own_data, self.resolved(name))
        if operator is None:
            operator = _place(operator_data, place.resolved)
        found = {keys_[0]: _person(keys_, rows) for keys_ in wanted}
        known = [found.get(keys_[0]) or place.people[keys_[0]] for keys_ in people]
        if turn == self._turn:
            self._remember(name, place, operator, found)
        return operator, place, known

    def _remember(self, name: str, place: _Place, operator: _Place, found: Mapping[str, Person]) -> None:
        if self._people + len(found) > CACHE:
            self._places.clear()
            self._people = 0
            place = msgspec.structs.replace(place, people={})
        self._places[""] = operator
        self._places[name] = place
        place.people.update(found)
        self._people += len(found)

    async def _ask(
        self, name: str, people: Sequence[tuple[str, ...]]
    ) -> tuple[bytes | None, bytes | None, dict[str, tuple[bytes | None, bytes | None]]]:
        names = list(dict.fromkeys(key for keys_ in people for key in keys_))
        (operator,), (own, *summaries), addresses = await self._asking.fields(
            (keys.lists(""), [""]), (keys.lists(name), ["", *names]), (keys.addresses(name), names or [""])
        )
        rows = {
            key: (summary, address)
            for key, summary, address in zip(names, summaries, addresses[: len(names)], strict=True)
        }
        return operator, own, rows

    # What lists say

    async def _matches(
        self, name: str, sender: Sender, operator: _Place, place: _Place, people: Sequence[Person], now: int
    ) -> tuple[tuple[Match, ...], dict[str, tuple[Match, ...]]]:
        """What speaks of the message: of the domain and the operator, and by person."""
        owners: list[tuple[str, str, _Place | Person]] = [("", "", operator), (name, "", place)]
        owners += {person.key: (name, person.key, person) for person in people}.values()
        lists = [
            _List(domain, person, owner.summary, owner.patterns)
            for domain, person, owner in owners
            if owner.summary.entries
        ]
        if not lists:
            return (), {}
        asked = Asked(sender)
        answers = await self._asking.fields(
            *[(keys.rules(one.domain), asked.keys(one.summary, one.person) or ["-"]) for one in lists]
        )
        common: tuple[Match, ...] = ()
        own: dict[str, tuple[Match, ...]] = {}
        for one, rows in zip(lists, answers, strict=True):
            rules = [rule for data in rows if data is not None and (rule := _readable(data)) is not None]
            found = asked.matches(rules, one.patterns, now, level=one.level, whose=one.whose)
            if one.person:
                own[one.person] = found
            else:
                common = (*found, *common)
        return common, own


class _List(NamedTuple):
    """One that may speak of a message."""

    domain: str
    person: str
    summary: Summary
    patterns: Patterns

    @property
    def level(self) -> int:
        return PERSON if self.person else DOMAIN if self.domain else OPERATOR

    @property
    def whose(self) -> str:
        if self.person:
            return f"of {self.person}@{self.domain}"
        return f"of {self.domain}" if self.domain else "for all domains"


def _readable(data: bytes) -> Rule | None:
    """None: it is damaged, and counts as if it were not there; mail goes on."""
    try:
        return decode_rule(data)
    except msgspec.DecodeError as error:
        _log.error("an entry of a list cannot be read", reason=str(error), remedy="remove and add it: gatepost policy")
        return None


def _place(data: bytes | None, resolved: Resolved) -> _Place:
    summary = decode_summary(data) if data else EMPTY
    return _Place(summary, resolved, {}, Patterns(summary.patterns.values()))


@functools.lru_cache(NAMES)
def _keys(recipient: str, delimiter: str) -> tuple[str, ...]:
    """Under which keys a recipient may be listed, the likeliest first: as named, and without a detail."""
    local, _, name = recipient.rpartition("@")
    key = Envelope(local, name).key
    base = key.partition(delimiter)[0] if delimiter else ""
    return (key, base) if base and base != key else (key,)


def _person(names: Sequence[str], rows: Mapping[str, tuple[bytes | None, bytes | None]]) -> Person:
    """The first of `names` that is listed; else nobody in particular, whose list may stand there all the same."""
    key = next((key for key in names if rows[key][1] is not None), names[0])
    data, address = rows[key]
    summary = decode_summary(data) if data else EMPTY
    patterns = Patterns(summary.patterns.values()) if summary.patterns else NO_PATTERNS
    return Person(key, decode_address(address).policy if address is not None else None, summary, patterns)


def unlisted(settings: Settings) -> Views:
    """What holds where nobody has said anything but the settings."""
    return Views(
        View(resolve((), spam_threshold=settings.spam_threshold, phishing_threshold=settings.phishing_threshold))
    )
