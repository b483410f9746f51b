"""Mail that waits follows the directory: a changed route, other options for it, or a hold that ended, makes it due at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.directory import Domain, RouteOptions
from pipeline.directory.inherit import effective
from pipeline.ids import partition_for
from pipeline.schedule import Schedule
from pipeline.servers import parsed
from pipeline.steps import Route


class Way(msgspec.Struct, frozen=True):
    """Where a domain's mail goes, and whether it may."""

    route: tuple[str, ...]
    held: bool
    options: RouteOptions | None = None


def ways(domains: Mapping[str, Domain]) -> dict[str, Way]:
    """Of all domains; an alias has its mail where its home has it."""
    found = {}
    for name, domain in domains.items():
        whole = effective(domains, domain)
        found[name] = Way(whole.route, domain.hold is not None, whole.route_options)
    return found


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
            partition = partition_for(name, partitions)
            servers = forgiven((*earlier.route, *way.route), await schedule.route(partition, name))
            waiting += await schedule.retry_now(partition, name, now, servers)
    return waiting


def forgiven(route: Iterable[str], state: Route) -> list[str]:
    """The servers that may be dialled again at once: those of a route, and those that the last failure speaks of (MX among them)."""
    named = {server.name for server in parsed(route) if not server.mx}
    return sorted(named | {attempt.server for attempt in state.attempts if attempt.server})
