"""Where a domain's mail goes today, as its MX says: proposed as its route, and kept on record for going back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.gateways import Gateway

PATIENCE: Final = 3.0
"""Seconds for the DNS: somebody waits for the command."""


class Present(msgspec.Struct, frozen=True):
    """Without the hosts that lead here. `records`: `PREFERENCE HOST` in order; `route`: the same as HOST:25; `problem`: why there are none."""

    records: tuple[str, ...] = ()
    route: tuple[str, ...] = ()
    problem: str = ""


async def present(opened: Session, domain: str) -> Present:
    """What the DNS says now. Never raises: without an answer nothing is proposed and nothing kept."""
    from pipeline.gateways import leads_back
    from pipeline.resolver import LookupFailed, Resolver
    from pipeline.route import MAX_HOSTS, SMTP_PORT

    resolver = Resolver(opened.wiring.settings.resolver, lifetime=PATIENCE)
    try:
        async with asyncio.timeout(PATIENCE):
            records = sorted(await resolver.mx(domain))[:MAX_HOSTS]
    except LookupFailed as failed:
        return Present(problem=str(failed))
    except TimeoutError:
        return Present(problem="the DNS did not answer in time")
    if not any(host for _, host in records):
        return Present(problem=f"{domain} says that it accepts no mail" if records else f"{domain} has no MX")
    gateways = await own_gateways(opened)
    others = [
        (preference, host)
        for preference, host in records
        if host and not await leads_back([f"{host}:{SMTP_PORT}"], gateways, resolver)
    ]
    return Present(
        records=tuple(f"{preference} {host}" for preference, host in others),
        route=tuple(f"{host}:{SMTP_PORT}" for _, host in others),
        problem="" if others else f"the MX of {domain} points here already",
    )


async def own_gateways(opened: Session) -> tuple[Gateway, ...]:
    """Those that share this store, and the one that these settings would start."""
    from pipeline.gateways import Gateway, known

    wiring = opened.wiring
    own = Gateway(wiring.hostname.lower(), wiring.settings.smtp.port)
    return (*await known(wiring.store.redis, opened.now()), own)


async def refuse_circle(opened: Session, route: tuple[str, ...]) -> None:
    """Raises RefusedError when a route leads back to us."""
    from pipeline.faults import RefusedError
    from pipeline.gateways import leads_back
    from pipeline.resolver import Resolver

    resolver = Resolver(opened.wiring.settings.resolver, lifetime=PATIENCE)
    why = await leads_back(route, await own_gateways(opened), resolver)
    if why:
        raise RefusedError(
            f"route {why}: mail would go round in circles", remedy="Name the server that has the mailboxes."
        )
