"""Which events concern a domain. Those of its partition name it; of the directory's, some that name nobody do as well."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.events import (
    AnyEvent,
    DomainRemoved,
    DomainSet,
    Event,
    RulesRemoved,
    RulesSet,
    ServerHeld,
    ServerResumed,
    SyncRan,
    SyncRemoved,
    SyncSet,
)

OF_ALL: tuple[type[Event], ...] = (RulesSet, RulesRemoved)
"""With no domain they are the operator's, and hold for every domain."""


class Concern:
    """Sees the events of the directory's log in order, from its first, as what a name stood for then is only known from them.

    A server concerns a domain while the domain's route names it, or goes by the MX of a name or by its parent's route: then any server
    may be meant. A sync concerns the domains that it may change.
    """

    def __init__(self, domain: str) -> None:
        """`domain` empty: every event."""
        self.domain = domain
        self._servers: frozenset[str] | None = frozenset()
        """That its route names; None: any."""
        self._syncs: set[str] = set()

    def of(self, event: AnyEvent | None) -> bool:
        """Whether an event concerns it. Of what cannot be read nobody knows whom it spoke of: it concerns who asks for everything."""
        if not self.domain:
            return True
        if event is None:
            return False
        if isinstance(event, DomainSet | DomainRemoved):
            return self._domain(event)
        if isinstance(event, SyncSet | SyncRemoved | SyncRan):
            return self._sync(event) or event.domain == self.domain
        if isinstance(event, ServerHeld | ServerResumed):
            return self._servers is None or event.server in self._servers
        return event.domain == self.domain or (not event.domain and isinstance(event, OF_ALL))

    def _domain(self, event: DomainSet | DomainRemoved) -> bool:
        before = _fields(event.before)
        after = _fields(event.after) if isinstance(event, DomainSet) else {}
        if event.domain == self.domain:
            route = after.get("route", ())
            named = [str(line).rpartition(" ")[2] for line in route]
            inherits = bool(after) and not route
            self._servers = None if inherits or any(name.startswith("mx:") for name in named) else frozenset(named)
            return True
        return self.domain in (before.get("alias_of"), after.get("alias_of"))

    def _sync(self, event: SyncSet | SyncRemoved | SyncRan) -> bool:
        touched = event.name in self._syncs
        if isinstance(event, SyncRan):
            return touched
        after = _fields(event.after) if isinstance(event, SyncSet) else {}
        if after and self.domain in (after.get("domains") or [self.domain]):
            self._syncs.add(event.name)
            return True
        self._syncs.discard(event.name)
        return touched


def _fields(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.msgpack.decode(data) if data else {}
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
