"""Which entries of allow and block lists speak of a message, and which one holds. Pure.

An entry that names an address, a domain or a pattern speaks of the envelope's sender and of the authors in From. Anybody can write
those, so an allow counts only where the domain of the address that it matched is authenticated: SPF passed for it, a signature of
it or of a domain above it verifies, or DMARC passes. A block needs no proof; neither does what is said of the client's address.

Person over domain over operator. Within one level the more specific entry holds, and a block where two are equally so.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from pipeline.address import Address, AddressError, domain_name, local_key
from pipeline.directory.lists.entries import ALLOW, BLOCK, Form, Rule, Summary, fits, owned

MAX_AUTHORS: Final = 10
MAX_LABELS: Final = 20
OPERATOR, DOMAIN, PERSON = range(3)


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """Who a message comes from, as far as lists speak of it."""

    envelope: str = ""
    authors: tuple[str, ...] = ()
    """Addresses of From."""
    client: str = ""
    country: str = ""
    authenticated: frozenset[str] = frozenset()
    """Domains that SPF, DKIM or DMARC vouch for; lower case, A-labels."""

    def vouched(self, domain: str) -> bool:
        """Whether a domain, or one above it, is authenticated."""
        while "." in domain:
            if domain in self.authenticated:
                return True
            domain = domain.partition(".")[2]
        return False


class Named(NamedTuple):
    """An address that lists are asked about. `local` and `domain` as they are compared."""

    local: str
    domain: str
    said: str
    """What it is, in words."""


class Match(NamedTuple):
    """An entry that speaks of the message."""

    rule: Rule
    level: int
    whose: str
    """In words: of example.com, of anna@example.com, for all domains."""
    said: str
    """What of the message it speaks of, in words."""
    problem: str = ""
    """Why it does not count; empty: it does."""

    def order(self) -> tuple[int, tuple[int, int], bool]:
        return self.level, self.rule.rank, self.rule.action == BLOCK


class Patterns:
    """The patterns of one list, ready to be tried: those at one domain are found by it, of the others most by how they end."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._at: dict[str, list[tuple[str, Rule]]] = {}
        self._wide: list[tuple[str, str, str, Rule]] = []
        for rule in rules:
            local, _, domain = rule.entry.rpartition("@")
            if rule.form is Form.WILD_LOCAL:
                self._at.setdefault(domain, []).append((local_key(local), rule))
            else:
                self._wide.append((domain.rpartition("*")[2], domain, local_key(local), rule))

    def speaking_of(self, name: Named) -> Iterator[Rule]:
        for local, rule in self._at.get(name.domain, ()):
            if fits(local, name.local):
                yield rule
        for end, domain, local, rule in self._wide:
            if name.domain.endswith(end) and fits(domain, name.domain) and fits(local, name.local):
                yield rule


NO_PATTERNS: Final = Patterns(())


class Asked:
    """What a message asks lists for."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.names = _names(sender)
        self._keys: dict[str, tuple[Named, ...]] = {}
        for name in self.names:
            self._add(f"a:{name.local}@{name.domain}", name)
            domain = name.domain
            for _ in range(MAX_LABELS):
                if "." not in domain:
                    break
                self._add(f"d:{domain}", name)
                domain = domain.partition(".")[2]
        self._client = _client(sender.client)

    def _add(self, key: str, name: Named) -> None:
        self._keys[key] = (*self._keys.get(key, ()), name)

    def keys(self, summary: Summary, person: str = "") -> list[str]:
        """Of what could be in a list, apart from its patterns; the same few, however long it is."""
        found = [*self._keys]
        if self._client is not None:
            bits = self._client.max_prefixlen
            number = int(self._client)
            for length in summary.v4 if bits == 32 else summary.v6:
                network = (number >> (bits - length)) << (bits - length)
                first = ipaddress.IPv4Address(network) if bits == 32 else ipaddress.IPv6Address(network)
                found.append(f"n:{first}/{length}")
        if summary.countries and self.sender.country:
            found.append(f"c:{self.sender.country}")
        return [owned(key, person) for key in found] if person else found

    def matches(
        self, rules: Iterable[Rule], patterns: Patterns, now: int, *, level: int, whose: str
    ) -> tuple[Match, ...]:
        """`rules`: those of `keys` that are in the list. `patterns`: of the list."""
        found = [self._match(rule, self._of(rule), level, whose) for rule in rules if rule.counts(now)]
        speaking: dict[str, tuple[Rule, list[Named]]] = {}
        for name in self.names:
            for rule in patterns.speaking_of(name):
                speaking.setdefault(rule.key, (rule, []))[1].append(name)
        found += [self._match(rule, names, level, whose) for rule, names in speaking.values() if rule.counts(now)]
        return tuple(found)

    def _of(self, rule: Rule) -> Sequence[Named]:
        """The addresses that an entry which is there by its key speaks of."""
        return () if rule.form in (Form.NETWORK, Form.COUNTRY) else self._keys.get(rule.key.partition("\t")[0], ())

    def _match(self, rule: Rule, names: Sequence[Named], level: int, whose: str) -> Match:
        if rule.form is Form.NETWORK:
            return Match(rule, level, whose, f"the client {self.sender.client}")
        if rule.form is Form.COUNTRY:
            return Match(rule, level, whose, f"the client's country {self.sender.country}")
        if not names:
            return Match(rule, level, whose, "nobody", "it is stored under the name of another")
        if rule.action == ALLOW:
            vouched = [name for name in names if self.sender.vouched(name.domain)]
            if not vouched:
                return Match(rule, level, whose, names[0].said, "the sender is not authenticated")
            names = vouched
        return Match(rule, level, whose, names[0].said)


def ruling(matches: Iterable[Match]) -> Match | None:
    """The entry that holds, out of all that speak of the message."""
    return max((match for match in matches if not match.problem), key=Match.order, default=None)


def compared(domain: str) -> str:
    """A domain as entries and authenticated domains have it: lower case and A-labels, however an author wrote it."""
    name = domain.rstrip(".")
    if not name.isascii():
        with contextlib.suppress(AddressError):
            return domain_name(name)
    return name.lower()


def _names(sender: Sender) -> tuple[Named, ...]:
    """The envelope's sender and the authors; one that is both is named once."""
    found: dict[tuple[str, str], Named] = {}
    authors = [("the author", author) for author in sender.authors[:MAX_AUTHORS]]
    for who, text in (("the sender", sender.envelope), *authors):
        local, _, domain = text.rpartition("@")
        if local and domain:
            name = Named(local_key(Address(local, domain).plain), compared(domain), f"{who} {text}")
            found.setdefault((name.local, name.domain), name)
    return tuple(found.values())


def _client(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
