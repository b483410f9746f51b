"""Making one domain out of two: the addresses of one go to the other, of which it becomes an alias. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.directory.change import Change
from pipeline.directory.model import Address, Domain
from pipeline.faults import RefusedError


class Merger(msgspec.Struct, frozen=True, kw_only=True):
    """What merging `source` into `target` would do."""

    source: Domain
    target: Domain
    moved: tuple[Address, ...]
    """Addresses that only the source has: they are added to the target."""
    same: int
    """Addresses that both have alike."""
    different: tuple[tuple[Address, Address], ...]
    """(source's, target's) of addresses that both have and that differ: the target's stay."""
    aliases: tuple[str, ...]
    """Aliases of the source: they become aliases of the target."""
    children: tuple[str, ...]
    """Children of the source: they go below the target."""
    refused: bool
    """The source accepts every address and the target does not: what is not listed is refused from then on."""


def plan(
    domains: Mapping[str, Domain],
    source: Domain,
    target: Domain,
    ours: Mapping[str, Address],
    theirs: Mapping[str, Address],
) -> Merger:
    """`ours`: the source's addresses by key, `theirs`: the target's. Raises RefusedError where the two cannot become one."""
    if source.name == target.name:
        raise RefusedError("a domain cannot be merged with itself")
    for domain in (source, target):
        if domain.alias_of:
            raise RefusedError(f"{domain.name} is an alias of {domain.alias_of}", remedy=f"Merge {domain.alias_of}.")
    return Merger(
        source=source,
        target=target,
        moved=tuple(address for key, address in ours.items() if key not in theirs),
        same=sum(theirs.get(key) == address for key, address in ours.items()),
        different=tuple(
            (address, theirs[key]) for key, address in ours.items() if key in theirs and theirs[key] != address
        ),
        aliases=tuple(sorted(name for name, domain in domains.items() if domain.alias_of == source.name)),
        children=tuple(sorted(name for name, domain in domains.items() if domain.parent == source.name)),
        refused=source.catch_all and not target.catch_all,
    )


def carry_out(change: Change, merger: Merger, ours: Mapping[str, Address]) -> None:
    """Put a merger into a change."""
    source, target = merger.source.name, merger.target.name
    change.set_addresses(target, merger.moved, {})
    change.remove_addresses(source, list(ours.values()))
    for name in merger.aliases:
        change.set_domain(msgspec.structs.replace(change.domains[name], alias_of=target))
    for name in merger.children:
        parent = "" if name == target else target
        change.set_domain(msgspec.structs.replace(change.domains[name], parent=parent))
    change.set_domain(
        Domain(name=source, alias_of=target, created_at=merger.source.created_at, former_mx=merger.source.former_mx)
    )
