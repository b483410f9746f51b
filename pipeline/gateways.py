"""The gateways that share a store, and whether a route leads back to one of them.

A route that points at the gateway itself would pass each message round until its Received lines say that it is a loop; so it is
refused when it is configured. Receivers write down by what name and on which port they listen, since a command does not know with
what options each of them was started.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.resolver import LookupFailed, Resolver
from pipeline.route import MAX_HOSTS, SMTP_PORT, literal
from pipeline.servers import parsed
from pipeline.store import Client, faults
from pipeline.units import SECOND

FORGOTTEN: Final = 7 * 86400 * SECOND
"""A gateway that has not been heard of for so long is gone (ns)."""


class Gateway(msgspec.Struct, frozen=True):
    name: str
    """As in its greeting."""
    port: int
    """Where it listens; behind a load balancer or a firewall the world knows it as 25."""


async def register(redis: Client, name: str, port: int, now: int) -> None:
    """Write down that a gateway listens. Raises StoreAwayError."""
    with faults():
        await redis.hset(keys.GATEWAYS, f"{name.lower().rstrip('.')} {port}", now)


async def known(redis: Client, now: int) -> tuple[Gateway, ...]:
    """Those heard of lately. Raises StoreAwayError."""
    with faults():
        rows: Any = await redis.hgetall(keys.GATEWAYS)
    found = []
    for field, at in rows.items():
        name, _, port = field.decode("utf-8", "replace").rpartition(" ")
        if port.isdigit() and at.isdigit() and int(at) > now - FORGOTTEN:
            found.append(Gateway(name, int(port)))
    return tuple(found)


async def last_heard(redis: Client, now: int) -> int:
    """When any of them was heard of last (ns); 0: none was, or none for so long that it is gone. Raises StoreAwayError."""
    with faults():
        moments: Any = await redis.hvals(keys.GATEWAYS)
    return max((int(at) for at in moments if at.isdigit() and int(at) > now - FORGOTTEN), default=0)


class Ours:
    """The gateways with the addresses that the DNS gives them."""

    def __init__(self, gateways: Sequence[tuple[Gateway, frozenset[str]]] = ()) -> None:
        self._gateways = tuple(gateways)

    @classmethod
    async def of(cls, gateways: Sequence[Gateway], resolver: Resolver) -> Ours:
        names = list(dict.fromkeys(gateway.name for gateway in gateways))
        found = dict(zip(names, await asyncio.gather(*(_addresses(name, resolver) for name in names)), strict=True))
        return cls([(gateway, found[gateway.name]) for gateway in gateways])

    def why(self, host: str, port: int, addresses: Sequence[str]) -> str:
        """Why a host with these addresses is one of the gateways at this port, in words; empty when it is none."""
        host = host.lower().rstrip(".")
        for gateway, own in self._gateways:
            if port not in (SMTP_PORT, gateway.port):
                continue
            if host == gateway.name:
                return f"{host}:{port} is this gateway"
            # A name in this machine's own hosts file may be a loopback address, which is everybody's.
            shared = {address for address in own.intersection(addresses) if not _is_loopback(address)}
            if shared:
                return f"{host}:{port} leads to {min(shared)}, which is this gateway ({gateway.name})"
            if port == gateway.port and (here := sorted(filter(_is_local, addresses))):
                return f"{host}:{port} leads to {here[0]}, where this gateway listens"
        return ""


async def leads_back(route: Iterable[str], gateways: Sequence[Gateway], resolver: Resolver) -> str:
    """Why a route points at one of `gateways`, in words; empty when none of it does, as far as the DNS tells."""
    ours = await Ours.of(gateways, resolver)
    for server in parsed(route):
        hosts = await _exchangers(server.place.host, resolver) if server.mx else (server.place.host,)
        for host in hosts:
            why = ours.why(host, server.place.port, sorted(await _addresses(host, resolver)))
            if why:
                return why if not server.mx else f"{server.name}: {why}"
    return ""


async def _exchangers(name: str, resolver: Resolver) -> tuple[str, ...]:
    try:
        async with asyncio.timeout(2):
            records = sorted(await resolver.mx(name))[:MAX_HOSTS]
    except (LookupFailed, TimeoutError):
        return ()
    return tuple(host for _, host in records if host) if records else (name,)


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


async def _addresses(host: str, resolver: Resolver) -> frozenset[str]:
    address = literal(host)
    if address is not None:
        return frozenset({str(address)})
    try:
        async with asyncio.timeout(2):
            return frozenset(await resolver.addresses(host))
    except (LookupFailed, TimeoutError):
        return frozenset()


def _is_local(address: str) -> bool:
    """Whether an address is one of this machine's: only those can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
