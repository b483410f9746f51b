"""What a listing would change in the directory. Pure.

A sync owns the addresses that it brought, told by their `source`. All others stay as they are, also where the listing says
something else about them: they were entered by hand, or another sync brought them first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from pipeline.address import local_key
from pipeline.directory.model import Address, Kind
from pipeline.sources.model import Entry
from pipeline.syncing.model import Sync


class Part(msgspec.Struct):
    """What changes in one domain."""

    added: list[Address] = msgspec.field(default_factory=list)
    changed: list[tuple[Address, Address]] = msgspec.field(default_factory=list)
    """(before, after); one that is listed again after it was gone is among them."""
    leaving: list[Address] = msgspec.field(default_factory=list)
    """Not listed any more: accepted until the grace ends."""
    ended: list[Address] = msgspec.field(default_factory=list)
    """Their grace is over, or there is none."""
    owned: int = 0
    """Addresses of the sync that were in force before."""
    kept: int = 0
    """Listed, and not the sync's: they stay as they are."""
    owns: bool = False
    """The sync has addresses here afterwards."""

    @property
    def removed(self) -> int:
        """Addresses that were in force and are to go, at once or after their grace."""
        return len(self.leaving) + sum(not address.gone for address in self.ended)

    @property
    def empty(self) -> bool:
        return not (self.added or self.changed or self.leaving or self.ended)


class Difference(msgspec.Struct, frozen=True):
    parts: dict[str, Part]
    """By domain, those without a change too."""
    foreign: Counter[str]
    """Listed addresses by their domain, where that is none of ours (or not one that the sync is for)."""
    found: int
    """Listed addresses that count."""

    def __iter__(self) -> Iterator[tuple[str, Part]]:
        return iter(self.parts.items())

    @property
    def empty(self) -> bool:
        return all(part.empty for part in self.parts.values())

    @property
    def added(self) -> int:
        return sum(len(part.added) for part in self.parts.values())

    @property
    def changed(self) -> int:
        return sum(len(part.changed) for part in self.parts.values())

    @property
    def removed(self) -> int:
        return sum(part.removed for part in self.parts.values())

    def too_much(self, limit: int) -> str:
        """Why somebody should look at this first, in words; empty when nobody needs to. `limit` in percent."""
        owned = sum(part.owned for part in self.parts.values())
        if self.removed * 100 > owned * limit:
            return f"it would take away {self.removed:,} of {owned:,} addresses, more than {limit} %"
        for domain, part in self.parts.items():
            # One customer's whole domain can be a small part of a large source.
            if part.removed * 100 > part.owned * limit and part.removed == part.owned:
                return f"it would take away every address of {domain} ({part.owned:,})"
        return ""


def compare(
    sync: Sync,
    entries: Iterable[Entry],
    rows: Mapping[str, Mapping[str, Address]],
    homes: Mapping[str, str],
    now: int,
) -> Difference:
    """`rows`: the addresses of every domain that the sync has touched or lists now, by key. `homes`: domain -> where its mail is.

    `now` in ns.
    """
    wanted, foreign = _wanted(sync, entries, homes)
    parts = {}
    for domain in sorted({*wanted, *rows}):
        parts[domain] = _part(sync, wanted.get(domain, {}), rows.get(domain, {}), now)
    return Difference(parts, foreign, sum(len(some) for some in wanted.values()))


def scope(sync: Sync, homes: Mapping[str, str]) -> frozenset[str]:
    """The home domains that a sync is for."""
    return (
        frozenset(homes[name] for name in sync.domains if name in homes) if sync.domains else frozenset(homes.values())
    )


def _wanted(
    sync: Sync, entries: Iterable[Entry], homes: Mapping[str, str]
) -> tuple[dict[str, dict[str, Address]], Counter[str]]:
    """What the sync wants to be listed: home domain -> key -> address. The first mention counts."""
    allowed = scope(sync, homes)
    wanted: dict[str, dict[str, Address]] = {}
    foreign: Counter[str] = Counter()
    for entry in entries:
        home = homes.get(entry.domain)
        if home is None or home not in allowed:
            foreign[entry.domain] += 1
            continue
        address = Address(local=entry.local, kind=Kind(entry.kind), targets=entry.targets, source=sync.name)
        wanted.setdefault(home, {}).setdefault(local_key(entry.local), address)
    return wanted, foreign


def _part(sync: Sync, wanted: Mapping[str, Address], rows: Mapping[str, Address], now: int) -> Part:
    part = Part()
    for key, address in wanted.items():
        before = rows.get(key)
        if before is None:
            part.added.append(address)
        elif before.source != sync.name:
            part.kept += 1
        elif before != msgspec.structs.replace(address, policy=before.policy):
            part.changed.append((before, msgspec.structs.replace(address, policy=before.policy)))
    mine = {key: address for key, address in rows.items() if address.source == sync.name}
    part.owned = sum(not address.gone for address in mine.values())
    for key, address in mine.items():
        if key not in wanted:
            _take_away(part, address, now, sync.grace)
    part.owns = len(mine) + len(part.added) > len(part.ended)
    return part


def _take_away(part: Part, address: Address, now: int, grace: int) -> None:
    if not address.gone and grace:
        part.leaving.append(msgspec.structs.replace(address, gone=now + grace))
    elif not address.gone or now >= address.gone:
        part.ended.append(address)
