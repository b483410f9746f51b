"""A change in the making: events and their effects, on top of the directory as it is.

Pure. Everything that one administrator's action changes is one `Change` and becomes one step: all of it, or nothing. Each of its
events says what was there before and what is there now, so that it can be shown, and taken back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline import keys
from pipeline.address import local_key
from pipeline.directory.lists.entries import Summary
from pipeline.directory.model import Address, Domain, Hold, encode
from pipeline.events import (
    AddressesRemoved,
    AddressesSet,
    DirectoryEvent,
    DomainRemoved,
    DomainSet,
    ServerHeld,
    ServerResumed,
)
from pipeline.steps import Effect, Step, Word, directory_step

CHUNK: Final = 1000
"""Addresses per event and per command: Lua unpacks a command on its stack, which holds 8,000 words."""


class Change:
    """`domains` is the working copy: as the directory will be."""

    def __init__(self, domains: Mapping[str, Domain], version: int, *, by: str, now: int, note: str = "") -> None:
        self.domains = dict(domains)
        self.changed: set[str] = set()
        """Domains that are not what they were."""
        self.removed: Counter[str] = Counter()
        """How many addresses of a domain have been taken away."""
        self.removed_rules: Counter[str] = Counter()
        """How many entries of a domain's lists have been taken away."""
        self.lists: dict[tuple[str, str], Summary] = {}
        """(domain, person) -> what is in their list, of those that this change has changed."""
        self.now = now
        self._version = max(0, version)
        self._common: dict[str, Any] = {"at": now, "by": by, "change": self._version + 1, "note": note}
        self.events: list[DirectoryEvent] = []
        self.effects: list[Effect] = []

    @property
    def number(self) -> int:
        return self._version + 1

    def step(self) -> Step:
        return directory_step(self._version, self.events, self.effects)

    def add(self, kind: type[DirectoryEvent], *effects: Effect, **fields: Any) -> None:
        """An event with the fields that all have, and what it does."""
        self.events.append(kind(**self._common, **fields))
        self.effects += effects

    def set_domain(self, domain: Domain) -> None:
        """Add or change; nothing when it is so already."""
        before = self.domains.get(domain.name)
        if before == domain:
            return
        self.domains[domain.name] = domain
        self.changed.add(domain.name)
        data = encode(domain)
        self.add(
            DomainSet,
            ("HSET", keys.DOMAINS, domain.name, data),
            domain=domain.name,
            before=encode(before) if before is not None else b"",
            after=data,
        )

    def remove_domain(self, name: str, addresses: Sequence[Address]) -> None:
        """Take a domain away, with all its `addresses`."""
        before = self.domains.pop(name)
        self.changed.add(name)
        self.remove_addresses(name, addresses)
        self.add(DomainRemoved, ("HDEL", keys.DOMAINS, name), domain=name, before=encode(before))

    def set_server(self, server: str, hold: Hold | None, before: Hold | None) -> None:
        """Hold a server, or let mail flow to it; nothing when it is so already. `before`: the hold that is on it."""
        if hold == before:
            return
        data = encode(before) if before is not None else b""
        if hold is None:
            self.add(ServerResumed, ("HDEL", keys.SERVERS, server), domain="", server=server, before=data)
            return
        after = encode(hold)
        self.add(
            ServerHeld,
            ("HSET", keys.SERVERS, server, after),
            domain="",
            server=server,
            reason=hold.reason,
            until=hold.until,
            before=data,
            after=after,
        )

    def set_addresses(self, domain: str, addresses: Sequence[Address], before: Mapping[str, Address]) -> int:
        """Add or change `addresses`; how many were not so already. `before`: those of them that are there, by key."""
        wanted = {local_key(address.local): address for address in addresses}
        rows = [(key, address) for key, address in wanted.items() if before.get(key) != address]
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            after = tuple([encode(address) for _, address in chunk])
            words: list[Word] = []
            for (key, _), data in zip(chunk, after, strict=True):
                words += (key, data)
            self.add(
                AddressesSet,
                ("HSET", keys.addresses(domain), *words),
                domain=domain,
                locals=tuple([address.local for _, address in chunk]),
                before=tuple([encode(before[key]) if key in before else b"" for key, _ in chunk]),
                after=after,
            )
        return len(rows)

    def remove_addresses(self, domain: str, addresses: Sequence[Address]) -> int:
        """Take away addresses that are there."""
        self.removed[domain] += len(addresses)
        for start in range(0, len(addresses), CHUNK):
            chunk = addresses[start : start + CHUNK]
            self.add(
                AddressesRemoved,
                ("HDEL", keys.addresses(domain), *[local_key(address.local) for address in chunk]),
                domain=domain,
                locals=tuple([address.local for address in chunk]),
                before=tuple([encode(address) for address in chunk]),
            )
        return len(addresses)
