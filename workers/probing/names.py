"""What the DNS says about the servers of a domain, and which of their addresses may be dialled.

`pipeline/route.py` chooses, as it does for the deliverer; here its choice is explained for each server of the route by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.gateways import Gateway, leads_back
from pipeline.probing.model import Lookup, Name, Plan
from pipeline.resolver import LookupFailed, Resolver
from pipeline.route import MAX_HOSTS, MAX_TARGETS, SMTP_PORT, RouteError, Target, forbidden, literal, resolve
from pipeline.servers import parsed
from pipeline.units import Network

PATIENCE: Final = 3.0
"""Seconds to find out what leads back here: our own names may be ones that the DNS is silent about."""
NO_ANSWER: Final = "4.4.3"
"""The status with which `resolve` says that the DNS did not answer (RFC 3463 3.5)."""


async def look_up(
    plan: Plan, resolver: Resolver, gateways: Sequence[Gateway], seconds: float
) -> tuple[Lookup, list[Target]]:
    """The names, and what is to be dialled, in the order in which mail would try it. Never raises; at most `seconds`."""
    start = time.monotonic_ns()
    try:
        async with asyncio.timeout(seconds):
            lookup, lines = await _servers(plan, resolver)
            found = await asyncio.gather(*(_server(line, plan, resolver, gateways) for line in lines))
    except TimeoutError:
        lookup = Lookup(problem=f"the DNS did not answer within {seconds:g} seconds", passing=True)
        found = []
    names = tuple(name for some, _ in found for name in some)
    targets = [target for _, some in found for target in some]
    return msgspec.structs.replace(lookup, names=names, took=time.monotonic_ns() - start), targets[:MAX_TARGETS]


async def _servers(plan: Plan, resolver: Resolver) -> tuple[Lookup, tuple[str, ...]]:
    """The servers as a route names them; of a domain without a route those that its MX names."""
    if plan.route:
        found = await asyncio.gather(*(_exchangers(line, resolver) for line in plan.route[:MAX_HOSTS]))
        return Lookup(), tuple(line for lines in found for line in lines)[:MAX_HOSTS]
    try:
        records = sorted(await resolver.mx(plan.domain))[:MAX_HOSTS]
    except LookupFailed as failed:
        return Lookup(problem=str(failed), passing=not failed.permanent), ()
    if not records:
        return Lookup(implicit=True), (f"{plan.domain}:{SMTP_PORT}",)
    if any(host == "" for _, host in records):
        return Lookup(problem=f"{plan.domain} says that it accepts no mail (null MX)"), ()
    return Lookup(mx=tuple(records)), tuple(f"{host}:{SMTP_PORT}" for _, host in records)


async def _exchangers(line: str, resolver: Resolver) -> list[str]:
    """The MX that `mx:NAME` stands for, in order; the line itself, where it stands for itself or for nothing that can be found."""
    (server,) = parsed([line]) or (None,)
    if server is None or not server.mx:
        return [line]
    try:
        records = sorted(await resolver.mx(server.place.host))[:MAX_HOSTS]
    except LookupFailed:
        return [line]
    return [f"{host}:{server.place.port}" for _, host in records if host] or [line]


async def _server(
    line: str, plan: Plan, resolver: Resolver, gateways: Sequence[Gateway]
) -> tuple[list[Name], list[Target]]:
    ours, dialled = await asyncio.gather(_ours(line, gateways, resolver), _dialled(line, plan, resolver))
    if isinstance(dialled, Name):
        return [msgspec.structs.replace(dialled, ours=ours)], []
    names = []
    for server in dict.fromkeys(target.server for target in dialled):
        targets = [target for target in dialled if target.server == server]
        closed = await _closed(targets[0].host, resolver, plan.allowed)
        addresses = tuple(target.address for target in targets)
        names.append(Name(server=server, host=targets[0].host, addresses=addresses, closed=closed, ours=ours))
    # Nobody learns anything from the gateway talking to itself.
    return names, [] if ours else list(dialled)


async def _ours(line: str, gateways: Sequence[Gateway], resolver: Resolver) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            return await leads_back([line], gateways, resolver)
    except TimeoutError:
        return ""


async def _dialled(line: str, plan: Plan, resolver: Resolver) -> tuple[Target, ...] | Name:
    """What mail would dial, or why there is nothing."""
    try:
        return await resolve([line], plan.domain, resolver, plan.allowed)
    except RouteError as error:
        attempt = error.attempt
        host, _, port = attempt.server.rpartition(":")
        host = host.strip("[]") if port.isdigit() else attempt.server
        closed = await _closed(host, resolver, plan.allowed)
        return Name(
            server=attempt.server, host=host, closed=closed, problem=attempt.reply,
            passing=attempt.enhanced == NO_ANSWER,
        )  # fmt: skip


async def _closed(host: str, resolver: Resolver, allowed: Sequence[Network]) -> tuple[tuple[str, str], ...]:
    """The addresses of a host that may not be dialled, and what kind of address each is."""
    try:
        texts = (host,) if literal(host) is not None else await resolver.addresses(host)
    except LookupFailed:
        return ()
    found = [
        (text, forbidden(address, allowed)) for text in texts[:MAX_TARGETS] if (address := literal(text)) is not None
    ]
    return tuple((text, why) for text, why in found if why)
