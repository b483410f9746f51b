"""A mail loop through a customer's own server: its domain is put on hold, so that no more mail goes round, and somebody is told.

Only when the looping message comes from a server of the domain's route: then it is their forwarding that leads back here, and everything that
we forward there may come back. A message from elsewhere that only looks like a loop is refused and changes nothing: otherwise whoever
writes three lines into a header could stop a domain's mail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from pipeline.directory import Directory, Domain
from pipeline.faults import GatepostError
from pipeline.resolver import LookupFailed, Resolver
from pipeline.route import MAX_HOSTS, literal
from pipeline.servers import Server, parsed

BY: Final = "gateway"
REASON: Final = "a mail loop: a message that was forwarded there came back from its own server three times"
PATIENCE: Final = 2.0
"""Seconds for the DNS."""

log = structlog.get_logger()


class Loops:
    def __init__(self, directory: Directory, resolver: Resolver, clock: Callable[[], int]) -> None:
        self._directory = directory
        self._resolver = resolver
        self._clock = clock

    async def found(self, name: str, client: str, recipient: str) -> bool:
        """A message for a home domain has gone round; whether the domain is held because of it. Never raises."""
        domain = self._directory.home(name)
        if domain is None or not await self._is_served_by(domain, client):
            log.warning("mail loop refused", domain=name, recipient=recipient, client=client)
            return False
        try:
            held = await self._directory.hold(domain.name, REASON, by=BY, now=self._clock())
        except GatepostError as fault:
            log.error("mail loop, and its domain could not be held", domain=domain.name, reason=str(fault))  # noqa: TRY400 - the fault says all
            return False
        if held:
            log.error(
                "mail loop, its domain is held",
                domain=domain.name,
                recipient=recipient,
                client=client,
                remedy=f"Mend the forwarding at the domain's server, then: gatepost domain resume {domain.name}",
            )
        return True

    async def _is_served_by(self, domain: Domain, client: str) -> bool:
        address = literal(client)
        for server in parsed(domain.route):
            own = literal(server.place.host)
            if own is not None:
                if own == address:
                    return True
                continue
            try:
                async with asyncio.timeout(PATIENCE):
                    for host in await self._hosts(server):
                        if client in await self._resolver.addresses(host):
                            return True
            except (LookupFailed, TimeoutError):
                continue
        return False

    async def _hosts(self, server: Server) -> list[str]:
        if not server.mx:
            return [server.place.host]
        records = sorted(await self._resolver.mx(server.place.host))[:MAX_HOSTS]
        return [host for _, host in records if host] if records else [server.place.host]
