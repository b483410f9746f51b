"""Mail that waits follows the directory: a changed route, or a hold that ended, makes it due at once."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.directory import Domain
from pipeline.directory.inherit import effective
from pipeline.ids import partition_for
from pipeline.schedule import Schedule


class Way(msgspec.Struct, frozen=True):
    """Where a domain's mail goes, and whether it may."""

    route: tuple[str, ...]
    held: bool


def ways(domains: Mapping[str, Domain]) -> dict[str, Way]:
    """Of all domains; an alias has its mail where its home has it."""
    return {name: Way(effective(domains, domain).route, domain.hold is not None) for name, domain in domains.items()}


async def follow(
    before: Mapping[str, Way], after: Mapping[str, Way], schedule: Schedule, partitions: int, now: int
) -> int:
    """Make due what may go another way now; how many messages that is. A domain that became an alias takes its home's route.

    Raises StoreAwayError.
    """
    waiting = 0
    for name, way in after.items():
        earlier = before.get(name)
        if earlier is not None and earlier != way and not way.held:
            servers = (*earlier.route, *way.route)
            waiting += await schedule.retry_now(partition_for(name, partitions), name, now, servers)
    return waiting
