"""What waits, by the server that it waits for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from pipeline.directory import Hold
from projections.readers.ages import added

if TYPE_CHECKING:
    from projections.readers.queue import DomainQueue, QueueError


class ServerQueue(msgspec.Struct, frozen=True, kw_only=True):
    server: str
    """Empty: none was dialled yet, and none is configured."""
    domains: tuple[str, ...]
    """Those for which something waits, the most first."""
    recipients: int
    messages: int
    bytes: int
    oldest: int | None
    state: str
    """open, deferred, held, or mixed when its domains differ."""
    next_try: int | None
    """The earliest of its domains."""
    ages: tuple[int, ...] = ()
    """Messages per bucket (ages.NAMES)."""
    since: int | None = None
    """Since when it has been down, for whichever of its domains found out first."""
    hold: Hold | None = None
    """Of the server itself, else that of the first of its domains that has one."""
    hold_of: str = ""
    """The domain whose hold it is; empty: the server's own."""
    error: QueueError | None = None
    """The newest of its domains'."""
    error_of: str = ""


def by_server(domains: Sequence[DomainQueue]) -> tuple[ServerQueue, ...]:
    """Of domains where something waits; those that most waits for first."""
    groups: dict[str, list[DomainQueue]] = {}
    for one in domains:
        if one.messages:
            groups.setdefault(one.server, []).append(one)
    servers = [_server(server, group) for server, group in groups.items()]
    return tuple(sorted(servers, key=lambda one: (-one.messages, one.server)))


def first(times: Iterable[int | None]) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _server(server: str, group: list[DomainQueue]) -> ServerQueue:
    group = sorted(group, key=lambda one: (-one.messages, one.domain))
    states = {one.state for one in group}
    error_of = max((one for one in group if one.error), key=lambda one: one.error.at if one.error else 0, default=None)
    hold_of = next((one for one in group if one.server_hold), None) or next((one for one in group if one.hold), None)
    return ServerQueue(
        server=server,
        domains=tuple(one.domain for one in group),
        recipients=sum(one.recipients for one in group),
        messages=sum(one.messages for one in group),
        bytes=sum(one.bytes for one in group),
        oldest=first(one.oldest for one in group),
        state=states.pop() if len(states) == 1 else "mixed",
        next_try=first(one.next_try for one in group),
        ages=added(one.ages for one in group),
        since=first(one.since for one in group),
        hold=(hold_of.server_hold or hold_of.hold) if hold_of else None,
        hold_of="" if hold_of is None or hold_of.server_hold else hold_of.domain,
        error=error_of.error if error_of else None,
        error_of=error_of.domain if error_of else "",
    )
