"""What an entry of a directory lists. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pipeline.address import AddressError, listed
from pipeline.sources.definitions import LdapSource, Query
from pipeline.sources.faults import shown
from pipeline.sources.ldap.messages import Found
from pipeline.sources.model import MAX_TARGETS, Collector

MAX_VALUE: Final = 1000
"""Octets of a value that may be an address: one has 510 at most, and a prefix."""
MAX_DN: Final = 200
"""Characters of a DN that are kept for messages."""


class _Attribute(NamedTuple):
    name: str
    """In lower case."""
    prefix: str


class Question:
    """A query with all that its definition says about it, and what the entries that answer it mean."""

    def __init__(self, query: Query, definition: LdapSource) -> None:
        self.base = query.base or definition.base
        self.scope = query.scope or definition.scope
        self._kind = query.kind
        self._addresses = _attributes(query.addresses)
        self._aliases = _attributes((*query.aliases, *(definition.more if query.kind == "mailbox" else ())))
        self._targets = _attributes(query.targets)
        self._catch_all = _attributes(query.catch_all)
        self._unless = [
            (name.lower(), value.lower()) for name, _, value in (text.partition("=") for text in query.unless)
        ]
        holding = [attribute.name for attribute in (*self._addresses, *self._aliases, *self._catch_all)]
        others = [attribute.name for attribute in self._targets] + [name for name, _ in self._unless]
        self.attributes = tuple(dict.fromkeys(holding + others))
        present = "(|{})".format("".join(f"({name}=*)" for name in dict.fromkeys(holding))) if query.present else ""
        self.filter = f"(&{query.filter}{definition.filter}{present})"
        self.identity = (query, self.base, self.scope, self.filter)
        """What makes it another question."""

    def take(self, found: Found, collector: Collector) -> None:
        """Add what an entry lists. Whatever of it is not understood becomes a problem, and the rest goes on."""
        values = _values(found)
        if any(_has(values.get(name, ()), value) for name, value in self._unless):
            return
        reference = shown(found.dn, MAX_DN)
        addresses = list(_texts(values, self._addresses, reference, collector))
        aliases = list(_texts(values, self._aliases, reference, collector))
        leading = list(_texts(values, self._targets, reference, collector))
        targets = _targets(leading)
        if self._kind == "forwarder" and len(targets) == 1:
            # The address elsewhere that a contact leads to is no address here.
            leads_to = targets[0].lower()
            addresses, aliases = ([text for text in some if text.lower() != leads_to] for some in (addresses, aliases))
        alternate = {text.lower() for text in aliases}
        main = ""
        for text in dict.fromkeys(addresses + aliases):
            if not main:
                main = collector.add(text, self._kind, targets, reference)
            elif text.lower() in alternate:
                collector.add(text, "alias", (main,), reference)
            else:
                collector.add(text, self._kind, targets, reference)
        for text in _texts(values, self._catch_all, reference, collector):
            collector.catch_all(text.removeprefix("@"), main or (leading[0] if leading else reference))


def _attributes(texts: Sequence[str]) -> tuple[_Attribute, ...]:
    """From NAME and PREFIX:NAME."""
    return tuple(_Attribute(name.lower(), prefix) for prefix, _, name in (text.rpartition(":") for text in texts))


def _values(found: Found) -> Mapping[str, Sequence[bytes]]:
    """By attribute: a language or another option (RFC 4512 2.5.2) makes no difference here."""
    if not any(";" in name for name in found.attributes):
        return found.attributes
    values: dict[str, list[bytes]] = {}
    for description, some in found.attributes.items():
        values.setdefault(description.partition(";")[0], []).extend(some)
    return values


def _has(values: Sequence[bytes], wanted: str) -> bool:
    return any(value.decode("utf-8", "replace").lower() == wanted for value in values)


def _texts(
    values: Mapping[str, Sequence[bytes]], attributes: Sequence[_Attribute], reference: str, collector: Collector
) -> Iterator[str]:
    """What may be addresses."""
    for name, prefix in attributes:
        for value in values.get(name, ()):
            if len(value) > MAX_VALUE:
                collector.problem(reference, f"{name}: {len(value):,} octets are too many for an address")
                continue
            try:
                text = value.decode("utf-8").strip()
            except UnicodeDecodeError:
                collector.problem(reference, f"{name}: not UTF-8")
                continue
            if prefix:
                text = _without(prefix, text)
            if text:
                yield text


def _without(prefix: str, text: str) -> str:
    """Empty when `text` begins with another prefix. One without any counts as one in lower case: other programs write such."""
    head, colon, rest = text.partition(":")
    if not colon:
        return text if prefix.islower() else ""
    return rest.strip() if prefix in (head, head.lower()) else ""


def _targets(texts: Sequence[str]) -> tuple[str, ...]:
    """Those that are addresses; others (a DN, a program, a local name) say nothing to anybody here."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            address = listed(text)
        except AddressError:
            continue
        found[f"{address.local}@{address.domain}"] = None
        if len(found) >= MAX_TARGETS:
            break
    return tuple(found)
